"""Learning rate and optimizer of a recipe."""

import math
from typing import Any

import keras
from keras import ops

from regnet_tf._internals import mean_squares
from regnet_tf.optimizers import SGD, AdamW, PerVariable

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


def make_optimizer(optimizer: Optimizer, learning_rate: float) -> PerVariable:
    """Returns the Keras optimizer of an `Optimizer` of a recipe.

    Its name is fixed, because checkpoints store variables by path and Keras would number the name.

    Args:
        optimizer: the `Optimizer`.
        learning_rate: learning rate of the first epoch; a callback sets the others.
    """
    groups = {"undecayed": optimizer.undecayed, "layer_decay": optimizer.layer_decay}
    clipping = {"global_clipnorm": optimizer.clip_norm, "clipvalue": optimizer.clip_value}
    momentum = {"momentum": float(optimizer.momentum)}
    l2, decoupled = {"l2": optimizer.weight_decay}, {"weight_decay": optimizer.weight_decay}
    kinds: dict[str, tuple[type, dict]] = {
        "sgd": (SGD, {**momentum, **l2, "nesterov": optimizer.nesterov}),
        "sgdw": (SGD, {**momentum, **decoupled, "nesterov": optimizer.nesterov}),
        "rmsprop": (RMSpropWithL2, {**momentum, **l2, "rho": 0.9, "epsilon": 1e-3}),
        "adamw": (
            AdamW,
            {
                **decoupled,
                "beta_1": optimizer.beta_1,
                "beta_2": optimizer.beta_2,
                "epsilon": optimizer.epsilon,
            },
        ),
    }
    kind, own = kinds[optimizer.name]
    return kind(learning_rate, **own, **groups, **clipping, name=optimizer.name)


@keras.saving.register_keras_serializable(package="training")
class RMSpropWithL2(PerVariable, keras.optimizers.RMSprop):
    """RMSprop as in TensorFlow 1 and timm (`rmsproptf`), with L2 inside the gradient.

    The moving average of squared gradients starts at 1, so early steps are small. In Keras, it
    starts at 0.

    Args:
        learning_rate: a float.
        l2: L2 factor, at least 0.
        undecayed: as for `regnet_tf.SGD`.
        layer_decay: as for `regnet_tf.SGD`.
        **kwargs: further arguments of `keras.optimizers.RMSprop`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        l2: float = 0.0,
        undecayed: str = "none",
        layer_decay: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self._init_groups(undecayed, layer_decay, l2)

    def build(self, variables):
        is_new = not self.built
        super().build(variables)
        if is_new:
            self._begin()

    def restart(self):
        super().restart()
        self._begin()

    def _begin(self):
        for squares in mean_squares(self):
            squares.assign(ops.ones_like(squares))

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rate(learning_rate, variable)
        super().update_step(self._regularized(gradient, variable), variable, rate)
