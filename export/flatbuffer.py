"""Conversion of `.tflite` files to objects and back."""

import contextlib
from typing import Any

import flatbuffers
import numpy as np

from regnet_tf._errors import first_line, import_optional

_IDENTIFIER = b"TFL3"

#: Alignment in bytes that TFLite requires of constants, since delegates use them in place.
_ALIGNMENT = 16


def schema():
    """Returns the module with the classes of TFLite's schema."""
    return import_optional("ai_edge_litert.schema_py_generated", extra="export")


@contextlib.contextmanager
def reading(path):
    """Turns any error inside the block into a ValueError that names the file.

    FlatBuffers does not validate its input, so a damaged file may raise any exception.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}") from error


def read_model(content, path):
    """Returns the content of a `.tflite` file as the schema's objects.

    Large constants may lie behind the model in the file; they are moved into it. Other data behind
    the model is left out. `path` is for error messages.

    Raises:
        ValueError: if the content is not a `.tflite` file, or is damaged.
    """
    types = schema()
    if content[4:8] != _IDENTIFIER:
        raise ValueError(f"{path} is not a .tflite file")
    with reading(path):
        model = types.ModelT.InitFromPackedBuf(content)
        for buffer in model.buffers:
            if buffer.offset > 1:  # behind the model
                buffer.data = np.frombuffer(content, "uint8", buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0
    return model


def pack_model(model):
    """Returns the bytes of a `.tflite` file, with its constants aligned."""
    buffer_type: Any = schema().BufferT

    class Aligned(buffer_type):
        def Pack(self, builder):
            if self.data is not None:
                builder.Prep(_ALIGNMENT, len(self.data))
            return super().Pack(builder)

    # FlatBuffers for Python does not support `force_align`, so it would not align constants.
    for buffer in model.buffers:
        buffer.__class__ = Aligned
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())
