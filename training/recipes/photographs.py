"""Recipes for your own photographs: a thousand to a hundred thousand of them."""

from regnet_tf import get_config

from .parts import (
    Augmentation,
    Data,
    Decoder,
    Images,
    Loss,
    Network,
    Optimizer,
    Schedule,
    Selection,
)
from .recipe import Recipe

#: The data set of recipes that need another one.
TO_BE_GIVEN = "to be given"

FINETUNE = Recipe(
    name="finetune",
    description="""\
Fine-tunes published weights, or those of another run, on your own photographs. The head is
trained alone for one epoch, then all layers. Learning rates grow from the stem to the head. The
epoch with the best test figure is kept.
Command: regnet train --data FOLDER --weights regnety_016.tv2_in1k --out RUN
Expect: a test accuracy far above training from scratch where images are few.""",
    data=Data(name=TO_BE_GIVEN),
    network=Network(
        # The configuration of the weights replaces this one.
        config=get_config("regnety_016"),
        # fastai's `Learner.fine_tune`: the head alone for one epoch.
        freeze="trunk",
        frozen_epochs=1,
        dropout=0.2,  # Keras' guide to transfer learning, before the classifier
    ),
    images=Images(size=224),
    augmentation=Augmentation(
        crop="random_resized",
        # Between ImageNet's 0.08, which often cuts the object away, and the 0.75 of fastai's course
        # (fastbook, chapter 5).
        crop_area=(0.5, 1.0),
        flip=True,
    ),
    schedule=Schedule(
        # ConvNeXt's fine-tuning (Liu et al. 2022): 30 epochs, cosine.
        epochs=30,
        batch_size=64,  # fastai's default
        # fastai's `fine_tune`: half of 0.002 for the head, at 64 images.
        learning_rate=0.001,
        kind="cosine_after_warmup",
        # Adam's first steps are long: half the rate for the head, then again for all layers.
        warmup_epochs=3,
        warmup_factor=0.5,
    ),
    optimizer=Optimizer(
        name="adamw",
        weight_decay=0.01,  # fastai's default, and PyTorch's for AdamW
        undecayed="vectors",  # timm's default
        # fastai's `fine_tune` gives the first layers 1/100 of the head's rate: 0.85**28 for the 29
        # layers of RegNetY-1.6GF.
        layer_decay=0.85,
        clip_norm=1.0,  # the fine-tuning of ViT (Dosovitskiy et al. 2021, table 4)
    ),
    loss=Loss(label_smoothing=0.1),  # ConvNeXt's fine-tuning
    selection=Selection(patience=10),
)

LINEAR_PROBE = FINETUNE.replace(
    {
        "name": "linear_probe",
        "description": """\
Trains a new head on published weights, which stay as they are. It shows what the features are
worth for your photographs, and takes less time and memory than fine-tuning.
Command: regnet train --recipe linear_probe --data FOLDER --weights regnety_016.tv2_in1k
--out RUN
Expect: less than fine-tuning. The gap tells how far your photographs are from ImageNet's.""",
        "network.frozen_epochs": None,
        "network.dropout": 0.0,
        # Regularization harms a linear classifier (He et al. 2022, appendix A.2): nearly whole
        # images, no smoothing, no decay.
        "augmentation.crop_area": (0.7, 1.0),
        "loss.label_smoothing": 0.0,
        "optimizer.weight_decay": 0.0,
        "optimizer.layer_decay": 1.0,
        "schedule.epochs": 20,
        "schedule.learning_rate": 0.001,  # Keras' guide: Adam at 0.001 for a new head
    }
)

FROM_SCRATCH = Recipe(
    name="from_scratch",
    description="""\
Trains a RegNetY-400MF on your own photographs from random weights, with what torchvision's recipe
of 2021 adds to the paper's: TrivialAugment, random erasing, mixup, CutMix and label smoothing.
Command: regnet train --data FOLDER --out RUN
Expect: less than the recipe `finetune` with published weights, unless the images are far from
photographs.""",
    data=Data(name=TO_BE_GIVEN),
    network=Network(config=get_config("regnety_004")),
    images=Images(size=224),
    augmentation=Augmentation(
        crop="random_resized",
        crop_area=(0.5, 1.0),  # as in `finetune`
        flip=True,
        policy="trivial_augment_wide",
        erasing=0.1,
        mixup=0.2,
        cutmix=1.0,
    ),
    schedule=Schedule(
        epochs=100,  # the paper's
        batch_size=128,
        learning_rate=0.1,  # the paper's for 128 images
        kind="cosine",
        warmup_epochs=5,
    ),
    optimizer=Optimizer(name="sgd", weight_decay=5e-5, undecayed="normalization"),
    loss=Loss(label_smoothing=0.1),
    selection=Selection(),
)

_SEGMENTATION = {
    "decoder": Decoder(name="fpn"),
    "images.size": 256,
    # Objects at every scale, but most of the scene.
    "augmentation": Augmentation(crop="random_resized", crop_area=(0.5, 1.0), flip=True),
    "schedule.batch_size": 16,  # mmsegmentation's: 8 devices with 2 images
    "loss.label_smoothing": 0.0,
    "network.dropout": 0.0,
}

FINETUNE_SEGMENTATION = FINETUNE.replace(
    {
        **_SEGMENTATION,
        "name": "finetune_segmentation",
        "description": """\
Segments your own photographs, with published weights for the backbone and a feature pyramid.
Command: regnet train --data FOLDER --weights regnety_016.tv2_in1k --out RUN
The folder holds images and masks.
Expect: a mean IoU far above training from scratch where images are few.""",
        "schedule.learning_rate": 0.0005,  # 0.001 for 64 images, by the root of the batch size
    }
)

FROM_SCRATCH_SEGMENTATION = FROM_SCRATCH.replace(
    {
        **_SEGMENTATION,
        "name": "from_scratch_segmentation",
        "description": """\
Segments your own photographs, from random weights.
Command: regnet train --data FOLDER --out RUN
The folder holds images and masks.
Expect: less than the recipe `finetune_segmentation` with published weights.""",
        "schedule.learning_rate": 0.0125,  # the paper's, for 16 images
    }
)
