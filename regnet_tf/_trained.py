"""Loads trained networks as Keras models, from a tag or a path."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import keras

from regnet_tf._checks import check
from regnet_tf._errors import UserError, first_line, nearest
from regnet_tf._files import read_json
from regnet_tf.models import create_model
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.readers import SUFFIXES
from regnet_tf.weights import is_tag, list_weights, preprocessing_for


class Trained(NamedTuple):
    """A trained network.

    Attributes:
        name: name of the network.
        model: a `keras.Model`.
        preprocessing: preprocessing with which it was published or trained; None if unknown.
        folder: folder of the run that trained it, with its `run.json`; or None.
        run: the content of `run.json`; or None.
    """

    name: str
    model: keras.Model
    preprocessing: Preprocessing | None
    folder: Path | None = None
    run: dict | None = None


def load_trained(source: str | os.PathLike, variant: str | None = None) -> Trained:
    """Loads a network from a tag or a path.

    Args:
        source: a tag of `list_weights`; a folder that `regnet train` wrote; a `.keras` file;
            or a weight file or folder of `variant`.
        variant: name of the network, needed for a weight file or folder.

    Raises:
        UserError: for any other source, or a `.keras` file or `run.json` that cannot be read.
        ValueError, OSError: for a damaged file, or weights that cannot be downloaded.
    """
    path = Path(source)
    if is_tag(source):
        model = create_model(source, weights=True)
        return Trained(source, model, preprocessing_for(model))
    if (path / "model.keras").is_file():
        return _from_file(path / "model.keras", path.resolve().name)
    if path.suffix == ".keras" and path.is_file():
        return _from_file(path, path.stem)
    if path.suffix == ".keras" or (path.name.endswith((*SUFFIXES, ".h5")) and not path.exists()):
        raise UserError(f"There is no file {source}.")
    if (path / "run.json").is_file() or (path / "checkpoints").is_dir():
        raise UserError(f"{source} holds no trained network yet (model.keras).")
    if path.name.endswith((*SUFFIXES, ".h5")) or path.is_dir():
        if variant is None:
            raise UserError(
                f"{source} needs a `variant`, the name of the network of these weights."
            )
        model = create_model(variant, weights=str(path))
        return Trained(path.stem, model, None)
    raise UserError(
        f"`model` must be a tag of published weights or a path. Received: {str(source)!r}."
        + nearest(source, list_weights())
    )


def _reason(error):
    """Returns Keras' error in one line.

    Keras' message begins with the outermost layer. It names an unknown class later.
    """
    unknown = re.search(r"Could not locate class '[^']+'", str(error))
    return f"{unknown[0]}, a layer of its own" if unknown else first_line(error)


def _from_file(path, name):
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises its readers' errors
        raise UserError(f"{path} cannot be read: {_reason(error)}") from error
    file = path.with_name("run.json")
    if not file.is_file():
        return Trained(name, model, preprocessing_for(model) if is_tag(model.name) else None)
    run = read_json(file, "preprocessing", "data")
    try:
        preprocessing = Preprocessing.from_dict(run["preprocessing"])
        _check_data(run["data"])
    except ValueError as error:
        raise UserError(f"{file} is damaged: {first_line(error)}") from error
    return Trained(name, model, preprocessing, path.parent, run)


def _check_data(data):
    check("data", data, isinstance(data, dict), "a dict")
    names = data.get("class_names", [])  # old runs do not have it
    ok = isinstance(names, list) and all(isinstance(name, str) for name in names)
    check("class_names", names, ok, "a list of texts")
