"""The table of published weights (`data/weights.json`): look up and download.

Each row describes a checkpoint on the Hugging Face hub, named `variant.tag` as in timm. It gives
the preprocessing, the licence and the accuracies that the source publishes.
"""

import dataclasses
import json
import logging
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple, TypeGuard

from regnet_tf._checks import shown
from regnet_tf._errors import nearest
from regnet_tf.class_names import imagenet_synsets
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.sharing.hub import Unavailable, fetch
from regnet_tf.variants import variant_key

_log = logging.getLogger("regnet_tf")

#: Licences that allow commercial use.
FREE_LICENCES = ("mit", "apache-2.0", "bsd-3-clause")


class PublishedSet(NamedTuple):
    """A data set with published accuracies: its title and its numbers of images and classes."""

    title: str
    images: int
    classes: int = 1000


#: ImageNet's validation set, in `PUBLISHED_SETS`.
IMAGENET = "imagenet2012"

#: Data sets with published accuracies, by their names in tensorflow-datasets.
PUBLISHED_SETS = {
    IMAGENET: PublishedSet("ImageNet", 50_000),
    "imagenet2012_real": PublishedSet("ImageNet-ReaL", 50_000),
    "imagenet_v2": PublishedSet("ImageNetV2", 10_000),
    "imagenet_a": PublishedSet("ImageNet-A", 7_500, classes=200),
    "imagenet_r": PublishedSet("ImageNet-R", 30_000, classes=200),
    "imagenet_sketch": PublishedSet("ImageNet-Sketch", 50_889),
}


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
        published: accuracies in percent, each with its data set (a key of `PUBLISHED_SETS`), its
            source, and how it was measured.

    Examples:
        >>> info = regnet_tf.weights_info("regnety_032.ra_in1k")
        >>> info.licence, info.classes, info.top1
        ('apache-2.0', 1000, 82.724)
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

    def accuracies(self, dataset: str = IMAGENET) -> list[dict]:
        """Returns the published accuracies on a data set.

        Args:
            dataset: a key of `PUBLISHED_SETS`.
        """
        return [entry for entry in self.published if entry["dataset"] == dataset]

    def best_accuracy(self, dataset: str = IMAGENET) -> dict | None:
        """Returns the entry of `published` with the highest top-1 accuracy on a data set, or None.

        Args:
            dataset: a key of `PUBLISHED_SETS`.
        """
        return max(self.accuracies(dataset), key=lambda entry: entry["top1"], default=None)

    @property
    def top1(self) -> float | None:
        """The best published ImageNet top-1 accuracy in percent, if any is published."""
        best = self.best_accuracy()
        return None if best is None else best["top1"]

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
    """Returns the tags of published weights that match a pattern, such as `"regnety_*"`.

    Examples:
        >>> regnet_tf.list_weights("regnety_032.*")
        ['regnety_032.ra_in1k', 'regnety_032.tv2_in1k', 'regnety_032.pycls_in1k']
    """
    return [tag for tag in _table() if fnmatch(tag, pattern)]


def weights_info(tag: str) -> WeightsInfo:
    """Returns the row of a tag.

    Raises:
        ValueError: for an unknown tag; the message lists the nearest ones.

    Examples:
        >>> info = regnet_tf.weights_info("regnety_032.ra_in1k")
        >>> info.preprocessing().image_size, info.best_accuracy("imagenet_v2")["top1"]
        (288, 72.78)
    """
    info = _table().get(tag)
    if info is None:
        raise ValueError(
            f"`weights` must be a known tag. Received: weights={shown(tag)}."
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
    try:
        return fetch(info.hub_repository, "model.safetensors")
    except Unavailable as error:
        raise OSError(
            f"{tag} is not in the cache and could not be downloaded ({error})."
            f" Fetch model.safetensors of {info.hub_repository} where you are online, and pass its"
            " path: weights='FOLDER/model.safetensors'; or copy the hub's cache folder (HF_HOME)."
        ) from error
