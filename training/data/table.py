"""A split with all images, or all file paths, in memory."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from regnet_tf._errors import printable

from .parallel import parallel_map


@dataclasses.dataclass(frozen=True, eq=False)
class TableSplit:
    """Labelled images in memory, or on disk with paths in memory.

    Args:
        items: images, uint8 `(count, height, width, channels)`, or paths as bytes, `(count,)`.
        labels: int64 `(count,)`; or the classes of each image, uint8 `(count, classes)` of 0 and 1;
            or the class of every pixel, uint8 `(count, height, width)`, or paths of PNG files with
            these classes, as bytes, `(count,)`; or boxes, float32 `(count, most, 5)`, see
            `training.data.boxes.padded`.
    """

    items: np.ndarray
    labels: np.ndarray

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def target(self) -> str:
        """What has classes: "class" or "classes" of an image, "pixels" or "boxes"."""
        if self.labels.dtype.kind == "f":
            return "boxes"
        if _are_paths(self.labels):
            return "pixels"
        return ("class", "classes", "pixels")[self.labels.ndim - 1]

    @functools.cached_property
    def paths(self) -> list[str] | None:
        """The files' paths for reports; None for images in memory."""
        return readable_paths(self.items) if _are_paths(self.items) else None

    def examples(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns each image once, in the order of the table.

        Args:
            shard: `(index, count)`: every `count`-th image, starting at `index`.
        """
        return self._at(tf.range(self.size), shard)

    def shuffled(self, seed: int, epoch: Any, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns each image once, shuffled over the whole split.

        Args:
            seed: an integer.
            epoch: number or scalar tensor; each epoch has a different order.
            shard: as for `examples`. Shards of one epoch are disjoint.
        """
        seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
        return self._at(tf.random.experimental.stateless_shuffle(tf.range(self.size), seeds), shard)

    def _at(self, order, shard):
        index, count = shard
        items, labels = self._tensors
        return parallel_map(
            tf.data.Dataset.from_tensor_slices(order[index::count]),
            lambda place: (_content(tf.gather(items, place)), _content(tf.gather(labels, place))),
        )

    @functools.cached_property
    def _tensors(self):
        with tf.init_scope():  # create them once, not in every graph that reads them
            return tf.constant(self.items), tf.constant(self.labels)

    def kept(self, chosen: np.ndarray) -> "TableSplit":
        """Returns only the chosen images: places, or a truth value for each image."""
        return TableSplit(self.items[chosen], self.labels[chosen])

    def with_labels(self, kept: Sequence[int]) -> "TableSplit":
        """Returns only the images with these labels; new labels are indices into `kept`."""
        if self.target == "classes":
            labels = self.labels[:, list(kept)]
            return TableSplit(self.items, labels).kept(np.any(labels, axis=1))
        new_labels = np.full(max(self.labels.max(initial=-1), *kept) + 1, -1)
        new_labels[kept] = np.arange(len(kept))
        chosen = np.isin(self.labels, kept)
        return TableSplit(self.items[chosen], new_labels[self.labels[chosen]])

    def with_few(self, count: int, seed: int) -> "TableSplit":
        """Returns `count` images of each class, sampled without replacement."""
        rng = np.random.default_rng(seed)
        places = [
            rng.choice(np.flatnonzero(self.labels == label), count, replace=False)
            for label in range(self.labels.max() + 1)
        ]
        return self.kept(np.concatenate(places))


def readable_paths(paths: np.ndarray) -> list[str]:
    """Returns paths as text that prints in one line."""
    return [printable(path) for path in paths.tolist()]


def _are_paths(array):
    return array.dtype.kind == "S"


def _content(item):
    return tf.io.read_file(item) if item.dtype == tf.string else item
