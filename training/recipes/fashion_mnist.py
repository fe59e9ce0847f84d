"""Recipes for Fashion-MNIST."""

from regnet_tf import RegNetConfig

from .parts import Augmentation, Data, Images, Loss, Network, Optimizer, Schedule
from .recipe import Recipe

FASHION_MNIST = Recipe(
    name="fashion_mnist",
    description="""\
Trains a RegNetY of 626,000 parameters on Fashion-MNIST: 60,000 photographs of clothes, 28 pixels.
It tests once, after the last epoch, on the 10,000 test images. To choose other settings without
them, test on a sixth of the training images: --set data.held_out=0.16666667
Command: regnet train --recipe fashion_mnist""",
    data=Data(name="fashion_mnist"),
    network=Network(
        config=RegNetConfig(
            name="RegNetY-fashion",
            depth=8,
            initial_width=16,
            width_slope=20.0,
            width_multiplier=2.786,
            group_width=64,
            stride=(1, 2, 2),
            se_ratio=0.25,
            stem_width=16,
            stem_stride=1,
        )
    ),
    images=Images(
        size=28,
        crop_fraction=1.0,
        interpolation="bilinear",
        channels=1,
        mean=(0.286,),
        std=(0.353,),
    ),
    augmentation=Augmentation(flip=True, erasing=0.25, translation=1 / 28),
    schedule=Schedule(
        epochs=40, batch_size=128, learning_rate=0.1, warmup_epochs=1, test_epochs=40
    ),
    optimizer=Optimizer(name="sgd", weight_decay=5e-4),
    loss=Loss(label_smoothing=0.1),
)
