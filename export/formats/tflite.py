"""`.tflite` files for phones and browsers, in one of four precisions."""

import dataclasses

import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf._files import LABELS_FILE, replacing

from .. import integers, metadata
from ..convert import convert
from ..descriptions import descriptions
from ..network import DETECTIONS
from .base import Artefact, Format, check_calibration, one_for_each_precision

#: The output of an embedder.
FEATURES = "features"


def write_tflite(path, network, source, precision, batch_size, int8_output, version):
    """Writes a `.tflite` file of a network, with the class names inside.

    The file takes images with levels 0 to 255, uint8 `(batch_size, image_size, image_size,
    channels)`. It returns "probabilities" float32 `(batch_size, classes)`, or "features" without a
    head; a detector returns "detections" `(batch_size, anchors, 4 + classes)`, before non-maximum
    suppression and without metadata. The file has only TFLite's builtin operations, and the
    signature "serving_default". The files of `export.descriptions.descriptions` are in an archive
    behind the network.

    Args:
        path: a `Path`.
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        precision: precision of weights and arithmetic, one of `PRECISIONS`. Where a phone cannot
            compute in it, "float16" or "dynamic_range" (8 bits) applies to the weights alone.
        batch_size: number of images in a batch.
        int8_output: output dtype of the int8 file, one of `INT8_OUTPUTS`.
        version: version for the metadata, a text.

    Returns:
        For int8, a list of dicts with the "layer" and "error" of every convolution; else None.

    Raises:
        UserError: if the network cannot be converted to builtin operations.
    """
    layers = None
    if precision == "int8":
        content, layers = integers.quantize(network, source, batch_size, int8_output)
    else:
        configure = _CONFIGURE[precision]
        content = convert(network, source.preprocessing, batch_size, configure=configure)
    with replacing(path) as partial:
        partial.write_bytes(content)
    files = descriptions(source, network)
    if source.labels and DETECTIONS not in network.outputs:
        _write_metadata(path, network, source, precision, version, files)
    else:
        metadata.append_files(path, files)
    return layers


def write_embedder(path, network, source, batch_size):
    """Writes a `.tflite` file of a network's pooled features, for MediaPipe's ImageEmbedder.

    It takes the same images as the files of `write_tflite`, in float32. It returns "features"
    float32 `(batch_size, channels)`. It has no class names, since its outputs are not classes.

    Args:
        path: a `Path`.
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        batch_size: number of images in a batch.

    Raises:
        UserError: if the network has no pooled features, or cannot be converted to builtin
            operations.
    """
    if FEATURES not in network.outputs:
        raise UserError(
            f"{source.name} has no pooled features: its outputs are {', '.join(network.outputs)}"
        )
    content = convert(network, source.preprocessing, batch_size, output=FEATURES)
    with replacing(path) as partial:
        partial.write_bytes(content)
    nameless = dataclasses.replace(source, class_names=())
    metadata.append_files(path, descriptions(nameless, network))


def _write_metadata(path, network, source, precision, version, files):
    preprocessing = source.preprocessing
    turned = ", turned as their EXIF metadata says," if preprocessing.exif_orientation else ""
    metadata.write_metadata(
        path,
        name=source.name,
        description=f"RegNet, {precision}. Takes levels of 0 to 255: the middle"
        f" {preprocessing.image_size} pixels of a photograph{turned} whose shorter side was resized"
        f" to {preprocessing.shorter_side}.",
        scores=_MULTI_LABEL if network.is_multi_label else _ONE_LABEL,
        labels=source.labels,
        mean=[0.0],  # the network itself normalizes
        std=[1.0],
        version=version,
        files={name: text for name, text in files.items() if name != LABELS_FILE},
    )


_ONE_LABEL = "The probability of each class. They add up to 1."
_MULTI_LABEL = "The probability of each class by itself. An image can have several classes."


def _float16(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic_range(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


_CONFIGURE = {"float32": None, "float16": _float16, "dynamic_range": _dynamic_range}


def _artefacts(job):
    source, settings = job.source, job.settings

    def write(path, precision):
        options = settings.batch_size, settings.int8_output, str(job.version)
        return write_tflite(path, job.network, source, precision, *options)

    yield from one_for_each_precision(job, FORMAT, "tflite", write)
    is_classifier = "probabilities" in job.network.outputs
    if is_classifier and FEATURES in job.network.outputs and "float32" in settings.precisions:
        yield Artefact(
            f"TFLite {FEATURES}",
            f"{FORMAT.folder}/{source.name}_{FEATURES}.tflite",
            "float32",
            lambda path: write_embedder(path, job.network, source, settings.batch_size),
            output=FEATURES,
        )


FORMAT = Format(
    name="tflite",
    title="TFLite",
    folder="tflite",
    what="for phones and browsers, one file for each precision",
    modules=("ai_edge_litert.interpreter",),
    extra="export",
    artefacts=_artefacts,
    check=check_calibration,
)
