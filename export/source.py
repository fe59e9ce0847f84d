"""Source of an export: a trained network, its preprocessing, its class names and images."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._trained import load_trained
from regnet_tf.class_names import imagenet_synsets, readable
from regnet_tf.facts import facts_of
from regnet_tf.preprocessing import Preprocessing

from .examples import Examples
from .network import find_classifier

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        name: name of the model on a server: letters, digits, `_`, `.` and `-`.
        model: a `keras.Model` of normalized images `(batch, height, width, 3)`.
        preprocessing: the preprocessing from a photograph to a normalized image.
        labels: names of the classes; empty for a network without a classifier.
        examples: images for the calibration of int8 files and for the checks, or None.
        assumed: what the network does not know and was assumed: lines of text.
    """

    name: str
    model: keras.Model
    preprocessing: Preprocessing
    labels: Sequence[str]
    examples: Examples | None = None
    assumed: Sequence[str] = ()


def load_source(
    source: str | Path,
    variant: str | None = None,
    name: str | None = None,
    labels: str | Path | None = None,
    calibration: str | Path | None = None,
    **changes: Any,
) -> Source:
    """Loads a network to export.

    Args:
        source: a tag, a folder that `regnet train` wrote, a `.keras` file, or a weight file.
        variant: name of the network in a weight file.
        name: name to serve it by; by default the name of the folder, file or tag.
        labels: path of a text file with one class name in each line. By default the names that the
            network knows, or ImageNet's for 1000 classes.
        calibration: a folder of images, or an `.npz` file (see `Examples.read`). By default the
            images that the run kept.
        **changes: fields of `Preprocessing` to change.

    Raises:
        UserError: if something cannot be read, or the arguments do not fit together.
        ValueError, OSError: if files are damaged, or weights cannot be downloaded.
    """
    trained = load_trained(source, variant)
    name = check_name(name or re.sub(r"[^A-Za-z0-9_.-]", "_", trained.name))
    facts = facts_of(trained.model)
    model, preprocessing = without_preprocessing(trained.model, facts.preprocessing)
    preprocessing = _changed(preprocessing, model, changes)
    classes = model.output_shape[-1] if find_classifier(model) else 0
    names = _labels(labels, facts.class_names, classes)
    if calibration is not None:
        examples = Examples.read(Path(calibration), preprocessing)
    elif trained.folder is not None and (trained.folder / "examples.npz").is_file():
        examples = Examples.read(trained.folder / "examples.npz", preprocessing)
    else:
        examples = None
    assumed = list(_assumed(facts, names, labels))
    return Source(name, model, preprocessing, names, examples, assumed)


def _assumed(facts, names, labels):
    if facts.preprocessing is None:
        yield "The network does not know its preprocessing; ImageNet's was assumed."
    if names and facts.class_names is None and labels is None:
        yield f"The network does not know its class names; {names[0]!r} ... were assumed."


def check_name(name: str) -> str:
    """Returns the name; raises a `UserError` if it does not fit into a URL or a file name."""
    if not _NAME.fullmatch(name):
        raise UserError(
            "`name` must begin with a letter or digit and hold only those, '_', '.' and '-'."
            f" Received: {name!r}"
        )
    return name


def without_preprocessing(model, preprocessing):
    """Splits a model into the part that takes normalized images and the preprocessing.

    Args:
        model: a functional `keras.Model`, which may begin with `include_preprocessing`'s layer.
        preprocessing: preprocessing outside the model; None if unknown.

    Returns:
        `(model, preprocessing)`. If the model has the layer, mean and standard deviation come from
        it.
    """
    preprocessing = preprocessing or Preprocessing(image_size=model.input_shape[1] or 224)
    layer = next((layer for layer in model.layers if layer.name == "preprocessing"), None)
    if layer is None:
        return model, preprocessing
    std = 1 / (255 * np.ravel(layer.scale).astype("float64"))
    mean = -np.array(layer.offset, "float64") * std
    preprocessing = preprocessing.replace(mean=tuple(mean), std=tuple(std))
    inner = keras.Model(layer.output, model.outputs[0], name=model.name)
    alone = keras.models.clone_model(inner)  # its layers have no other inputs
    alone.set_weights(inner.get_weights())
    return alone, preprocessing


def _changed(preprocessing, model, changes):
    """Returns the preprocessing with changes, checked against the network's input size."""
    size = changes.get("image_size", preprocessing.image_size)
    fixed = model.input_shape[1]
    if fixed is not None and size != fixed:
        if "image_size" in changes:
            raise UserError(f"`image_size` must be {fixed}, the network's. Received: {size}")
        changes["image_size"] = fixed
    return preprocessing.replace(**changes)


def _labels(file, class_names, classes):
    """Returns the class names, from a file, the network or ImageNet, else numbered ones."""
    if classes == 0:
        return ()
    if file is not None:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        names: Sequence[str] = [line.strip() for line in lines if line.strip()]
    elif class_names is not None:
        names = class_names
    elif classes == len(imagenet_synsets()):
        names = imagenet_synsets()
    else:
        names = [f"class {number}" for number in range(classes)]
    if len(names) != classes:
        raise UserError(
            f"`labels` must be {classes} lines, one for each class. Received: {len(names)}"
        )
    return tuple(map(readable, names))
