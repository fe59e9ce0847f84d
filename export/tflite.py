"""`.tflite` files for phones, in four precisions."""

import tensorflow as tf

from regnet_tf._checks import check_choice, check_int
from regnet_tf._errors import UserError
from regnet_tf._files import replacing

from . import integers
from .convert import convert
from .metadata import write_metadata

PRECISIONS = ("float32", "float16", "dynamic_range", "int8")
INT8_OUTPUTS = ("float32", "uint8")


def check_options(precisions, batch_size, int8_output, examples):
    """Raises what `write_tflite` would, without doing anything.

    Raises:
        ValueError: for an unknown precision or type, or a batch without images.
        UserError: for int8 without images to calibrate with.
    """
    for precision in precisions:
        check_choice("precision", precision, PRECISIONS)
    check_int("batch_size", batch_size, minimum=1)
    check_choice("int8_output", int8_output, INT8_OUTPUTS)
    if "int8" in precisions and examples is None:
        raise UserError(
            "int8 needs images to calibrate with: give --calibration, a folder of photographs or an"
            " .npz file, or leave it out: --precision float32 float16 dynamic_range"
        )


def write_tflite(path, network, source, precision, batch_size, int8_output, version):
    """Writes a `.tflite` file of a network, with names of the classes inside.

    It takes images of levels 0 to 255, uint8 `(batch_size, image_size, image_size, 3)`, and gives
    "probabilities" float32 `(batch_size, classes)`, or "features" where there is no classifier. It
    holds TFLite's builtin operations alone, and the signature "serving_default".

    Args:
        path: a `Path`.
        network: an `export.network.Network`.
        source: the `export.source.Source` that it was made of.
        precision: one of `PRECISIONS`: of weights and arithmetic; "float16" and "dynamic_range"
            (8 bits) of weights alone as far as a phone can not compute with them.
        batch_size: of its images.
        int8_output: type of what the int8 file gives, one of `INT8_OUTPUTS`.
        version: text, for the metadata.

    Returns:
        For int8 a list of dicts, "layer" and "error", of every convolution; else None.

    Raises:
        UserError: for a network that can not be converted to builtin operations.
    """
    layers = None
    if precision == "int8":
        content, layers = integers.quantize(network, source, batch_size, int8_output)
    else:
        configure = _CONFIGURE[precision]
        content = convert(network, source.preprocessing, batch_size, configure=configure)
    with replacing(path) as partial:
        partial.write_bytes(content)
    if source.labels:
        _write_names(path, source, precision, version)
    return layers


def _write_names(path, source, precision, version):
    preprocessing = source.preprocessing
    write_metadata(
        path,
        name=source.name,
        description=f"RegNet, {precision}. Takes levels of 0 to 255: the middle"
        f" {preprocessing.image_size} pixels of a photograph whose shorter side was resized to"
        f" {preprocessing.shorter_side}.",
        labels=source.labels,
        mean=[0.0],  # the network normalizes
        std=[1.0],
        version=version,
    )


def _float16(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic_range(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


_CONFIGURE = {"float32": None, "float16": _float16, "dynamic_range": _dynamic_range}
