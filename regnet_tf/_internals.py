"""All uses of private parts of Keras and TensorFlow, which another version may change.

Each function says why no public one serves. `tests/test_internals.py` tests what each does.
TensorFlow is imported inside the functions, because Keras may run on another backend.
"""

import contextlib
from typing import Any
from unittest import mock

import keras


def stop_recording():
    """Returns a context manager in which no tape records.

    The public `GradientTape.stop_recording` stops one tape, and the tapes are the caller's.
    """
    from tensorflow.python.eager import record

    return record.stop_recording()


def record_gradients(result, inputs, gradients):
    """Records the gradients of a result that was computed while the tapes were stopped.

    `tf.custom_gradient` would leave extra operations behind, also in exported networks.

    Args:
        result: a tensor.
        inputs: the tensors from which the result was computed.
        gradients: function that maps the gradient of the result to a tuple: the gradients of the
            inputs.
    """
    from tensorflow.python.eager import record

    record.record_operation("regnet_tf", [result], list(inputs), gradients)
    return result


@contextlib.contextmanager
def override_gradients(**functions):
    """Context manager that stops tapes and replaces gradients of a graph's operations.

    The public `Graph.gradient_override_map` would write the name of a registered gradient into each
    operation, also in exported networks.

    Args:
        **functions: type of operation -> gradient function. The function takes the operation and
            the gradients of its outputs, and returns the gradients of its inputs.
    """
    import tensorflow as tf

    with stop_recording():
        if tf.executing_eagerly():
            yield
            return
        with tf.compat.v1.get_default_graph()._override_gradient_function(functions):
            yield


def has_onednn() -> bool:
    """Whether TensorFlow uses oneDNN, which it tells only in its log."""
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())


def saved_model_message():
    """Returns an empty protobuf of a SavedModel; TensorFlow exports only those inside it."""
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel()


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model, its layers, and the layers inside these; `model.layers` has no depth."""
    return list(model._flatten_layers())


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers directly inside a layer; only models have a public list of them."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def functional_form(model: keras.Model) -> keras.Model:
    """Returns the functional model that a `Sequential` one holds; a functional one itself.

    The public `outputs` of a `Sequential` model are a list, also if it outputs a dict.
    """
    return getattr(model, "_functional", model)


def maker(tensor):
    """Returns the layer that made a tensor of a functional model, and the layer's inputs.

    The public `layer.input` fails for a layer that was called twice.
    """
    layer, node, _ = tensor._keras_history
    return layer, list(layer._inbound_nodes[node].input_tensors)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Returns the position of a variable among those that an optimizer was built for.

    Keras passes TensorFlow's variables to `update_step`. Their parts on several devices have no
    public relation to the variables that `build` got.
    """
    return optimizer._get_variable_index(variable)


def logits_of(probabilities: Any) -> Any:
    """Returns the logits that Keras keeps with the result of its softmax or sigmoid.

    Its public losses take them, too, but have no temperature. The logarithm of a probability that
    is rounded to 0 has no gradient.
    """
    return probabilities._keras_logits


def mean_squares(optimizer: keras.optimizers.RMSprop) -> list[keras.Variable]:
    """Returns RMSprop's moving averages of squared gradients; `variables` holds others too."""
    return optimizer._velocities


def adam_moments(optimizer: keras.optimizers.Adam, variable: Any) -> tuple:
    """Returns Adam's mean gradient and mean squared gradient of a variable."""
    index = variable_index(optimizer, variable)
    return optimizer._momentums[index], optimizer._velocities[index]


class StepHook(keras.optimizers.Optimizer):
    """Optimizer with methods for the clipping of all gradients and the update of all variables.

    The public `update_step` updates one variable, after Keras has prepared each one for all
    replicas. Keras' own weight decay has the same learning rate for all variables, so the update
    must decay them.
    """

    def update_all(self, gradients, variables, learning_rate):
        """Updates the variables by their gradients; Keras' own way unless it is overridden."""
        super()._backend_update_step(gradients, variables, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.update_all(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables):
        """Does nothing: the update includes the decay."""

    def clip_all(self, gradients):
        """Returns the clipped gradients; Keras' own way unless it is overridden."""
        return super()._clip_gradients(gradients)

    def _clip_gradients(self, grads):
        return self.clip_all(grads)


def retinanet_label_encoder(anchor_generator, **options):
    """Returns KerasHub's `RetinaNetLabelEncoder`, which KerasHub does not export.

    The public way to one is the attribute of a whole detector, which holds a network.
    """
    from keras_hub.src.models.retinanet import retinanet_label_encoder as module

    return module.RetinaNetLabelEncoder(anchor_generator, **options)


def saving_without_preprocessor():
    """Returns a context manager in which KerasHub saves a task whose preprocessor is None.

    Before version 0.30, KerasHub tries to save None, which fails. No public method skips it.
    """
    from keras_hub.src.utils.preset_utils import KerasPresetSaver

    save = KerasPresetSaver.save_preprocessor

    def save_existing(saver, preprocessor):
        if preprocessor is not None:
            save(saver, preprocessor)

    return mock.patch.object(KerasPresetSaver, "save_preprocessor", save_existing)
