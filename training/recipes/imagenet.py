"""Recipes for ImageNet: the paper's, torchvision's and timm's.

Each expected accuracy names its source.
"""

from regnet_tf import get_config

from .parts import (
    Augmentation,
    Average,
    Data,
    Images,
    Loss,
    Network,
    Optimizer,
    Schedule,
)
from .recipe import Recipe

PAPER = Recipe(
    name="paper",
    description="""\
What the paper's authors trained RegNets with (section 5, and the configurations of pycls): SGD
with Nesterov momentum, L2 of every parameter inside the gradient, half a cosine set for each
epoch after 5 epochs of warm-up, 100 epochs of random-resized crops, flips and PCA lighting;
precise normalization statistics before each test.
Command: regnet train --recipe paper --variant regnety_004 --data imagenet2012
--data-dir DIR --strategy mirrored --workdir RUN
Expect: 74.1 % top-1 for RegNetY-400MF, after 5.3 hours on 8 V100 (the authors' numbers, in pycls'
model zoo; this project has not trained it).""",
    data=Data(name="imagenet2012"),
    network=Network(config=get_config("regnety_004")),
    images=Images(size=224, test_size=224, crop_fraction=0.875, interpolation="pycls"),
    augmentation=Augmentation(crop="random_resized", flip=True, lighting=0.1),
    schedule=Schedule(
        epochs=100,
        batch_size=1024,
        learning_rate=0.1,
        learning_rate_batch=128,
        kind="cosine",
        warmup_epochs=5,
        warmup_factor=0.1,
    ),
    optimizer=Optimizer(
        name="sgd", momentum=0.9, nesterov=True, weight_decay=5e-5, undecayed="none"
    ),
    precise_images=8192,
)

_TV_STEPS = 32  # steps between two updates of the average
_TV_EPOCHS = 600
_TV_BATCH = 1024

TORCHVISION_V2 = Recipe(
    name="torchvision_v2",
    description="""\
What torchvision's IMAGENET1K_V2 weights were trained with (its references/classification and pull
request 3995): 600 epochs at 176 pixels, tested at 224; TrivialAugment, random erasing, mixup or
CutMix, label smoothing, no decay of normalization, an average of the weights.
Command: regnet train --recipe torchvision_v2 --variant regnety_004 --data imagenet2012
--data-dir DIR --strategy mirrored --workdir RUN
Expect: 75.8 % top-1 for RegNetY-400MF (torchvision's number; this project has not trained it),
six times the epochs of the recipe `paper` at 0.6 of its pixels.""",
    data=Data(name="imagenet2012"),
    network=Network(config=get_config("regnety_004")),
    images=Images(size=176, test_size=224, crop_fraction=224 / 232, interpolation="bilinear"),
    augmentation=Augmentation(
        crop="random_resized",
        flip=True,
        policy="trivial_augment_wide",
        erasing=0.1,
        mixup=0.2,
        cutmix=1.0,
    ),
    schedule=Schedule(
        epochs=_TV_EPOCHS,
        batch_size=_TV_BATCH,
        learning_rate=0.5,
        learning_rate_batch=_TV_BATCH,
        kind="cosine_after_warmup",
        warmup_epochs=5,
        warmup_factor=0.01,
    ),
    optimizer=Optimizer(
        name="sgd", momentum=0.9, nesterov=False, weight_decay=2e-5, undecayed="normalization"
    ),
    loss=Loss(label_smoothing=0.1),
    average=Average(
        # torchvision scales its decay of 0.99998 by images per update and epochs.
        decay=1 - (1 - 0.99998) * _TV_BATCH * _TV_STEPS / _TV_EPOCHS,
        steps=_TV_STEPS,
        warmup_epochs=5,
    ),
)

TIMM_RA = Recipe(
    name="timm_ra",
    description="""\
timm's recipe of RandAugment, as its documentation prints it for EfficientNets (RMSprop of
TensorFlow 1, steps of 0.97, RandAugment, erasing with noise, an average of the weights), and
mixup; tested at 288 pixels. What exactly `regnety_032.ra_in1k` was trained with is not published.
Command: regnet train --recipe timm_ra --variant regnety_032 --data imagenet2012
--data-dir DIR --strategy mirrored --workdir RUN
Expect: timm's weights of that name reach 82.7 % top-1 at 288 pixels; this project has not trained
it.""",
    data=Data(name="imagenet2012"),
    network=Network(config=get_config("regnety_032")),
    images=Images(size=224, test_size=288, crop_fraction=1.0, interpolation="bicubic"),
    augmentation=Augmentation(
        crop="random_resized",
        flip=True,
        policy="rand-m9-mstd0.5",
        erasing=0.2,
        erasing_mode="pixel",
        mixup=0.2,
    ),
    schedule=Schedule(
        epochs=450,
        batch_size=256,
        learning_rate=0.016,
        learning_rate_batch=256,
        kind="steps",
        decay_epochs=2.4,
        decay_rate=0.97,
        warmup_epochs=3,
        warmup_factor=1e-6 / 0.016,
    ),
    optimizer=Optimizer(
        name="rmsprop", momentum=0.9, nesterov=False, weight_decay=1e-5, undecayed="vectors"
    ),
    average=Average(decay=0.9999),
)
