"""Source of an export: a trained network, its preprocessing, its class names and images."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from regnet_tf._boxes import number_of_classes
from regnet_tf._checks import check_number
from regnet_tf._errors import UserError, first_line
from regnet_tf._files import read_json
from regnet_tf._predictors import levels_are_fed
from regnet_tf._runs import RUN, check_file
from regnet_tf._trained import load_trained
from regnet_tf.class_names import imagenet_synsets, in_words
from regnet_tf.facts import facts_of
from regnet_tf.preprocessing import Preprocessing

from .examples import Examples
from .network import check_model, find_head

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        name: name of the model on a server: letters, digits, `_`, `.` and `-`.
        model: a `keras.Model` of images `(batch, height, width, channels)`.
        preprocessing: the preprocessing from a photograph to the model's input.
        class_names: names of the classes; empty for a network without a head.
        examples: images for the calibration of int8 files and for the checks, or None.
        assumed: what the network does not know and was assumed: lines of text.
        accuracy: accuracy in percent that the network's run found on its test images, if
            `examples` come from them; else None.
    """

    name: str
    model: keras.Model
    preprocessing: Preprocessing
    class_names: Sequence[str]
    examples: Examples | None = None
    assumed: Sequence[str] = ()
    accuracy: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in words, one line each."""
        return in_words(self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of the network, its preprocessing, its classes and the images of the checks."""
        digest = hashlib.sha256(repr((self.preprocessing, self.class_names)).encode())
        for weight in self.model.weights:
            digest.update(keras.ops.convert_to_numpy(weight).tobytes())
        if self.examples is not None:
            digest.update(self.examples.test.tobytes())
        return digest.hexdigest()


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
    check_model(trained.model)
    facts, model = facts_of(trained.model), trained.model
    preprocessing = _changed(facts, model, changes)
    has_scores = find_head(model) is not None or labels is not None or facts.class_names is not None
    classes = number_of_classes(model.outputs[0].shape) if has_scores else 0
    names = _class_names(labels, facts.class_names, classes)
    examples, accuracy = None, None
    if calibration is not None:
        examples = Examples.read(Path(calibration), preprocessing)
    elif trained.folder is not None and (trained.folder / "examples.npz").is_file():
        check_file(trained.folder / "examples.npz")
        examples = Examples.read(trained.folder / "examples.npz", preprocessing)
        accuracy = _known_accuracy(trained.folder / RUN)
    assumed = tuple(_assumed(trained.name, facts, changes, names, labels))
    return Source(name, model, preprocessing, names, examples, assumed, accuracy)


def _assumed(name, facts, changes, names, labels):
    if {"mean", "std"}.isdisjoint(changes):
        if facts.normalizes:
            yield levels_are_fed(name)
        elif facts.preprocessing is None:
            yield "The network does not know its preprocessing; ImageNet's was assumed."
    if names and facts.class_names is None and labels is None:
        yield f"The network does not know its class names; {names[0]!r} ... were assumed."


def _known_accuracy(file):
    """Returns the accuracy in percent that a run found on its test images; None if unknown."""
    results = read_json(file).get("results") or {}
    try:
        accuracy = results.get("accuracy")
        check_number("accuracy", accuracy or 0, minimum=0)
    except (AttributeError, ValueError) as error:
        raise UserError(f"{file} is damaged: {first_line(error)}") from error
    return None if accuracy is None else 100 * accuracy


def check_name(name: str) -> str:
    """Returns the name; raises a `UserError` if it does not fit into a URL or a file name."""
    if not _NAME.fullmatch(name):
        raise UserError(
            "`name` must begin with a letter or digit and hold only those, '_', '.' and '-'."
            f" Received: {name!r}"
        )
    return name


def _changed(facts, model, changes):
    """Returns the preprocessing with changes, checked against the network's input."""
    _, fixed, _, channels = model.inputs[0].shape
    preprocessing = facts.preprocessing
    if preprocessing is None:
        preprocessing = Preprocessing(image_size=fixed or 224)
        if facts.normalizes:
            preprocessing = preprocessing.replace(mean=(0,) * 3, std=(1 / 255,) * 3)
        preprocessing = preprocessing.with_channels(channels)
    size = changes.get("image_size", preprocessing.image_size)
    if fixed is not None and size != fixed:
        if "image_size" in changes:
            raise UserError(f"`image_size` must be {fixed}, the network's. Received: {size}")
        changes["image_size"] = fixed
    preprocessing = preprocessing.replace(**changes)
    if preprocessing.channels != channels:
        raise UserError(
            f"`mean` and `std` must be {channels} numbers, one for each channel of the network."
            f" Received: {preprocessing.channels}"
        )
    return preprocessing


def _class_names(file, class_names, classes):
    """Returns the class names, from a file, the network or ImageNet, else numbered ones."""
    if classes == 0:
        return ()
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"`labels` must be a text in UTF-8. Received: {file}") from error
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
    return tuple(names)
