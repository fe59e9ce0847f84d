"""The network to export: fused, in float32, with its weights as constants."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf._errors import UserError
from regnet_tf._internals import maker

#: Above this number of bytes, weights stay variables: a graph of constants must be below 2 GiB.
_MOST_CONSTANTS = 1 << 30
_NEXT_TO_NOTHING = 1e-30


class Network:
    """A network for inference.

    Args:
        model: a trained RegNet that takes normalized images: a classifier of images or of pixels,
            or a network without a classifier.
        most_constants: maximum bytes of weights that become constants of the graph.

    Attributes:
        outputs: names of the outputs: "features", except for a classifier of pixels, and "logits"
            if the network has a classifier.
        size: `(height, width)` of the images; None for any height or width.
        layers: paths of the layers that have a kernel.
        variables: the `tf.Variable`s of the graphs, to be saved with them; empty if the weights
            are constants.

    Raises:
        UserError: if the model is not a RegNet with at most a classifier on pooled features.
    """

    def __init__(self, model, most_constants=_MOST_CONSTANTS):
        taps, self._activation = _taps(model)
        try:
            fused = keras.Model(model.inputs, taps, name=model.name)
            self._model = regnet_tf.fuse(fused, dtype="float32")
        except ValueError as error:
            raise UserError(f"{model.name} cannot be exported: {error}") from error
        self.outputs = tuple(taps)
        self.size = tuple(model.input_shape[1:3])
        kernels = [v.path for v in self._model.variables if v.path.endswith("/kernel")]
        self.layers = [path.removesuffix("/kernel") for path in kernels]
        tensors = [variable.value for variable in self._model.variables]
        large = sum(t.dtype.size * t.shape.num_elements() for t in tensors) > most_constants
        self.variables = tensors if large else []

    def traced(self, batch_size, size):
        """Returns a graph of the network.

        Args:
            batch_size: number of images in a batch, or None for any.
            size: `(height, width)` of the images; None for any height or width.

        Returns:
            A `tf.types.experimental.ConcreteFunction` from normalized images float32 `(batch_size,
            height, width, 3)` to a dict of `outputs`. Other functions may call it. Their graph then
            holds the weights once, however often they call it.
        """
        spec = tf.TensorSpec((batch_size, *size, 3), tf.float32, name="images")
        call = self._call_with_variables if self.variables else self._call_with_constants()
        return tf.function(call, autograph=False).get_concrete_function(spec)

    def _call_with_variables(self, images):
        return self._model(images, training=False)

    def _call_with_constants(self):
        """Returns a function of images with the weights as constants.

        oneDNN prepares constants once, but variables at each call.
        """
        model = self._model
        values = [
            [_not_zero(keras.ops.convert_to_numpy(variable)) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]

        def call(images):
            constants = [[tf.constant(value) for value in kind] for kind in values]
            return model.stateless_call(*constants, images, training=False)[0]

        return call

    def probabilities(self, logits):
        """Returns probabilities, by the activation of the model's own classifier.

        Without an activation, they are the softmax of the logits.
        """
        return self._activation(logits)


def _not_zero(values):
    """Replaces values that are all zero by a tiny number.

    TensorFlow drops a bias of zeros, which untrained networks have, and then fuses nothing.
    """
    return values if values.any() else np.full_like(values, _NEXT_TO_NOTHING)


def _taps(model):
    """Returns the output tensors by name, and the activation from logits to probabilities."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(f"{model.name} must have one input and one output to be exported.")
    classifier = find_classifier(model)
    if classifier is not None:
        inputs, layer, activation = classifier
        logits = layer.__class__.from_config({**layer.get_config(), "activation": None})
        taps = {"logits": logits(inputs)}
        logits.set_weights(layer.get_weights())
        if not classifier.is_pixelwise:
            taps["features"] = inputs
        return taps, activation or tf.nn.softmax
    if len(model.outputs[0].shape) == 4:
        pool = keras.layers.GlobalAveragePooling2D("channels_last", name="pool", dtype="float32")
        return {"features": pool(model.outputs[0])}, None
    return {"features": model.outputs[0]}, None


class Classifier(NamedTuple):
    """The classifier at the end of a network.

    Attributes:
        inputs: tensor of the features. If `is_pixelwise`, the features of the pixels and the
            images.
        layer: a `Dense` or `PixelClassifier`.
        activation: activation after the logits; None if the model outputs logits.
    """

    inputs: keras.KerasTensor | list[keras.KerasTensor]
    layer: keras.layers.Layer
    activation: Callable | None

    @property
    def is_pixelwise(self):
        """Whether every pixel gets a class, instead of the whole image."""
        return isinstance(self.layer, regnet_tf.PixelClassifier)


def find_classifier(model: keras.Model) -> Classifier | None:
    """Returns the classifier at the end of a model, or None.

    Its activation may be in the layer or in a separate layer after it.
    """
    last, before = maker(model.outputs[0])
    activation = None
    if isinstance(last, (keras.layers.Softmax, keras.layers.Activation)):
        activation = last
        last, before = maker(*before)
    if not isinstance(last, (keras.layers.Dense, regnet_tf.PixelClassifier)):
        return None
    if last.activation is not keras.activations.linear:
        activation = last.activation
    return Classifier(before if len(before) > 1 else before[0], last, activation)
