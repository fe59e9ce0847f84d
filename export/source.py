"""What is exported: a trained network, its preprocessing, its classes' names, and images."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._trained import load_trained
from regnet_tf.preprocessing import Preprocessing, imagenet_classes

from .examples import Examples
from .network import find_classifier

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        name: that a server knows it by: letters, digits, `_`, `.` and `-`.
        model: a `keras.Model` of normalized images `(batch, height, width, 3)`.
        preprocessing: how a photograph becomes such an image.
        labels: the names of the classes; empty for a network without a classifier.
        examples: images to calibrate integers with and to check the results on, or None.
    """

    name: str
    model: keras.Model
    preprocessing: Preprocessing
    labels: Sequence[str]
    examples: Examples | None = None


def load_source(
    source, variant=None, name=None, labels=None, calibration=None, **changes
) -> Source:
    """A network to export.

    Args:
        source: a tag, a folder that `regnet train` wrote, a `.keras` file, or a weight file.
        variant: the network of a weight file.
        name: to serve it by; by default that of the folder, file or tag.
        labels: path of a text file with the name of a class in each line; by default those of the
            run, or ImageNet's for 1000 classes.
        calibration: a folder of images, or an `.npz` file (see `Examples.read`); by default those
            that the run kept.
        **changes: fields of its `Preprocessing`; None for as it is.

    Raises:
        UserError: for what can not be read or does not fit together.
        ValueError, OSError: for damaged files and weights that can not be downloaded.
    """
    trained = load_trained(source, variant)
    name = check_name(name or re.sub(r"[^A-Za-z0-9_.-]", "_", trained.name))
    model, preprocessing = without_preprocessing(trained.model, trained.preprocessing)
    preprocessing = _changed(preprocessing, model, changes)
    classes = model.output_shape[-1] if find_classifier(model) else 0
    names = _labels(labels, trained.run, classes)
    if calibration is not None:
        examples = Examples.read(Path(calibration), preprocessing)
    elif trained.folder is not None and (trained.folder / "examples.npz").is_file():
        examples = Examples.read(trained.folder / "examples.npz", preprocessing)
    else:
        examples = None
    return Source(name, model, preprocessing, names, examples)


def check_name(name) -> str:
    """Raises a `UserError` for a name that can not stand in an address or a file's name."""
    if not _NAME.fullmatch(name):
        raise UserError(
            "`name` must begin with a letter or digit and hold only those, '_', '.' and '-'."
            f" Received: {name!r}"
        )
    return name


def without_preprocessing(model, preprocessing):
    """The part of a model that takes normalized images, and what comes before it.

    Args:
        model: a functional `keras.Model`, which may begin with `include_preprocessing`'s layer.
        preprocessing: that is done outside of the model; None where it is unknown.

    Returns:
        `(model, preprocessing)`: mean and standard deviation are those of the layer, if there is
        one.
    """
    preprocessing = preprocessing or Preprocessing(image_size=model.input_shape[1] or 224)
    layer = next((layer for layer in model.layers if layer.name == "preprocessing"), None)
    if layer is None:
        return model, preprocessing
    std = 1 / (255 * np.array(layer.scale, "float64"))
    mean = -np.array(layer.offset, "float64") * std
    preprocessing = preprocessing.replace(mean=tuple(mean), std=tuple(std))
    inner = keras.Model(layer.output, model.outputs[0], name=model.name)
    alone = keras.models.clone_model(inner)  # whose layers have no other inputs
    alone.set_weights(inner.get_weights())
    return alone, preprocessing


def _changed(preprocessing, model, changes):
    """The preprocessing with what the caller wants, checked against the network's input."""
    changes = {field: value for field, value in changes.items() if value is not None}
    size = changes.get("image_size", preprocessing.image_size)
    fixed = model.input_shape[1]
    if fixed is not None and size != fixed:
        if "image_size" in changes:
            raise UserError(f"`image_size` must be {fixed}, the network's. Received: {size}")
        changes["image_size"] = fixed
    if "resize_size" in changes:
        changes["crop_fraction"] = None
    elif "crop_fraction" in changes:
        changes["resize_size"] = None
    return preprocessing.replace(**changes)


def _labels(file, run, classes):
    """The names of the classes: of a file, a run, ImageNet, or numbers."""
    if classes == 0:
        return ()
    if file is not None:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    elif run is not None and "class_names" in run["data"]:  # runs of old do not have it
        names = run["data"]["class_names"]
    elif classes == len(imagenet_classes()):
        names = [synset for synset, _ in imagenet_classes()]
    else:
        names = [f"class {number}" for number in range(classes)]
    if len(names) != classes:
        raise UserError(
            f"`labels` must be {classes} lines, one for each class. Received: {len(names)}"
        )
    synsets = {synset: words.split(",")[0] for synset, words in imagenet_classes()}
    return tuple(synsets.get(name, name) for name in names)
