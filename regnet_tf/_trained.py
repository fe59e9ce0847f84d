"""Loads trained networks as Keras models, from a tag or a path."""

import os
from pathlib import Path
from typing import NamedTuple

import keras

from regnet_tf._errors import UserError
from regnet_tf._runs import RUN
from regnet_tf.models import build_regnet
from regnet_tf.weights import find_weights, load_model


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
    found = find_weights(source, argument="model")
    if found.kind == "tag":
        return Trained(str(source), build_regnet(str(source), weights=True))
    if found.kind == "model":
        path = found.path
        name = path.stem if path == Path(source) else Path(source).resolve().name
        is_run = path.with_name(RUN).is_file()
        return Trained(name, load_model(path), path.parent if is_run else None)
    if variant is None:
        raise UserError(f"{source} needs a `variant`, the name of the network of these weights.")
    return Trained(found.path.stem, build_regnet(variant, weights=str(source)))
