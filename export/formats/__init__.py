"""The formats of an export."""

from . import onnx, openvino, saved_model, tflite, web
from .base import INT8_OUTPUTS, PRECISIONS, Artefact, Format, Job, Settings

#: By name.
FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT for module in (saved_model, tflite, onnx, openvino, web)
}

__all__ = ["FORMATS", "INT8_OUTPUTS", "PRECISIONS", "Artefact", "Format", "Job", "Settings"]
