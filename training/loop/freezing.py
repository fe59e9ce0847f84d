"""Frozen layers of a network in training, and their release."""

import keras

import regnet_tf

from ..recipes.parts import TRUNK, Network


def set_frozen(model: keras.Model, network: Network, epoch: int, step: int = 0) -> None:
    """Freezes or releases the layers of a network as its recipe says.

    When layers are released, the optimizer begins anew; see `restart` of
    `regnet_tf.optimizers.PerVariable`.

    Args:
        model: a compiled model with the optimizer of the recipe.
        network: the `Network` of the recipe.
        epoch: epoch that is trained next, counted from 0.
        step: step of the epoch that is trained next, counted from 0.
    """
    if network.freeze is None:
        return
    model.train_function = None  # a step that was traced has the old variables
    model.trainable = False  # or Keras would not pass on True, the value that it has
    model.trainable = True
    released = network.frozen_epochs is not None and epoch >= network.frozen_epochs
    if not released:
        last = network.freeze
        if last == TRUNK:
            own = [f"stage_{len(network.config.stages)}", "final_conv"]
            last = [layer.name for layer in model.layers if layer.name in own][-1]
        regnet_tf.freeze(model, last)
    elif (epoch, step) == (network.frozen_epochs, 0):
        model.optimizer.restart()
