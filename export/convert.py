"""Conversion of a network to the bytes of a `.tflite` file."""

import tempfile
from collections.abc import Callable

import tensorflow as tf

from regnet_tf import Preprocessing
from regnet_tf._errors import UserError

from .network import Network

SIGNATURE = "serving_default"


def convert(
    network: Network,
    preprocessing: Preprocessing,
    batch_size: int,
    dtype: tf.DType = tf.uint8,
    configure: Callable | None = None,
    output: str | None = None,
) -> bytes:
    """Converts a network to TFLite's builtin operations.

    Args:
        network: an `export.network.Network`.
        preprocessing: a `regnet_tf.Preprocessing`; its normalization becomes part of the graph.
        batch_size: number of images in a batch.
        dtype: dtype of the images, which have levels 0 to 255.
        configure: function that changes a `tf.lite.TFLiteConverter` before it runs.
        output: name of the file's output, one of `network.outputs`; by default the first.

    Returns:
        The file's content. Its signature "serving_default" maps "images" to the output.

    Raises:
        UserError: if builtin operations cannot express the network.
    """
    size = preprocessing.image_size
    traced = network.traced(batch_size, (size, size))
    name = output or network.outputs[0]
    spec = tf.TensorSpec((batch_size, size, size, network.channels), dtype, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def run(images):
        return {name: traced(preprocessing.normalize(images))[name]}

    module = tf.Module()
    module.variables_ = network.variables
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: run})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if configure is not None:
            configure(converter)
        try:
            return converter.convert()
        except Exception as error:  # the converter may raise any exception
            raise UserError(f"The network cannot be converted to TFLite: {error}") from error
