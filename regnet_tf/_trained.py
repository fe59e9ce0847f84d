"""Loads trained networks as Keras models, from a tag or a path."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import keras

from regnet_tf._errors import UserError, first_line, nearest
from regnet_tf.models import build_regnet
from regnet_tf.readers import SUFFIXES
from regnet_tf.weights import is_tag, list_weights


class Trained(NamedTuple):
    """A trained network.

    Attributes:
        name: name of the network.
        model: a `keras.Model`. `facts_of` gives its preprocessing and its class names.
        folder: folder of the run that trained it, or None.
    """

    name: str
    model: keras.Model
    folder: Path | None = None


def load_trained(source: str | os.PathLike, variant: str | None = None) -> Trained:
    """Loads a network from a tag or a path.

    Args:
        source: a tag of `list_weights`; a folder that `regnet train` wrote; a `.keras` file;
            or a weight file or folder of `variant`.
        variant: name of the network, needed for a weight file or folder.

    Raises:
        UserError: for any other source, or a `.keras` file that cannot be read.
        ValueError, OSError: for a damaged file, or weights that cannot be downloaded.
    """
    path = Path(source)
    if is_tag(source):
        return Trained(source, build_regnet(source, weights=True))
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
        return Trained(path.stem, build_regnet(variant, weights=str(path)))
    raise UserError(
        f"`model` must be a tag of published weights or a path. Received: {str(source)!r}."
        + nearest(source, list_weights())
    )


def _reason(error):
    """Returns Keras' error in one line.

    Keras' message begins with the outermost layer. It names an unknown class later.
    """
    unknown = re.search(r"Could not locate class '[^']+'", str(error))
    return f"{unknown[0]}, a custom layer" if unknown else first_line(error)


def _from_file(path, name):
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises its readers' errors
        raise UserError(f"{path} cannot be read: {_reason(error)}") from error
    is_run = path.with_name("run.json").is_file()
    return Trained(name, model, path.parent if is_run else None)
