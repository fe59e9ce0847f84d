"""The FlatBuffer of TFLite Model Metadata, as nested dicts and back.

It has the tables of `metadata_schema.fbs`, which MediaPipe ships.
"""

from typing import Any

import flatbuffers
import numpy as np
from flatbuffers.number_types import Uint8Flags
from flatbuffers.table import Table

_IDENTIFIER = b"M001"

#: Table -> its fields in the schema's order, up to the last one used here. A field is a text, a
#: number of one byte, another table, a list of these, or a union. A union is a pair: the one member
#: that is supported, and the member's number.
_SCHEMA: dict[str, dict[str, Any]] = {
    "ModelMetadata": {
        "name": str,
        "description": str,
        "version": str,
        "subgraph_metadata": ["SubGraphMetadata"],
        "author": str,
        "license": str,
        "associated_files": ["AssociatedFile"],
        "min_parser_version": str,
    },
    "SubGraphMetadata": {
        "name": str,
        "description": str,
        "input_tensor_metadata": ["TensorMetadata"],
        "output_tensor_metadata": ["TensorMetadata"],
    },
    "TensorMetadata": {
        "name": str,
        "description": str,
        "dimension_names": [str],
        "content": "Content",
        "process_units": ["ProcessUnit"],
        "stats": "Stats",
        "associated_files": ["AssociatedFile"],
    },
    "AssociatedFile": {"name": str, "description": str, "type": int, "locale": str},
    "Content": {"content_properties": ("ImageProperties", 2)},
    "ImageProperties": {"color_space": int},
    "ProcessUnit": {"options": ("NormalizationOptions", 1)},
    "NormalizationOptions": {"mean": [float], "std": [float]},
    "Stats": {"max": [float], "min": [float]},
}


def pack(metadata):
    """Returns the FlatBuffer of a ModelMetadata with these fields."""
    builder = flatbuffers.Builder()
    builder.Finish(_pack_table(builder, "ModelMetadata", metadata), _IDENTIFIER)
    return bytes(builder.Output())


def _pack_table(builder, table, fields):
    """Writes a table and everything it refers to; returns the table's offset."""
    packed = [
        (slot, kind, _pack_value(builder, kind, fields[name]))
        for slot, name, kind in _slots(table)
        if fields.get(name) is not None
    ]
    builder.StartObject(2 * len(_SCHEMA[table]))
    for slot, kind, value in packed:
        if kind is int:
            builder.PrependUint8Slot(slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        if isinstance(kind, tuple):
            builder.PrependUint8Slot(slot - 1, kind[1], 0)
    return builder.EndObject()


def _pack_value(builder, kind, value):
    """Writes the value of a field and returns its offset; returns a number unchanged."""
    if kind is int:
        return value
    if kind is str:
        return builder.CreateString(value)
    if kind == [float]:
        return builder.CreateNumpyVector(np.array(value, "float32"))
    if isinstance(kind, list):
        places = [_pack_value(builder, kind[0], item) for item in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    return _pack_table(builder, kind[0] if isinstance(kind, tuple) else kind, value)


def unpack(content):
    """Returns the fields of a packed ModelMetadata, without missing ones."""
    if content[4:8] != _IDENTIFIER:
        raise ValueError("its metadata is of another kind")
    return _unpack_value(content, "ModelMetadata", 0)


def _unpack_table(content, table, position):
    reader = Table(content, position)
    fields = {}
    for slot, name, kind in _slots(table):
        offset = reader.Offset(_vtable(slot))
        if isinstance(kind, tuple):
            kind, known = kind
            if reader.GetSlot(_vtable(slot - 1), 0, Uint8Flags) != known:
                continue
        if offset:
            fields[name] = _unpack_value(content, kind, position + offset)
    return fields


def _unpack_value(content, kind, position):
    """Reads the value of a field from its position, directly or by reference."""
    reader = Table(content, position)
    if kind is int:
        return content[position]
    if kind is str:
        return reader.String(position).decode()
    if isinstance(kind, str):
        return _unpack_table(content, kind, reader.Indirect(position))
    start, length = reader.Vector(0), reader.VectorLen(0)
    if kind == [float]:
        return np.frombuffer(content, "<f4", length, start).tolist()
    return [_unpack_value(content, kind[0], start + 4 * i) for i in range(length)]


def _slots(table):
    """Yields number, name and kind of each field; a union's type takes the number before it."""
    slot = 0
    for name, kind in _SCHEMA[table].items():
        slot += isinstance(kind, tuple)
        yield slot, name, kind
        slot += 1


def _vtable(slot):
    """Returns the position of a field's offset in the vtable of a table."""
    return 4 + 2 * slot
