"""Holds out images for tests, where a data set names none.

An image's place depends on the seed and its name only. So the split is the same on every machine,
and few images change sides when others are added.
"""

import hashlib
import math
import os
from collections.abc import Sequence

import numpy as np


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


def note(name: str, share: float, seed: int, test: np.ndarray, of: str = "each class") -> str:
    """Returns the line that tells of a split.

    Args:
        name: name of what was split.
        share: share of test images.
        seed: seed of the split.
        test: truth value of each image, whether it is a test image.
        of: what the share is a share of.
    """
    return (
        f"{name} has no test images: {100 * share:g} % of {of} were held out (seed {seed}):"
        f" {(~test).sum():,} to train on, {test.sum():,} to test with."
    )


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
