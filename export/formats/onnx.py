"""`.onnx` files for ONNX Runtime, on servers, in browsers and on phones."""

from regnet_tf._errors import UserError, first_line, import_optional
from regnet_tf._files import replacing
from regnet_tf.version import __version__

from ..descriptions import descriptions
from . import onnx_graph, onnx_int8
from .base import Format, check_calibration, one_for_each_precision

PRECISIONS = ("float32", "int8")
DEFAULT_OPSET = 18
MIN_OPSET = 17
_MOST_BYTES = (1 << 31) - (1 << 24)  # a protobuf must be below 2 GiB


def check_onnx(network, source, precisions, opset=DEFAULT_OPSET):
    """Raises the errors that `write_onnx` would raise, and writes nothing.

    Args:
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        precisions: precisions of the files, from `PRECISIONS`.
        opset: version of ONNX's operators.

    Raises:
        UserError: if a package is missing, `opset` is out of range, the weights exceed 2 GiB, or
            ONNX cannot express an operation of the network.
    """
    for package in ("onnx", "tf2onnx", "onnxruntime"):
        import_optional(package, extra="onnx")
    most = max(import_optional("tf2onnx.constants", extra="onnx").OPSET_TO_IR_VERSION)
    if not isinstance(opset, int) or not MIN_OPSET <= opset <= most:
        version = import_optional("tf2onnx").__version__
        raise UserError(
            f"`opset` must be an integer from {MIN_OPSET} to {most}, the highest of tf2onnx"
            f" {version}. Received: {opset!r}"
        )
    if network.bytes > _MOST_BYTES:
        raise UserError(
            f"An .onnx file must be below 2 GiB, but the weights of {source.name} have"
            f" {network.bytes / (1 << 30):.1f} GiB. Leave the format onnx out."
        )
    refused = onnx_graph.refused_operations(network, source, opset)
    if refused:
        raise UserError(
            f"ONNX cannot express these operations of {source.name}: {', '.join(refused[:3])}."
            " Replace their layers, or leave the format onnx out."
        )


def write_onnx(path, network, source, precision, opset=DEFAULT_OPSET):
    """Writes an `.onnx` file of a network, with the class names and the preprocessing inside.

    The file takes "images" with levels 0 to 255, uint8 `(batch, image_size, image_size,
    channels)`. It returns `network.outputs`, float32, in this order. Inside, feature maps are
    channels-first, and only the images are transposed. The metadata hold the files of
    `export.descriptions.descriptions`, by name.

    Args:
        path: a `Path`.
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        precision: precision of weights and arithmetic, one of `PRECISIONS`.
        opset: version of ONNX's operators.

    Raises:
        UserError: if ONNX cannot express the network.
    """
    onnx = import_optional("onnx", extra="onnx")
    model = onnx_graph.convert(network, source, opset)
    if precision == "int8":
        model = onnx_int8.quantize(model, source.examples.calibration)
    model.producer_name, model.producer_version = "regnet_tf", __version__
    model.graph.name, model.graph.doc_string = source.name, ""
    used = {node.domain for node in model.graph.node}
    for unused in [one for one in model.opset_import if one.domain not in used]:
        model.opset_import.remove(unused)
    onnx.helper.set_model_props(model, descriptions(source, network))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's errors have no common base
        raise UserError(f"{path.name} would not be valid ONNX: {first_line(error)}") from error
    with replacing(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


def _check(job, precision):
    check_calibration(job, precision)
    check_onnx(job.network, job.source, [precision], job.settings.opset)


def _artefacts(job):
    def write(path, precision):
        write_onnx(path, job.network, job.source, precision, job.settings.opset)

    return one_for_each_precision(job, FORMAT, "onnx", write)


FORMAT = Format(
    name="onnx",
    title="ONNX",
    folder="onnx",
    what="for ONNX Runtime, one file for each precision",
    modules=("onnx", "onnxruntime", "tf2onnx"),
    extra="onnx",
    artefacts=_artefacts,
    precisions=PRECISIONS,
    check=_check,
)
