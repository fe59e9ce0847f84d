"""Learning rate and optimizer of a recipe."""

import math
from typing import Any

import keras
from keras import ops

from regnet_tf._internals import mean_squares
from regnet_tf.optimizers import L2, SGD

from ..recipes.parts import Optimizer, Schedule


def learning_rate(schedule: Schedule, epoch: int) -> float:
    """Returns the learning rate of an epoch by the schedule's kind.

    - "cosine": half a cosine over all epochs, multiplied by a linear warm-up in the first epochs
      (pycls: `lr_fun_cos` and `get_epoch_lr`).
    - "cosine_after_warmup": a linear warm-up, then half a cosine over the remaining epochs
      (torchvision's references: `LinearLR`, then `CosineAnnealingLR`).
    - "steps": a linear warm-up, then a decay by `decay_rate` every `decay_epochs`. Epochs are
      counted from the beginning (timm: `StepLRScheduler`).

    Args:
        schedule: the `Schedule` of a recipe.
        epoch: epoch from 0 to `schedule.epochs - 1`.
    """
    rate, warmup = schedule.scaled_learning_rate, schedule.warmup_epochs
    if schedule.kind == "cosine":
        return rate * _half_cosine(epoch / schedule.epochs) * _warmup(schedule, epoch)
    if epoch < warmup:
        return rate * _warmup(schedule, epoch)
    if schedule.decay_rate is not None and schedule.decay_epochs is not None:  # "steps"
        return rate * schedule.decay_rate ** (epoch // schedule.decay_epochs)
    return rate * _half_cosine((epoch - warmup) / (schedule.epochs - warmup))


def _half_cosine(progress):
    """Falls from 1 to 0 as progress goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _warmup(schedule, epoch):
    """Returns the factor of the learning rate in a linear warm-up."""
    if epoch >= schedule.warmup_epochs:
        return 1.0
    progress = epoch / schedule.warmup_epochs
    return schedule.warmup_factor * (1 - progress) + progress


def learning_rate_callback(schedule: Schedule) -> keras.callbacks.LearningRateScheduler:
    """Returns a Keras callback that sets and logs `learning_rate(schedule, epoch)`."""
    return keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(schedule, epoch))


def make_optimizer(optimizer: Optimizer, learning_rate: float) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer of an `Optimizer` of a recipe.

    Its name is fixed, because checkpoints store variables by path and Keras would number the name.

    Args:
        optimizer: the `Optimizer`.
        learning_rate: learning rate of the first epoch; a callback sets the others.
    """
    momentum = float(optimizer.momentum)
    if optimizer.name == "rmsprop":
        return RMSpropWithL2(
            learning_rate,
            l2=optimizer.weight_decay,
            undecayed=optimizer.undecayed,
            momentum=momentum,
            rho=0.9,
            epsilon=1e-3,
            name="rm_sprop_with_l2",
        )
    return SGD(
        learning_rate,
        l2=optimizer.weight_decay,
        undecayed=optimizer.undecayed,
        momentum=momentum,
        nesterov=optimizer.nesterov,
        name="sgd",
    )


@keras.saving.register_keras_serializable(package="training")
class RMSpropWithL2(L2, keras.optimizers.RMSprop):
    """RMSprop as in TensorFlow 1 and timm (`rmsproptf`), with L2 inside the gradient.

    The moving average of squared gradients starts at 1, so early steps are small. In Keras, it
    starts at 0.

    Args:
        learning_rate: a float.
        l2: L2 factor, at least 0.
        undecayed: as for `regnet_tf.SGD`.
        **kwargs: further arguments of `keras.optimizers.RMSprop`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        l2: float = 0.0,
        undecayed: str = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self._init_l2(l2, undecayed)

    def build(self, variables):
        is_new = not self.built
        super().build(variables)
        if is_new:
            for squares in mean_squares(self):
                squares.assign(ops.ones_like(squares))

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(self._decayed(gradient, variable), variable, learning_rate)
