"""The table of published weights (`data/weights.json`): look up, download and load.

Each row describes a checkpoint on the Hugging Face hub, named `variant.tag` as in timm. It gives
the preprocessing, the licence and the accuracies that the source publishes.
"""

import dataclasses
import hashlib
import json
import logging
import os
import re
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TypeGuard

import keras

from regnet_tf._errors import first_line, nearest
from regnet_tf.class_names import imagenet_synsets
from regnet_tf.facts import facts_of
from regnet_tf.porting import count_classes, load_state_dict
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.readers import SUFFIXES, read_state_dict
from regnet_tf.variants import is_variant, variant_key

_log = logging.getLogger("regnet_tf")

#: Licences that allow commercial use.
FREE_LICENCES = ("mit", "apache-2.0", "bsd-3-clause")

#: Suffixes of the files that Keras writes and reads itself.
KERAS_SUFFIXES = (".keras", ".weights.h5")


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """One published checkpoint.

    Attributes:
        tag: its name: the variant's timm key, a dot, and how it was trained.
        hub_repository: its repository on the Hugging Face hub.
        classes: number of outputs of its head; 0 without a head.
        image_size: side of the training images in pixels.
        crop_fraction: part of the shorter side that is kept in training.
        test_image_size: image side in the source's best evaluation.
        test_crop_fraction: kept part of the shorter side in the source's best evaluation.
        interpolation: interpolation for resizing images.
        mean: mean per channel (red, green, blue) for normalization, for pixels from 0 to 1.
        std: standard deviation per channel for normalization, on the same scale.
        licence: licence as the hub states it.
        origin: the project that trained it, if not the hub repository's.
        published: accuracies in percent and how each was measured, by source.
    """

    tag: str
    hub_repository: str
    classes: int
    image_size: int
    crop_fraction: float
    test_image_size: int
    test_crop_fraction: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    origin: str | None
    published: tuple[dict, ...]

    @property
    def variant(self) -> str:
        """timm's key of the network."""
        return self.tag.partition(".")[0]

    @property
    def is_free(self) -> bool:
        """Whether the licence allows commercial use."""
        return self.licence in FREE_LICENCES

    @property
    def top1(self) -> float | None:
        """The best published ImageNet top-1 accuracy in percent, if any is published."""
        return max((entry["top1"] for entry in self.published), default=None)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """ImageNet's synsets for 1,000 classes; None for other numbers."""
        return imagenet_synsets() if self.classes == len(imagenet_synsets()) else None

    def preprocessing(self, test: bool = True) -> Preprocessing:
        """Returns the preprocessing of images for these weights.

        Args:
            test: True for the source's best evaluation, False for training.
        """
        return Preprocessing(
            image_size=self.test_image_size if test else self.image_size,
            crop_fraction=self.test_crop_fraction if test else self.crop_fraction,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


@cache
def _table() -> dict[str, WeightsInfo]:
    text = resources.files("regnet_tf").joinpath("data/weights.json").read_text()
    rows = json.loads(text)
    del rows["_about"]
    tuples = ("mean", "std", "published")
    return {
        tag: WeightsInfo(tag, **{**row, **{field: tuple(row[field]) for field in tuples}})
        for tag, row in rows.items()
    }


def list_weights(pattern: str = "*") -> list[str]:
    """Returns the tags of published weights that match a pattern, such as `"regnety_*"`."""
    return [tag for tag in _table() if fnmatch(tag, pattern)]


def weights_info(tag: str) -> WeightsInfo:
    """Returns the row of a tag.

    Raises:
        ValueError: for an unknown tag; the message lists the nearest ones.
    """
    info = _table().get(tag)
    if info is None:
        raise ValueError(
            f"`weights` must be a known tag. Received: weights={tag!r}."
            + nearest(tag, _table(), count=4)
            + " `list_weights()` gives them all."
        )
    return info


def is_tag(name: object) -> TypeGuard[str]:
    """Whether a name is the tag of published weights."""
    return isinstance(name, str) and name in _table()


def best_weights(variant: str) -> str:
    """Returns the tag that `weights="imagenet"` selects for a variant.

    It has the highest published top-1 accuracy of the tags with a free licence and 1,000 classes.

    Raises:
        ValueError: if the variant has no tag with a free licence and 1,000 classes.
    """
    key = variant_key(variant)
    rows = [i for i in _table().values() if i.variant == key and i.is_free and i.classes == 1000]
    if not rows:
        others = ", ".join(list_weights(f"{key}.*")) or "none"
        raise ValueError(
            f"`weights` must name one of the tags of {key} ({others}): it has no freely licensed"
            ' ImageNet-1k weights. Received: weights="imagenet"'
        )
    return max(rows, key=lambda info: info.top1 or 0).tag


def resolve_tag(weights: bool | str | os.PathLike, variant: str) -> str | None:
    """Returns the tag that a `weights` argument selects for a variant, or None for a path.

    Args:
        weights: True or "imagenet", a tag, or a path.
        variant: any name of the network that will take the weights.

    Raises:
        ValueError: for a tag of another network, and for a text that is neither tag nor path.
    """
    if weights is True or weights == "imagenet":
        return best_weights(variant)
    text = str(weights)
    if not is_tag(text) and (Path(text).exists() or _looks_like_path(text)):
        return None
    info = weights_info(text)
    if is_variant(variant) and info.variant != variant_key(variant):
        raise ValueError(
            f"`weights` of {variant} cannot be {text}, which are weights of {info.variant}"
        )
    return text


def _looks_like_path(text):
    return "/" in text or "\\" in text or text.endswith((*SUFFIXES, *KERAS_SUFFIXES, ".h5"))


def download(tag: str) -> Path:
    """Returns the path of a checkpoint's file in the Hugging Face hub's cache.

    The hub's client downloads the file if it is not cached. It resumes downloads and respects
    `HF_HUB_OFFLINE`. The file is then checked against the SHA-256 that the hub states.

    Raises:
        ValueError: for an unknown tag.
        OSError: if the file is not cached and cannot be downloaded; the message says where to put
            it. Also if the file is damaged.
    """
    info = weights_info(tag)
    if not info.is_free:
        _log.warning("%s is licensed %s: not for every use.", tag, info.licence)
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(info.hub_repository, "model.safetensors")
    except Exception as error:  # the client raises its own, requests', httpx' and OS errors
        raise OSError(
            f"{tag} is not in the cache and could not be downloaded ({type(error).__name__})."
            f" Fetch model.safetensors of {info.hub_repository} where you are online, and pass its"
            " path: weights='FOLDER/model.safetensors'; or copy the hub's cache folder (HF_HOME)."
        ) from error
    _verify(Path(path))
    return Path(path)


def _verify(path):
    """Raises OSError unless the file has the SHA-256 that the hub states.

    The hub's cache names each large file by its SHA-256.
    """
    stated = path.resolve().name
    if not re.fullmatch("[0-9a-f]{64}", stated):
        return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != stated:
        raise OSError(
            f"{path} is damaged: its SHA-256 is {actual}, the hub states {stated}."
            " Delete it to download it again."
        )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Weights that were found and read, before the network is built.

    Attributes:
        origin: the user's `weights` argument, or the tag that it selects.
        tag: tag of the published weights, or None for a file.
        classes: number of outputs of the head; 0 without one, None for Keras' own files.
        state_dict: names -> arrays; None for Keras' own files, which Keras reads.
    """

    origin: str
    tag: str | None
    classes: int | None
    state_dict: dict | None

    @classmethod
    def find(cls, weights: bool | str | os.PathLike, variant: str) -> "Checkpoint":
        """Finds and reads the weights that a `weights` argument selects.

        Args:
            weights: True or "imagenet", a tag, or a path, as `build_regnet` takes them.
            variant: any name of the network that will take the weights. With "imagenet" it must be
                the name of a known variant.

        Raises:
            ValueError: for an unknown tag, a tag of another network, or a damaged file.
            OSError: for a file that is missing or cannot be downloaded.
        """
        tag = resolve_tag(weights, variant)
        path = download(tag) if tag else Path(str(weights))
        if path.name.endswith(KERAS_SUFFIXES):
            if not path.is_file():
                raise FileNotFoundError(f"There is no file {path}")
            return cls(str(weights), None, None, None)
        state_dict = read_state_dict(path)
        return cls(tag or str(weights), tag, count_classes(state_dict), state_dict)

    def preprocessing(self, size: int | None) -> Preprocessing | None:
        """Returns the preprocessing of published weights, None for a file.

        Args:
            size: fixed side of the network's images in pixels, or None. Another side than the
                published test's gets the part of the image that training has kept.
        """
        if self.tag is None:
            return None
        info = weights_info(self.tag)
        return info.preprocessing(test=size in (None, info.test_image_size))

    def class_names(self, classes: int) -> tuple[str, ...] | None:
        """Returns the class names of published weights for a number of outputs.

        They are None for a file, for an unknown data set, and for another number of outputs.
        """
        if self.tag is None or classes != self.classes:
            return None
        return weights_info(self.tag).class_names

    def load_into(self, model):
        """Loads the weights into a network of `build_regnet`.

        If the number of classes differs, the head keeps its values.

        Raises:
            ValueError: for weights that do not fit; the network is then unchanged.
        """
        if self.state_dict is None:
            self._load_keras_file(model)
            return
        heads = [layer for layer in model.layers if layer.name == "head"]
        skip_head = any(head.units != self.classes for head in heads)
        load_state_dict(model, self.state_dict, skip_head=skip_head)
        if skip_head:
            _log.warning("%s: the head keeps its own values.", model.name)

    def _load_keras_file(self, model):
        try:
            model.load_weights(self.origin)
        except Exception as error:  # also errors of zipfile and h5py
            raise ValueError(
                f"`weights` {self.origin} is damaged or does not fit {model.name}:"
                f" {first_line(error)}"
            ) from error


def preprocessing_for(weights: str | keras.Model) -> Preprocessing:
    """Returns the preprocessing of images for published weights or a network.

    Args:
        weights: a tag; a variant's name, for its "imagenet" weights; or a model that knows its
            preprocessing (see `facts_of`). A model with a fixed input size gets images of that
            size. A model that includes preprocessing gets levels of 0 to 255.

    Raises:
        ValueError: for an unknown tag or variant, or a model that does not know its preprocessing.
    """
    if isinstance(weights, str):
        return weights_info(weights if is_tag(weights) else best_weights(weights)).preprocessing()
    preprocessing = facts_of(weights).preprocessing
    if preprocessing is None:
        raise ValueError(
            "`weights` must be a tag, a variant's name, or a model that knows its preprocessing."
            " Pass `preprocessing` where you build the model, or set"
            ' `model.get_layer("stem").preprocessing`.'
            f" Received: the model {weights.name!r} without preprocessing"
        )
    return preprocessing
