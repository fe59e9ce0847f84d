"""The formats of an export."""

from . import saved_model, tflite
from .base import INT8_OUTPUTS, PRECISIONS, Artefact, Format, Job, Settings

#: By name.
FORMATS: dict[str, Format] = {one.name: one for one in (saved_model.FORMAT, tflite.FORMAT)}

__all__ = ["FORMATS", "INT8_OUTPUTS", "PRECISIONS", "Artefact", "Format", "Job", "Settings"]
