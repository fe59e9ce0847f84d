"""Finds out what a tag, a path or a name on the Hugging Face hub stands for, without weights."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from regnet_tf._checks import shown
from regnet_tf._errors import UserError, nearest
from regnet_tf._keras_files import saved_config
from regnet_tf.facts import at_size
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.published import is_tag, list_weights, weights_info
from regnet_tf.readers import SUFFIXES
from regnet_tf.sharing.hub import download_network, is_hub_name
from regnet_tf.sharing.timm_config import described
from regnet_tf.variants import RegNetConfig, get_config, is_variant, variant_key

#: Suffix of the files of Keras that hold weights alone.
KERAS_WEIGHTS = ".weights.h5"


class Found(NamedTuple):
    """What a tag, a path or a name on the Hugging Face hub stands for.

    Attributes:
        kind: "tag"; "model" for a `.keras` file, also that of a folder; "weights" for a
            `.weights.h5` file; "state dict" for a weight file, or a folder as the hub stores it.
        path: the file or folder; the text itself for a tag.
    """

    kind: str
    path: Path


def find_weights(
    weights: str | os.PathLike, argument: str = "weights", words: tuple[str, ...] = ()
) -> Found:
    """Finds out what a tag, a path or a name on the Hugging Face hub stands for.

    The files are not read. Those of the hub are downloaded if they are not in its cache.

    Args:
        weights: the tag or path, or `hf://user/name`.
        argument: the user's name for it, for errors.
        words: other texts that the caller takes, for errors.

    Raises:
        FileNotFoundError: for a file that does not exist.
        OSError: for files of the hub that are damaged or cannot be downloaded.
        UserError: for a run that has not saved a network yet, and for a text that is neither a tag
            nor a path.
    """
    text, path = str(weights), Path(weights)
    if is_tag(text):
        return Found("tag", path)
    if is_hub_name(text):
        path = download_network(text)
    if (path / "model.keras").is_file():
        return Found("model", path / "model.keras")
    if any((path / name).exists() for name in ("recipe.json", "run.json", "checkpoints")):
        raise UserError(f"{text} holds no trained network yet (model.keras).")
    kinds = {".keras": "model", KERAS_WEIGHTS: "weights"}
    kinds |= dict.fromkeys((*SUFFIXES, ".h5"), "state dict")
    kind = next((kinds[suffix] for suffix in kinds if text.endswith(suffix)), None)
    if kind is None and not path.exists() and "/" not in text and "\\" not in text:
        *allowed, last = ("a tag of published weights", "a path", "hf://user/name", *words)
        raise UserError(
            f"`{argument}` must be {', '.join(allowed)} or {last}. Received: {shown(text)}."
            + nearest(text, [*words, *list_weights()], count=4)
            + " `list_weights()` gives all tags."
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no file {text}")
    return Found(kind or "state dict", path)


def config_of(weights: str | os.PathLike) -> RegNetConfig | None:
    """Returns the configuration of weights; None if they do not tell it.

    Tags, runs, `.keras` files and folders with timm's `config.json` tell it. The weights are not
    read.

    Raises:
        UserError, FileNotFoundError: see `find_weights`; also for a damaged file.
    """
    found = find_weights(weights)
    if found.kind == "tag":
        return get_config(weights_info(str(weights)).variant)
    if found.kind == "state dict":
        return described(found.path).config
    network = _of_stem(found, "network")
    return None if network is None else RegNetConfig.from_dict(network)


def preprocessing_of(weights: str | os.PathLike, size: int) -> Preprocessing | None:
    """Returns the preprocessing of images for weights; None if they do not tell it.

    The weights are not read.

    Args:
        weights: see `config_of`.
        size: side of the network's images in pixels; see `Checkpoint.preprocessing`.

    Raises:
        UserError, FileNotFoundError: as `config_of`.
    """
    found = find_weights(weights)
    if found.kind == "tag":
        return published_preprocessing(str(weights), size)
    if found.kind == "state dict":
        preprocessing = described(found.path).preprocessing
    else:
        known = _of_stem(found, "preprocessing")
        preprocessing = None if known is None else Preprocessing.from_dict(known)
    return None if preprocessing is None else at_size(preprocessing, size)


def check_variant(tag: str, variant: str) -> None:
    """Raises a ValueError if a tag's weights are of another network than a known variant."""
    own = weights_info(tag).variant
    if is_variant(variant) and own != variant_key(variant):
        raise ValueError(f"`weights` of {variant} cannot be {tag}, which are weights of {own}")


def published_preprocessing(tag: str, size: int | None) -> Preprocessing:
    """Returns the preprocessing of the published test for its image size, else of the training."""
    info = weights_info(tag)
    return info.preprocessing(test=size in (None, info.test_image_size))


def _of_stem(found: Found, entry: str) -> dict | None:
    """Returns an entry of a saved model's stem as a dict; None if it or the stem is missing."""
    if found.kind != "model":
        return None
    stems = _stems(saved_config(found.path))
    return next((stem[entry] for stem in stems if stem.get(entry) is not None), None)


def _stems(config: Any) -> Iterator[dict]:
    """Yields the configurations of the stems of a saved model."""
    if isinstance(config, dict):
        if config.get("registered_name") == "regnet_tf>Stem":
            inner = config.get("config")
            if isinstance(inner, dict):
                yield inner
        config = list(config.values())
    for part in config if isinstance(config, list) else ():
        yield from _stems(part)
