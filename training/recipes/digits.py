"""Recipes for scikit-learn's handwritten digits, and a smoke test."""

from regnet_tf import RegNetConfig

from .parts import (
    Augmentation,
    Average,
    Data,
    Decoder,
    Detector,
    Images,
    Loss,
    Network,
    Optimizer,
    Pretraining,
    Schedule,
)
from .recipe import Recipe

DIGITS = Recipe(
    name="digits",
    description="""\
Trains a small RegNetY on scikit-learn's handwritten digits: 1,797 scans of 8x8 pixels, enlarged
to 32 pixels. A quarter of them is the test set.
Command: regnet train --recipe digits
Expect: 99 % test accuracy or more (99.8, 99.1 and 99.6 % with seeds 0, 1 and 2), in one to two
minutes on two CPU cores.""",
    data=Data(name="digits"),
    network=Network(
        config=RegNetConfig(
            name="RegNetY-digits",
            depth=5,
            initial_width=16,
            width_slope=16,
            width_multiplier=2,
            group_width=8,
            se_ratio=0.25,
            stem_width=16,
            stem_stride=1,
        )
    ),
    images=Images(
        size=32,
        crop_fraction=1.0,
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    ),
    augmentation=Augmentation(translation=0.08, rotation=10, zoom=0.1),
    schedule=Schedule(epochs=24, batch_size=64, learning_rate=0.1, warmup_epochs=2),
    optimizer=Optimizer(name="sgd", weight_decay=5e-4),
    loss=Loss(label_smoothing=0.1),
)

DIGIT_CROPS = Recipe(
    name="digit_crops",
    description="""\
Classifies handwritten digits on crops of photographs. It is the pretraining of
segmentation_digits.
Command: regnet train --recipe digit_crops
Expect: about 87 % test accuracy, in a minute and a half.""",
    data=Data(name="digit_crops"),
    network=Network(
        config=RegNetConfig(
            name="RegNetY-scenes",
            depth=5,
            initial_width=24,
            width_slope=24,
            width_multiplier=2,
            group_width=16,
            se_ratio=0.25,
            stem_width=16,
            stem_stride=1,
        )
    ),
    images=Images(
        size=36,
        crop_fraction=1.0,
        interpolation="bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    schedule=Schedule(epochs=3, batch_size=16, learning_rate=0.02, warmup_epochs=0),
    optimizer=Optimizer(name="sgd"),
    average=Average(decay=0.95, steps=4),
)

SEGMENTATION_DIGITS = DIGIT_CROPS.replace(
    {
        "name": "segmentation_digits",
        "description": """\
Segments scenes of handwritten digits on photographs, with a small RegNetY and a feature pyramid.
It starts from a classifier of single digits.
Command: regnet train --recipe segmentation_digits
Expect: a mean IoU of 0.80 on the test scenes, in less than five minutes on two slow CPU cores.""",
        "data.name": "digit_scenes",
        "decoder": Decoder(name="fpn", width=32),
        "images.size": 64,
        "schedule.epochs": 4,
        "schedule.batch_size": 8,
        "schedule.learning_rate": 0.4,
        "schedule.warmup_epochs": 1,
        "schedule.warmup_factor": 0.2,
        "pretraining": Pretraining(recipe=DIGIT_CROPS.name),
    }
)

DETECTION_SCENES = DIGIT_CROPS.replace(
    {
        "name": "detection_scenes",
        "description": """\
Finds handwritten digits on photographs and draws boxes around them, with a small RegNetY under
KerasHub's RetinaNet. It starts from a classifier of single digits.
Command: regnet train --recipe detection_scenes
Expect: an AP of about 0.7 and an AP50 of 0.96 on the test scenes, with digits that were held out,
in 5 to 7 minutes of CPU time: 3 to 4 on two free cores.""",
        "data.name": "digit_boxes",
        "detector": Detector(finest_level=3, coarsest_level=3, anchor_size=2.25, convolutions=1),
        "images.size": 64,
        "images.crop_mode": "squash",
        "schedule.epochs": 6,
        "schedule.batch_size": 16,
        "schedule.learning_rate": 0.001,
        "schedule.warmup_epochs": 1,
        "optimizer": Optimizer(name="adamw"),
        "average": None,
        "pretraining": Pretraining(recipe=DIGIT_CROPS.name),
    }
)

SMOKE = Recipe(
    name="smoke",
    description="""\
Trains a tiny RegNetX for a few steps on any data set, as a check of the installation.
Command: regnet train --recipe smoke
Expect: all files of a run in half a minute, and an accuracy near chance.""",
    data=Data(name="digits"),
    network=Network(
        config=RegNetConfig(
            name="RegNetX-smoke",
            depth=2,
            initial_width=8,
            width_slope=8,
            width_multiplier=2,
            group_width=8,
            stem_width=8,
        )
    ),
    images=Images(size=32, crop_fraction=1.0),
    schedule=Schedule(epochs=2, batch_size=8, learning_rate=0.05, warmup_epochs=0, max_steps=3),
    optimizer=Optimizer(name="sgd"),
)
