"""The learning rate of each epoch, and SGD as the paper's authors use it."""

import math

import keras
from keras import ops

from regnet_tf._checks import check_number


def learning_rate(recipe, epoch):
    """Half a cosine from the recipe's learning rate towards 0, with a linear warm-up.

    Args:
        recipe: a `Recipe`.
        epoch: from 0 to `recipe.epochs - 1`.

    Returns:
        The learning rate of that epoch, a float.
    """
    rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    if epoch < recipe.warmup_epochs:
        progress = epoch / recipe.warmup_epochs
        rate *= recipe.warmup_factor * (1 - progress) + progress
    return rate


def learning_rate_callback(recipe):
    """The Keras callback that sets `learning_rate(recipe, epoch)` and logs it."""
    return keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(recipe, epoch))


def make_optimizer(recipe):
    """The optimizer of a recipe; its learning rate is that of the first epoch."""
    return SGDWithL2(
        learning_rate(recipe, 0),
        momentum=float(recipe.momentum),
        nesterov=recipe.nesterov,
        l2=recipe.weight_decay,
    )


@keras.saving.register_keras_serializable(package="training")
class SGDWithL2(keras.optimizers.SGD):
    """SGD whose weight decay is the gradient of an L2 loss, and passes through momentum.

    It does what `torch.optim.SGD` does:

        gradient += l2 * variable
        velocity = momentum * velocity + gradient
        variable -= learning_rate * (gradient + momentum * velocity)   # nesterov
        variable -= learning_rate * velocity                           # else

    `keras.optimizers.SGD(weight_decay=...)` instead shrinks variables beside the gradient, which
    for the same number is about a tenth of the decay, and keeps past learning rates in its
    velocity, which differs wherever the learning rate changes.

    Args:
        learning_rate: a float.
        momentum: from 0 to 1, a float.
        nesterov: whether momentum looks ahead.
        l2: at least 0.
        **kwargs: further arguments of `keras.optimizers.SGD`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, l2=0.0, **kwargs):
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        check_number("l2", l2, minimum=0)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype) + self.l2 * variable
        if self.momentum:
            velocity = self.momentums[self._get_variable_index(variable)]
            updated = self.momentum * velocity + step
            self.assign(velocity, updated)
            step = step + self.momentum * updated if self.nesterov else updated
        self.assign_sub(variable, learning_rate * step)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}
