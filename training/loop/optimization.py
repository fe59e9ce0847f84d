"""Learning rate schedule and optimizer of a recipe."""

import math

import keras
from keras import ops

from regnet_tf._internals import mean_squares
from regnet_tf.optimizers import L2, SGD


def learning_rate(recipe, epoch):
    """Returns the learning rate of an epoch by the recipe's schedule.

    - "cosine": half a cosine over all epochs, multiplied by a linear warm-up in the first epochs
      (pycls: `lr_fun_cos` and `get_epoch_lr`).
    - "cosine_after_warmup": a linear warm-up, then half a cosine over the remaining epochs
      (torchvision's references: `LinearLR`, then `CosineAnnealingLR`).
    - "steps": a linear warm-up, then a decay by `decay_rate` every `decay_epochs`. Epochs are
      counted from the beginning (timm: `StepLRScheduler`).

    Args:
        recipe: a `Recipe`.
        epoch: epoch from 0 to `recipe.epochs - 1`.

    Returns:
        The learning rate, a float.
    """
    rate, warmup = recipe.scaled_learning_rate, recipe.warmup_epochs
    if recipe.schedule == "cosine":
        return rate * _half_cosine(epoch / recipe.epochs) * _warmup(recipe, epoch)
    if epoch < warmup:
        return rate * _warmup(recipe, epoch)
    if recipe.schedule == "steps":
        return rate * recipe.decay_rate ** (epoch // recipe.decay_epochs)
    return rate * _half_cosine((epoch - warmup) / (recipe.epochs - warmup))


def _half_cosine(progress):
    """Falls from 1 to 0 as progress goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _warmup(recipe, epoch):
    """Returns the factor of the learning rate in a linear warm-up."""
    if epoch >= recipe.warmup_epochs:
        return 1.0
    progress = epoch / recipe.warmup_epochs
    return recipe.warmup_factor * (1 - progress) + progress


def learning_rate_callback(recipe):
    """Returns a Keras callback that sets and logs `learning_rate(recipe, epoch)`."""
    return keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(recipe, epoch))


def make_optimizer(recipe):
    """Returns the optimizer of a recipe, with the learning rate of the first epoch.

    Its name is fixed, because checkpoints store variables by path and Keras would number the name.
    """
    options = {
        "momentum": float(recipe.momentum),
        "l2": recipe.weight_decay,
        "undecayed": recipe.undecayed,
    }
    rate = learning_rate(recipe, 0)
    if recipe.optimizer == "rmsprop":
        return RMSpropWithL2(rate, rho=0.9, epsilon=1e-3, name="rm_sprop_with_l2", **options)
    return SGD(rate, nesterov=recipe.nesterov, name="sgd", **options)


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

    def __init__(self, learning_rate=0.001, l2=0.0, undecayed="none", **kwargs):
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
