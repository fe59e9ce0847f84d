"""TFLite Model Metadata: names and preprocessing inside a `.tflite` file.

MediaPipe and Android Studio read them. The metadata are a separate small FlatBuffer in one of the
model's buffers; its schema is `metadata_schema.fbs`, which MediaPipe ships. The labels are in a ZIP
archive behind the model.
"""

import zipfile
from pathlib import Path

import numpy as np

from regnet_tf._checks import check, check_label_lines, check_number
from regnet_tf._files import LABELS_FILE, replacing

from .flatbuffer import pack_model, read_model, reading, schema
from .metadata_schema import pack, unpack

_ENTRY = "TFLITE_METADATA"

#: The first parser version that reads every field written here.
_MIN_PARSER_VERSION = "1.0.0"
#: Number of channels -> color space. The schema knows no others.
_COLOR_SPACES = {1: 2, 3: 1}
_UNKNOWN_COLORS = 0
_TENSOR_AXIS_LABELS = 2


def write_metadata(
    path,
    *,
    name,
    description,
    labels,
    mean,
    std,
    version,
    scores="A score of each class.",
    files=None,
    license=None,
    author=None,
):
    """Writes the name, the preprocessing and the class names into a classifier's file.

    The operators, the constants and other metadata stay as they are. Existing TFLite Model Metadata
    and their archive are replaced. The same arguments give the same bytes.

    A program that opens the file feeds `(level - mean) / std`, quantized if the input is quantized.
    MediaPipe's ImageClassifier has limits:

    - For a float32 input, `mean` and `std` must be the same in all channels.
    - To a uint8 input it feeds the levels 0..255, and ignores `mean` and `std`.
    - It opens no file with an int8 input or output.
    - It opens no file with a fixed batch of more than one image.
    - It opens only files for images of 3 channels.

    For a network that normalizes in its graph, set mean 0 and std 1: both input types then work.

    Args:
        path: the `.tflite` file. It is rewritten in place, or left as it was after an error. It has
            one input, images (N, height, width, channels), and one output. The output is scores
            (N, classes), or (N, height, width, classes) if every pixel has a class.
        name: name of the model.
        description: description of the model.
        labels: name of each class, in the order of the output.
        mean: number to subtract from the levels 0..255: one, or one for each channel.
        std: divisor after the subtraction, above 0; as many numbers as `mean`.
        version: version of the model, such as "1".
        scores: description of the output.
        files: dict: name -> text of more files for the archive behind the model, or None.
        license: name or text of the licence.
        author: author of the model.

    Raises:
        OSError: if the file cannot be read or written.
        ValueError: if the file is not a classifier of images, or the arguments do not fit it.
            It is a `UserError` if ai-edge-litert is missing.
    """
    path = Path(path)
    labels = _checked_labels(labels)
    model = read_model(path.read_bytes(), path)
    channels, classes = _channels_and_classes(path, model)
    mean, std = _normalization(mean, std, channels)
    check("labels", len(labels), len(labels) == classes, f"{classes} names, one for each class")
    metadata = {
        "name": name,
        "description": description,
        "version": version,
        "subgraph_metadata": [
            {
                "input_tensor_metadata": [_image_metadata(mean, std, channels)],
                "output_tensor_metadata": [_scores_metadata(scores)],
            }
        ],
        "author": author,
        "license": license,
        "min_parser_version": _MIN_PARSER_VERSION,
    }
    packed = pack(metadata)
    with reading(path):
        _set_entry(model, packed)
        content = pack_model(model)
    _write(path, content, {LABELS_FILE: "\n".join(labels), **(files or {})})


def append_files(path, files):
    """Appends an archive of text files to a `.tflite` file without metadata.

    Args:
        path: the `.tflite` file.
        files: dict: name -> text.
    """
    _write(path, path.read_bytes(), files)


def _write(path, content, files):
    with replacing(path) as partial:
        partial.write_bytes(content)
        # Not compressed, since phones map the file into memory. A `ZipInfo` has a fixed date.
        with zipfile.ZipFile(partial, "a", zipfile.ZIP_STORED) as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name), text)


def read_metadata(path: str | Path) -> dict:
    """Reads a classifier's metadata, from `write_metadata` or another writer.

    Args:
        path: a `.tflite` file.

    Returns:
        A dict: `name`, `description`, `version`, `license`, `author` and `min_parser_version`:
        text; `mean`, `std`, `min` and `max` of the input: lists of numbers; `labels` of the
        output: a list of text. Each is None if the file lacks it. Numbers are rounded to float32.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is not a `.tflite` file, is damaged, or has no metadata. It
            is a `UserError` if ai-edge-litert is missing.
    """
    path = Path(path)
    model = read_model(path.read_bytes(), path)
    with reading(path):
        packed = next((model.buffers[entry.buffer].data for entry in _entries(model)), None)
    if packed is None:
        raise ValueError(f"{path} has no metadata")
    with reading(path):
        return _summary(unpack(bytes(packed)), path)


def _normalization(mean, std, channels):
    """Checks `mean` and `std` and returns both as lists of numbers."""
    mean, std = ([value] if np.isscalar(value) else list(value) for value in (mean, std))
    check("mean", mean, len(mean) in (1, channels), f"one number or {channels}")
    check("std", std, len(std) == len(mean), f"as many numbers as `mean`, {len(mean)}")
    for value in mean:
        check_number("mean", value)
    for value in std:
        check_number("std", value, above=0)
    return mean, std


def _checked_labels(labels):
    """Returns the labels as a list; raises a ValueError if one is empty or not a single line."""
    check("labels", labels, not isinstance(labels, str), "a list of names")
    labels = list(labels)
    check_label_lines("`labels`", labels)
    return labels


def _channels_and_classes(path, model):
    """Returns the numbers of channels and classes; a ValueError if this is no classifier."""
    with reading(path):
        graph = model.subgraphs[0]
        tensors = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs)]
    shapes = [() if tensor.shape is None else tuple(tensor.shape.tolist()) for tensor in tensors]
    ranks = [len(shape) for shape in shapes]
    if ranks not in ([4, 2], [4, 4]):
        raise ValueError(
            f"{path} is not a classifier of images: its inputs and outputs have the shapes"
            f" {', '.join(map(str, shapes))}"
        )
    return shapes[0][-1], shapes[1][-1]


def _image_metadata(mean, std, channels):
    """Returns the TensorMetadata of the input; `stats` is the range of normalized values."""
    stats = {
        name: [(end - m) / s for m, s in zip(mean, std, strict=True)]
        for name, end in {"min": 0, "max": 255}.items()
    }
    return {
        "name": "image",
        "description": "The image to classify.",
        "content": {
            "content_properties": {"color_space": _COLOR_SPACES.get(channels, _UNKNOWN_COLORS)}
        },
        "process_units": [{"options": {"mean": mean, "std": std}}],
        "stats": stats,
    }


def _scores_metadata(description):
    """Returns the TensorMetadata of the output."""
    return {
        "name": "scores",
        "description": description,
        "associated_files": [
            {
                "name": LABELS_FILE,
                "description": "Names of the classes, one on each line.",
                "type": _TENSOR_AXIS_LABELS,
            }
        ],
    }


def _entries(model):
    """Returns the model's TFLite Model Metadata entries: none or one."""
    return [entry for entry in model.metadata or [] if entry.name == _ENTRY.encode()]


def _set_entry(model, packed):
    """Puts the packed metadata into the model, and replaces existing ones."""
    types = schema()
    entry = next(iter(_entries(model)), None)
    if entry is None:
        entry = types.MetadataT()
        entry.name = _ENTRY
        entry.buffer = len(model.buffers)
        model.buffers.append(types.BufferT())
        model.metadata = [*(model.metadata or []), entry]
    model.buffers[entry.buffer].data = np.frombuffer(packed, "uint8")


def _summary(metadata, path):
    """Returns the result of `read_metadata`."""
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
    """Returns the fields of the first table; an empty dict without tables."""
    return tables[0] if tables else {}


def _read_labels(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode().splitlines()
