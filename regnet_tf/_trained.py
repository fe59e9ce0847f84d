"""Loads trained networks as Keras models, from a tag or a path."""

import os
from pathlib import Path
from typing import NamedTuple

import keras

from regnet_tf._errors import UserError
from regnet_tf._keras_files import load_model
from regnet_tf._runs import RUN
from regnet_tf.finding import config_of, find_weights
from regnet_tf.models import build_regnet


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
    """Loads a network from a tag, a path or a name on the Hugging Face hub.

    Args:
        source: a tag of `list_weights`; a folder that `regnet train` or `regnet weights push`
            wrote; a `.keras` file; a weight file or folder; or `hf://user/name`.
        variant: name of the network, if the weights do not tell it.

    Raises:
        UserError: for any other source, or a `.keras` file that cannot be read.
        ValueError, OSError: for a damaged file, or weights that cannot be downloaded.
    """
    found = find_weights(source, argument="model")
    if found.kind == "tag":
        return Trained(str(source), build_regnet(str(source), weights=True))
    if found.kind == "model":
        path, given = found.path, Path(source)
        # `model.keras` is the name of every run's file, so its folder names the network.
        folder = given.parent if given == path else given
        name = path.stem if path.name != "model.keras" else folder.resolve().name
        is_run = path.with_name(RUN).is_file()
        return Trained(name, load_model(path), path.parent if is_run else None)
    config = variant or config_of(source)
    if config is None:
        raise UserError(f"{source} needs a `variant`, the name of the network of these weights.")
    name = Path(source).stem if found.path.is_file() else Path(source).name
    return Trained(name, build_regnet(config, weights=str(source)))
