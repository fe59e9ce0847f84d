"""The network to export: fused, in float32, with its weights as constants."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf._boxes import DIMENSIONS
from regnet_tf._errors import UserError
from regnet_tf._internals import maker

#: Above this number of bytes, weights stay variables: a graph of constants must be below 2 GiB.
_MOST_CONSTANTS = 1 << 30
#: The output of a detector.
DETECTIONS = "detections"
_NEXT_TO_NOTHING = 1e-30
_SIGMOID, _SOFTMAX = keras.activations.sigmoid, keras.activations.softmax


class Network:
    """A network for inference.

    The graph has no layers that act in training only, such as dropout and augmentation, and no
    states of random generators.

    Args:
        model: a trained RegNet: a classifier of images or of pixels, a detector, or a network
            without a head.
        is_classifier: whether outputs that no head makes are probabilities all the same.
        most_constants: maximum bytes of weights that become constants of the graph.

    Attributes:
        outputs: names of the outputs. A detector has "detections". A classifier has
            "probabilities"; "logits" unless it mixes probabilities; and "features", the head's
            inputs, if they are vectors. A network without a head has only "features".
        size: `(height, width)` of the images; None for any height or width.
        channels: number of channels of the images.
        is_multi_label: whether an image can have several classes: the activation is a sigmoid.
        softmax_is_assumed: whether the model outputs logits, so that softmax makes probabilities.
        features: a `keras.Model` of the model's own layers, from its input to "features"; None if
            it has none.
        layers: paths of the layers that have a kernel.
        bytes: bytes of the weights that inference reads.
        variables: the `tf.Variable`s of the graphs, to be saved with them; empty if the weights
            are constants.

    Raises:
        UserError: if the model is not a functional RegNet with one input and one output.
    """

    def __init__(self, model, is_classifier=False, most_constants=_MOST_CONSTANTS):
        check_model(model)
        taps, activation = _taps(model, is_classifier)
        self.softmax_is_assumed = "logits" in taps and activation is None
        self._activation = activation or tf.nn.softmax
        self.is_multi_label = activation is not None and _scores(activation) is _SIGMOID
        self.features = None
        if "features" in taps:
            self.features = keras.Model(model.inputs, taps["features"])
        try:
            fused = regnet_tf.fuse(keras.Model(model.inputs, taps, name=model.name), "float32")
        except ValueError as error:
            raise UserError(f"{model.name} cannot be exported: {error}") from error
        self._model = _on_floats(fused)
        more = ("probabilities",) if "logits" in taps else ()
        self.outputs = (*more, *taps)
        _, *size, self.channels = model.inputs[0].shape
        self.size = tuple(size)
        kernels = [v.path for v in self._model.variables if v.path.endswith("/kernel")]
        self.layers = [path.removesuffix("/kernel") for path in kernels]
        self._used = self._used_variables()
        tensors = [variable.value for variable in self._used]
        self.bytes = sum(t.dtype.size * t.shape.num_elements() for t in tensors)
        self.variables = tensors if self.bytes > most_constants else []

    def traced(self, batch_size, size):
        """Returns a graph of the network.

        Args:
            batch_size: number of images in a batch, or None for any.
            size: `(height, width)` of the images; None for any height or width.

        Returns:
            A `tf.types.experimental.ConcreteFunction` from the model's input, float32 `(batch_size,
            height, width, channels)`, to a dict of `outputs`. Other functions may call it. Their
            graph then holds the weights once, however often they call it.
        """
        spec = tf.TensorSpec((batch_size, *size, self.channels), tf.float32, name="images")
        call = self._call if self.variables else self._call_with_constants()
        return tf.function(call, autograph=False).get_concrete_function(spec)

    def _call(self, images):
        outputs = self._model(images, training=False)
        if "logits" in outputs:
            outputs["probabilities"] = self._activation(outputs["logits"])
        return outputs

    def _call_with_constants(self):
        """Returns a function of images with the weights as constants.

        oneDNN prepares constants once, but variables at each call.
        """
        values = [
            (variable, _not_zero(keras.ops.convert_to_numpy(variable))) for variable in self._used
        ]

        def call(images):
            constants = [(one, tf.constant(value, name=one.path)) for one, value in values]
            with keras.StatelessScope(state_mapping=constants):
                return self._call(images)

        return call

    def _used_variables(self):
        """Returns the Keras variables that inference reads: no states of random generators."""
        spec = tf.TensorSpec((None, *self.size, self.channels), tf.float32)
        graph = tf.function(self._call, autograph=False).get_concrete_function(spec).graph
        read = {variable.ref() for variable in graph.variables}
        return [one for one in self._model.variables if one.value.ref() in read]


def check_model(model: keras.Model) -> None:
    """Raises a `UserError` unless a model is a graph from one batch of images to one output."""
    inputs, outputs = (getattr(model, kind, None) or [] for kind in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise UserError(
            f"{model.name} must be a functional model with one input, images (batch, height, width,"
            f" channels), and one output. Received: {len(inputs)} inputs, {len(outputs)} outputs"
        )


def is_detector(model: keras.Model) -> bool:
    """Whether the outputs of a model are boxes with probabilities, see `regnet_tf._boxes`."""
    return len(model.outputs[0].shape) == DIMENSIONS


def _on_floats(model):
    """Returns a network on a float32 input, which needs no cast, also for one on uint8 images."""
    images = keras.Input(model.inputs[0].shape[1:], name="images", dtype="float32")
    inputs = keras.tree.pack_sequence_as(model.input, [images])
    return keras.models.clone_model(model, inputs, clone_function=lambda layer: layer)


def _not_zero(values):
    """Replaces values that are all zero by a tiny number.

    TensorFlow drops a bias of zeros, which untrained networks have, and then fuses nothing.
    """
    return values if values.any() else np.full_like(values, _NEXT_TO_NOTHING)


def _taps(model, is_classifier):
    """Returns the tensors of the outputs by name, and the activation after the logits."""
    last, before = maker(model.outputs[0])
    if isinstance(last, keras.Model):  # a network inside the model
        inner, activation = _taps(last, is_classifier)
        network = keras.Model(last.inputs, inner, name=last.name)
        return network(before[0] if len(before) == 1 else before), activation
    head = find_head(model)
    if head is not None:
        taps = {"logits": head.logits()}
        if len(head.inputs) == 1 and len(head.inputs[0].shape) == 2:
            taps["features"] = head.inputs[0]
        return taps, head.activation
    output = model.outputs[0]
    if is_detector(model):
        return {DETECTIONS: output}, None
    if is_classifier:
        return {"probabilities": output}, None
    if len(output.shape) == 4:
        pool = keras.layers.GlobalAveragePooling2D("channels_last", name="pool", dtype="float32")
        output = pool(output)
    return {"features": output}, None


class Head(NamedTuple):
    """The head at the end of a network, which makes the scores of the classes.

    Attributes:
        layer: the last layer with weights, or the last operation before the activation.
        inputs: list of the layer's input tensors.
        output: the layer's output tensor.
        activation: activation after the logits; None if the model outputs logits.
    """

    layer: keras.layers.Layer
    inputs: list[keras.KerasTensor]
    output: keras.KerasTensor
    activation: Callable | None

    def logits(self):
        """Returns the tensor of the logits: the layer's output without the activation."""
        if self.activation is None or self.activation is not getattr(
            self.layer, "activation", None
        ):
            return self.output
        layer = self.layer.__class__.from_config({**self.layer.get_config(), "activation": None})
        logits = layer(self.inputs if len(self.inputs) > 1 else self.inputs[0])
        layer.set_weights(self.layer.get_weights())
        return logits


def find_head(model: keras.Model) -> Head | None:
    """Returns the head at the end of a model, or None.

    A head is a `Dense` layer or a `PixelClassifier`, or any layers that end in softmax or sigmoid.
    The activation may be in the layer, or in a layer or operation after it.
    """
    output = model.outputs[0]
    last, before = maker(output)
    if isinstance(last, keras.Model):
        return find_head(last)
    activation = None
    if _is_activation(last):
        activation = last if _scores(last) else None
        output = before[0]
        last, before = maker(output)
    if activation is not None:
        return Head(last, before, output, activation)
    own = getattr(last, "activation", None)
    if isinstance(last, (keras.layers.Dense, regnet_tf.PixelClassifier)) or _scores(own):
        linear = own is keras.activations.linear
        return Head(last, before, output, None if linear else own)
    return None


def _is_activation(operation):
    """Whether an operation is softmax, sigmoid or nothing."""
    linear = getattr(operation, "activation", None) is keras.activations.linear
    if isinstance(operation, keras.layers.Activation) and linear:
        return True
    is_alone = isinstance(operation, keras.layers.Activation) or not hasattr(
        operation, "activation"
    )
    return is_alone and _scores(operation) is not None


def _scores(activation: Any) -> Callable | None:
    """Returns softmax or sigmoid for a function, layer or operation that computes it, else None."""
    if isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    if isinstance(activation, keras.Operation):  # `keras.ops.sigmoid` of a tensor
        return {"Softmax": _SOFTMAX, "Sigmoid": _SIGMOID}.get(type(activation).__name__)
    return activation if activation in (_SOFTMAX, _SIGMOID) else None
