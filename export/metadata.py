"""Names and preprocessing inside a `.tflite` file, as MediaPipe and Android Studio read them.

They are the TFLite Model Metadata: a small FlatBuffer of its own (`metadata_schema.fbs`, which
MediaPipe ships) in one of the model's buffers, and the labels in a ZIP archive behind the model.
"""

import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
from flatbuffers.number_types import Uint8Flags
from flatbuffers.table import Table

from regnet_tf._checks import check, check_number
from regnet_tf._files import replacing

from .flatbuffer import pack_model, read_model, reading, schema

LABELS_FILE = "labels.txt"

_ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"

#: The first parser that knew all that is written here.
_MIN_PARSER_VERSION = "1.0.0"
_RGB = 1
_TENSOR_AXIS_LABELS = 2

#: Table -> its fields in the schema's order, as far as they are used: text, a number of one byte,
#: another table, a list of these, or a pair for a union: the member that is known, its number.
_SCHEMA = {
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


def write_metadata(
    path, *, name, description, labels, mean, std, version, license=None, author=None
):
    """Writes into a classifier what it is called, what it wants and what its classes are.

    The operators, the constants and other metadata stay as they are; an earlier metadata and
    archive are replaced. The same arguments give the same bytes.

    Whoever opens the file feeds `(level - mean) / std`, quantized where the input is. MediaPipe's
    ImageClassifier has limits: for a float32 input it asks for the same numbers in all channels;
    to a uint8 input it feeds the levels 0..255 themselves, whatever `mean` and `std` say; it opens
    no file with an int8 input or output, nor one for a fixed batch of more than one image. A
    network that normalizes in its graph takes mean 0 and std 1 and is fed well in either type.

    Args:
        path: the `.tflite` file, rewritten in place or, on an error, left as it was. It has one
            input, RGB images (N, height, width, 3), and one output, scores (N, classes), or
            (N, height, width, classes) where every pixel has a class.
        name: of the model.
        description: of the model.
        labels: name of each class, in the order of the output.
        mean: what is subtracted from the levels 0..255; one number, or one for each of R, G, B.
        std: what the difference is then divided by, above 0; as many numbers as `mean`.
        version: of the model, such as "1".
        license: name or text of the license.
        author: who made the model.

    Raises:
        OSError: where the file can not be read or written.
        ValueError: for a file that is no such classifier, and for arguments that do not fit it; a
            `UserError` where ai-edge-litert is missing.
    """
    path = Path(path)
    mean, std = _normalization(mean, std)
    labels = _checked_labels(labels)
    model = read_model(path.read_bytes(), path)
    classes = _count_classes(path, model)
    check("labels", len(labels), len(labels) == classes, f"{classes} names, as there are classes")
    metadata = {
        "name": name,
        "description": description,
        "version": version,
        "subgraph_metadata": [
            {
                "input_tensor_metadata": [_image_metadata(mean, std)],
                "output_tensor_metadata": [_scores_metadata()],
            }
        ],
        "author": author,
        "license": license,
        "min_parser_version": _MIN_PARSER_VERSION,
    }
    packed = _pack(metadata)
    with reading(path):
        _set_entry(model, packed)
        content = pack_model(model)
    with replacing(path) as partial:
        partial.write_bytes(content)
        # Stored, since phones map files into memory; a `ZipInfo` is without today's date.
        with zipfile.ZipFile(partial, "a", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(LABELS_FILE), "\n".join(labels))


def read_metadata(path) -> dict:
    """Reads what `write_metadata`, or another writer of classifiers' metadata, wrote.

    Args:
        path: a `.tflite` file.

    Returns:
        `name`, `description`, `version`, `license`, `author` and `min_parser_version`: text.
        `mean`, `std`, `min` and `max` of the input: lists of numbers. `labels` of the output: a
        list of text. Each is None where the file does not say. Numbers are rounded to float32.

    Raises:
        OSError: where the file can not be read.
        ValueError: for a file that is no `.tflite` file, is damaged, or has no metadata; a
            `UserError` where ai-edge-litert is missing.
    """
    path = Path(path)
    model = read_model(path.read_bytes(), path)
    with reading(path):
        packed = next((model.buffers[entry.buffer].data for entry in _entries(model)), None)
    if packed is None:
        raise ValueError(f"{path} has no metadata")
    with reading(path):
        return _summary(_unpack(bytes(packed)), path)


def _normalization(mean, std):
    """Both as lists of numbers."""
    mean, std = ([value] if np.isscalar(value) else list(value) for value in (mean, std))
    check("mean", mean, len(mean) in (1, 3), "one number or three")
    check("std", std, len(std) == len(mean), f"as many numbers as `mean`, {len(mean)}")
    for value in mean:
        check_number("mean", value)
    for value in std:
        check_number("std", value, above=0)
    return mean, std


def _checked_labels(labels):
    """Raises ValueError for labels that a file with one on each line does not keep apart."""
    check("labels", labels, not isinstance(labels, str), "a list of names")
    labels = list(labels)
    for label in labels:
        ok = isinstance(label, str) and label.strip() and label.splitlines() == [label]
        check("labels", label, ok, "names of one line each, none of them empty")
    return labels


def _count_classes(path, model):
    """The classes of a classifier of RGB images; ValueError for another model."""
    with reading(path):
        graph = model.subgraphs[0]
        tensors = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs)]
    shapes = [() if tensor.shape is None else tuple(tensor.shape.tolist()) for tensor in tensors]
    ranks = [len(shape) for shape in shapes]
    if ranks not in ([4, 2], [4, 4]) or shapes[0][3] != 3:
        raise ValueError(
            f"{path} is no classifier of RGB images: its inputs and outputs have the shapes"
            f" {', '.join(map(str, shapes))}"
        )
    return shapes[1][-1]


def _image_metadata(mean, std):
    """TensorMetadata of the input; its range is that of the values fed."""
    stats = {
        name: [(end - m) / s for m, s in zip(mean, std, strict=True)]
        for name, end in {"min": 0, "max": 255}.items()
    }
    return {
        "name": "image",
        "description": "The image to classify.",
        "content": {"content_properties": {"color_space": _RGB}},
        "process_units": [{"options": {"mean": mean, "std": std}}],
        "stats": stats,
    }


def _scores_metadata():
    """TensorMetadata of the output."""
    return {
        "name": "scores",
        "description": "A score of each class.",
        "associated_files": [
            {
                "name": LABELS_FILE,
                "description": "Names of the classes, one on each line.",
                "type": _TENSOR_AXIS_LABELS,
            }
        ],
    }


def _entries(model):
    """The model's metadata entries that are the one of this module: none or one."""
    return [entry for entry in model.metadata or [] if entry.name == _ENTRY.encode()]


def _set_entry(model, packed):
    """Puts the packed metadata into the model, in the place of an earlier one."""
    types = schema()
    entry = next(iter(_entries(model)), None)
    if entry is None:
        entry = types.MetadataT()
        entry.name = _ENTRY
        entry.buffer = len(model.buffers)
        model.buffers.append(types.BufferT())
        model.metadata = [*(model.metadata or []), entry]
    model.buffers[entry.buffer].data = np.frombuffer(packed, "uint8")


def _pack(metadata):
    """The FlatBuffer of the fields of a ModelMetadata."""
    builder = flatbuffers.Builder()
    builder.Finish(_pack_table(builder, "ModelMetadata", metadata), _IDENTIFIER)
    return bytes(builder.Output())


def _pack_table(builder, table, fields):
    """Writes a table and what it refers to; returns its place."""
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
    """Writes what a field refers to and returns its place; a number as it is."""
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


def _unpack(content):
    """The fields of a packed ModelMetadata; those it does not have are left out."""
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
    """What a field says, or refers to from its position."""
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
    """Yields number, name and kind of each field; a union's type has the number before it."""
    slot = 0
    for name, kind in _SCHEMA[table].items():
        slot += isinstance(kind, tuple)
        yield slot, name, kind
        slot += 1


def _vtable(slot):
    """Where a table's index keeps the place of a field."""
    return 4 + 2 * slot


def _summary(metadata, path):
    """What `read_metadata` returns."""
    graph = _first(metadata.get("subgraph_metadata"))
    image = _first(graph.get("input_tensor_metadata"))
    scores = _first(graph.get("output_tensor_metadata"))
    normalization = _first(
        [unit["options"] for unit in image.get("process_units", []) if "options" in unit]
    )
    files = [
        file["name"]
        for file in scores.get("associated_files", [])
        if file.get("type") == _TENSOR_AXIS_LABELS
    ]
    texts = ("name", "description", "version", "license", "author", "min_parser_version")
    return {
        **{key: metadata.get(key) for key in texts},
        **{key: normalization.get(key) for key in ("mean", "std")},
        **{key: image.get("stats", {}).get(key) for key in ("min", "max")},
        "labels": _read_labels(path, files[0]) if files else None,
    }


def _first(tables):
    """The fields of the first table, or none."""
    return tables[0] if tables else {}


def _read_labels(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode().splitlines()
