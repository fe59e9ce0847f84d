"""Holds out images for tests, where a data set names none.

An image's place depends on the seed and its name only. So the split is the same on every machine,
and few images change sides when others are added.
"""

import hashlib
import math
import os
from collections.abc import Sequence

import numpy as np

from .table import TableSplit


def with_tests(
    name: str,
    whole: TableSplit,
    names: Sequence[str],
    share: float | None,
    seed: int,
    for_training: bool,
) -> tuple[TableSplit | None, TableSplit | None, tuple[str, ...]]:
    """Splits images of which none are named test images.

    Args:
        name: name of the data set, for the note.
        whole: all images.
        names: a name for each image, such as its path in the data set.
        share: share to hold out: of each class, or of the images if an image has several classes.
            None to hold out none.
        seed: seed of the split.
        for_training: whether all images are training images if none are held out. Otherwise they
            are all test images.

    Returns:
        `(train, test, notes)`. The note tells the share and the seed.
    """
    if share is None:
        return (whole, None, ()) if for_training else (None, whole, ())
    if whole.target == "class":
        of, chosen = "each class", held_out_of_classes(names, whole.labels, share, seed)
    else:
        labels = whole.labels if whole.target == "classes" else None
        of, chosen = "its images", held_out_of_sets(names, labels, share, seed)
    train, test = whole.kept(~chosen), whole.kept(chosen)
    note = f"{name} has no test images: {100 * share:g} % of {of} are held out (seed {seed})."
    return train, test if test.size else None, (note,)


def held_out_of_classes(
    names: Sequence[str], labels: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Chooses the test images by class.

    Args:
        names: a name for each image, such as its path in the data set.
        labels: class of each image, int64 `(count,)`.
        share: share of each class. A class of two or more images has at least one image in each
            split; a single image is a training image.
        seed: seed of the choice.

    Returns:
        Truth value of each image, `(count,)`.
    """
    ranks = _ranks(names, seed)
    chosen = np.zeros(len(names), bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        chosen[_first(places, ranks, share)] = True
    return chosen


def held_out_of_sets(
    names: Sequence[str], labels: np.ndarray | None, share: float, seed: int
) -> np.ndarray:
    """Chooses the test images from all images; every class stays in the training images.

    Args:
        names: as in `held_out_of_classes`.
        labels: classes of each image, uint8 `(count, classes)`; None for maps of classes.
        share: share of the images.
        seed: seed of the choice.

    Returns:
        Truth value of each image, `(count,)`.
    """
    ranks = _ranks(names, seed)
    chosen = np.zeros(len(names), bool)
    chosen[_first(np.arange(len(names)), ranks, share)] = True
    for has_class in () if labels is None else labels.T.astype(bool):
        if has_class.any() and not has_class[~chosen].any():
            places = np.flatnonzero(has_class)
            chosen[places[ranks[places].argmax()]] = False
    return chosen


def _ranks(names, seed):
    """Returns the place of each image in a random order."""
    keys = [hashlib.sha256(f"{seed}/".encode() + os.fsencode(name)).digest() for name in names]
    ranks = np.empty(len(keys), int)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return ranks


def _first(places, ranks, share):
    """Returns the share of places with the lowest ranks."""
    count = math.floor(share * len(places) + 0.5)
    count = 0 if len(places) < 2 else min(max(count, 1), len(places) - 1)
    return places[np.argsort(ranks[places])[:count]]
