"""`.tflite` files as objects, and back."""

import contextlib

import flatbuffers
import numpy as np

from regnet_tf._errors import first_line, import_optional

_IDENTIFIER = b"TFL3"

#: What TFLite asks of its constants, which delegates use where they lie.
_ALIGNMENT = 16


def schema():
    """TFLite's schema, as classes."""
    return import_optional("ai_edge_litert.schema_py_generated", extra="export")


@contextlib.contextmanager
def reading(path):
    """Names the file whose bytes make no sense: FlatBuffers checks nothing, so any error comes."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}") from error


def read_model(content, path):
    """The content of a `.tflite` file as the schema's objects.

    Constants that lie behind the model, as large ones may, are taken into it; what else lies there
    is left out. `path` is for errors.

    Raises:
        ValueError: for what is no such file, or a damaged one.
    """
    types = schema()
    if content[4:8] != _IDENTIFIER:
        raise ValueError(f"{path} is no .tflite file")
    with reading(path):
        model = types.ModelT.InitFromPackedBuf(content)
        for buffer in model.buffers:
            if buffer.offset > 1:  # behind the model
                buffer.data = np.frombuffer(content, "uint8", buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0
    return model


def pack_model(model):
    """The bytes of a `.tflite` file, its constants aligned."""
    types = schema()

    class Aligned(types.BufferT):
        def Pack(self, builder):
            if self.data is not None:
                builder.Prep(_ALIGNMENT, len(self.data))
            return super().Pack(builder)

    # FlatBuffers for Python knows no `force_align`, and would place constants anywhere.
    for buffer in model.buffers:
        buffer.__class__ = Aligned
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())
