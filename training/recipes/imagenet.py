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
The recipe of the paper's authors (section 5, and the configurations of pycls): 100 epochs of SGD
with Nesterov momentum, L2 regularization of all parameters, a half-cosine learning rate schedule
after 5 epochs of warm-up, random resized crops, flips and PCA lighting. Normalization statistics
are computed precisely before each test.
Command: regnet train --recipe paper --variant regnety_004 --data imagenet2012
--data-dir DIR --strategy mirrored --out RUN
Expect: 74.1 % top-1 for RegNetY-400MF, after 5.3 hours on 8 V100 GPUs. These are the authors'
numbers from pycls' model zoo; this project has not trained it.""",
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
        last_batch="drop",  # pycls' loader of training images
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
The recipe of torchvision's IMAGENET1K_V2 weights (its references/classification and pull request
3995): 600 epochs at 176 pixels, tests at 224 pixels, TrivialAugment, random erasing, mixup and
CutMix, label smoothing, no weight decay of normalization, and a moving average of the weights.
Command: regnet train --recipe torchvision_v2 --variant regnety_004 --data imagenet2012
--data-dir DIR --strategy mirrored --out RUN
Expect: 75.8 % top-1 for RegNetY-400MF. This is torchvision's number; this project has not trained
it. It takes six times the epochs of the recipe `paper`, at 0.6 times its pixels.""",
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
        last_batch="fill",  # as PyTorch's `DistributedSampler`, by which torchvision's ends
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
timm's RandAugment recipe, as its documentation prints it for EfficientNets: RMSprop as in
TensorFlow 1, a learning rate that is multiplied by 0.97 every 2.4 epochs, RandAugment, erasing
with noise, mixup, and a moving average of the weights. Tests are at 288 pixels. The exact recipe
of `regnety_032.ra_in1k` is not published.
Command: regnet train --recipe timm_ra --variant regnety_032 --data imagenet2012
--data-dir DIR --strategy mirrored --out RUN
Expect: timm's weights of that name have 82.7 % top-1 accuracy at 288 pixels. This project has not
trained it.""",
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
        last_batch="drop",  # timm's `create_loader`
    ),
    optimizer=Optimizer(
        name="rmsprop", momentum=0.9, nesterov=False, weight_decay=1e-5, undecayed="vectors"
    ),
    average=Average(decay=0.9999),
)
