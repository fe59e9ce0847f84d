"""Untrained networks, in all files that `regnet export` writes."""

from pathlib import Path
from typing import Any

import numpy as np

import regnet_tf
from regnet_tf import Preprocessing
from regnet_tf._errors import MissingPackageError

from ..examples import Examples
from ..formats import FORMATS, Job, Settings
from ..network import Network
from ..source import Source
from .contenders import Contender

_CALIBRATION_IMAGES = 16
_VERSION = 1
_RANGES = {
    "gamma": (0.5, 1.5),
    "beta": (-0.5, 0.5),
    "moving_mean": (-0.5, 0.5),
    "moving_variance": (0.5, 1.5),
    "bias": (-0.1, 0.1),
}


def make_model(variant: str, image_size: int) -> Any:
    """Returns an untrained network from normalized images to logits.

    Args:
        variant: name of the network.
        image_size: side of the images, in pixels.
    """
    shape = (image_size, image_size, 3)
    model = regnet_tf.build_regnet(variant, input_shape=shape, classifier_activation=None)
    randomize(model)
    return model


def randomize(model: Any) -> None:
    """Sets a model's normalization variables and biases to random values.

    In a new network they have no effect, and some runtimes drop operations without effect.
    """
    rng = np.random.default_rng(0)
    for variable in model.variables:
        kind = variable.path.rpartition("/")[2]
        if kind in _RANGES:
            variable.assign(rng.uniform(*_RANGES[kind], variable.shape))


def write_files(model: Any, folder: Path) -> tuple[list[Contender], list[str]]:
    """Writes a network in each format of an export whose packages are installed.

    Args:
        model: result of `make_model`.
        folder: a `Path`, laid out like an export.

    Returns:
        List of `Contender`s; and list of lines about the formats that are not installed.
    """
    job = _job(model)
    contenders, left_out = [], []
    for form in FORMATS.values():
        if not form.by_default:
            continue
        try:
            for contender in _written(form, job, folder):
                contenders.append(contender)  # the first files stay if one fails
        except MissingPackageError as error:
            left_out.append(f"{form.title} is left out. {error}")
    return contenders, left_out


def _written(form, job, folder):
    """Writes the files of a format, and yields each as a `Contender`."""
    form.import_modules()
    for artefact in form.artefacts(job):
        if artefact.output is None:  # else it has the features of a classifier
            path = folder / artefact.path
            path.parent.mkdir(parents=True, exist_ok=True)
            artefact.write(path)
            yield Contender(artefact.name, path)


def _job(model):
    _, size, _, channels = model.input_shape
    shape = (_CALIBRATION_IMAGES, size, size, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    names = [f"class {number}" for number in range(model.output_shape[-1])]
    examples = Examples(images, images, None, "random levels")
    source = Source(model.name, model, Preprocessing(image_size=size), names, examples)
    return Job(source, Network(model, is_classifier=True), images, _VERSION, Settings())
