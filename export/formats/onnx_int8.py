"""Quantization of an ONNX graph to int8, calibrated on images."""

import re
import tempfile
from pathlib import Path

from regnet_tf._errors import UserError, first_line, import_optional

from ..integers import IN_FLOAT

#: Operations in int8. Poolings, gates and softmax stay in float32.
_QUANTIZED = ("Conv", "Relu", "Add", "Concat", "Resize", "Gemm", "MatMul")
_BATCH_SIZE = 16


def quantize(model, images):
    """Quantizes the convolutions and the head of an ONNX graph to 8 bits.

    Activations are unsigned; their range is the minimum and maximum over the images. Weights are
    signed, with one scale for each output channel. They have 7 bits: CPUs with AVX2 but without
    VNNI add pairs of products in 16 bits, and 8 bits would overflow. Outputs stay float32.

    Args:
        model: an `onnx.ModelProto` that `onnx_graph.convert` returned.
        images: calibration images, uint8 `(count, height, width, channels)`.

    Returns:
        An `onnx.ModelProto` with pairs of `QuantizeLinear` and `DequantizeLinear`.

    Raises:
        UserError: if ONNX Runtime cannot quantize the graph.
    """
    onnx = import_optional("onnx", extra="onnx")
    quantization = import_optional("onnxruntime.quantization", extra="onnx")
    shape_inference = import_optional("onnxruntime.quantization.shape_inference", extra="onnx")
    with tempfile.TemporaryDirectory() as folder:
        given, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("in", "mid", "out"))
        onnx.save(model, given)
        try:
            shape_inference.quant_pre_process(given, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                result,
                _Batches(images),
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                op_types_to_quantize=list(_QUANTIZED),
                nodes_to_exclude=list(_in_float(onnx.load(prepared).graph)),
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
            )
            return onnx.load(result)
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise UserError(
                f"The network cannot be converted to int8: {first_line(error)}"
            ) from error


class _Batches:
    """Calibration images, batch by batch, as ONNX Runtime's quantizer reads them."""

    def __init__(self, images):
        starts = range(0, len(images), _BATCH_SIZE)
        self._batches = iter([{"images": images[at : at + _BATCH_SIZE]} for at in starts])

    def get_next(self):
        """Returns the next batch, a dict of the graph's input, or None."""
        return next(self._batches, None)


def _in_float(graph):
    """Yields the nodes that stay in float32: of the gates, and what comes before the stem."""
    from_levels = {"images"}
    for node in graph.node:
        if any(re.match(IN_FLOAT, name) for name in node.input):
            yield node.name
        elif from_levels.intersection(node.input) and node.op_type != "Conv":
            from_levels.update(node.output)
            yield node.name
