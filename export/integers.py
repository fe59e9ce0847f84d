"""int8: weights and activations of 8 bits, calibrated on images."""

import numpy as np
import tensorflow as tf

from export.convert import convert


def quantize(network, source, batch_size, io):
    """Converts a network to 8-bit integers.

    Args:
        network: an `export.network.Network`.
        source: the `export.source.Source`, with examples.
        batch_size: of its images.
        io: "uint8" or "int8", type of its images and probabilities.

    Returns:
        `(content, layers)`: of the file, and for each convolution a dict, "layer" and "error".
    """
    images = source.examples.calibration

    def representative():
        for start in range(0, len(images), batch_size):
            batch = np.resize(images[start : start + batch_size], (batch_size, *images.shape[1:]))
            yield [batch.astype("float32")]

    def configure(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)

    return convert(network, source.preprocessing, batch_size, tf.float32, configure), None
