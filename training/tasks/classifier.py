"""The networks of both kinds of classification."""

from collections.abc import Sequence

import keras

import regnet_tf
from regnet_tf import RegNetConfig

from ..recipes.parts import Images, Network
from .task import Task


def build_classifier(
    network: Network, images: Images, class_names: Sequence[str], activation: str
) -> keras.Model:
    """Returns a RegNet with a head. See `training.tasks.Task.build_network`."""
    return regnet_tf.build_regnet(
        with_drop_path(network),
        input_shape=images.input_shape,
        class_names=class_names,
        classifier_activation=activation,
        dropout=network.dropout,
        preprocessing=images.preprocessing,
        synchronized=network.synchronized,
        dtype=network.precision,
    )


def with_drop_path(network: Network) -> RegNetConfig:
    """Returns the configuration of a network with the rate of stochastic depth of its recipe."""
    if network.drop_path_rate is None:
        return network.config
    return network.config.replace(drop_path_rate=network.drop_path_rate)


class Classifier(Task):
    """A task whose networks are RegNets with a head."""

    def cost(self, model: keras.Model, config: RegNetConfig, image_size: int) -> dict[str, int]:
        """Returns the number of "parameters", and of "multiply_adds" for one image."""
        channels, classes = model.input_shape[-1], model.output_shape[-1]
        cost = regnet_tf.complexity(config, image_size, classes=classes, channels=channels)
        return {"parameters": cost.parameters, "multiply_adds": cost.multiply_adds}
