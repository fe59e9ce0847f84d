"""Handwritten digits on photographs: scenes for segmentation and detection, and single digits.

The digits are scikit-learn's scans. The three photographs come with scikit-learn and matplotlib.
Test images show digits of the held-out split only.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from regnet_tf._errors import import_optional

from . import digits
from .boxes import padded
from .table import TableSplit

TRAIN_SCENES, TEST_SCENES = 2800, 200
TRAIN_CROPS, TEST_CROPS = 10_000, 500
_DIGIT_SIDES = (24, 28, 32, 36)
_SMALLEST_PHOTOGRAPH = 0.25  # smallest part of a photograph in a scene, of the shorter side
_LEAST_CONTRAST = 60  # levels; at least 90 % of a digit's pixels must have this contrast
_TINT = 60  # largest difference of a channel from black or white, in levels
_INK = 0.5  # smallest share of ink for a pixel to belong to the digit


@dataclasses.dataclass(frozen=True)
class _Layout:
    side: int  # side of an image, in pixels
    least_digits: int
    most_digits: int
    tries: int  # number of attempts to find a free place for a digit


_SCENE = _Layout(side=64, least_digits=2, most_digits=4, tries=20)
_CROP = _Layout(side=36, least_digits=1, most_digits=1, tries=3)


def load():
    """Loads scenes with two to four digits each, or fewer if there is no room.

    The digits do not touch.

    Returns:
        `(class_names, train, test)`; images uint8 `(count, 64, 64, 3)`, labels uint8 `(count, 64,
        64)`: 0 for the photograph, digit + 1 for a digit.

    Raises:
        UserError: if scikit-learn or matplotlib is not installed.
    """
    class_names, *splits = _loaded(_scenes, (TRAIN_SCENES, TEST_SCENES), seed=0)
    return ("photograph", *class_names), *splits


def load_boxes():
    """Loads the scenes of `load` with the boxes of their digits.

    A box is the smallest one around the pixels of a digit.

    Returns:
        `(class_names, train, test)`; images uint8 `(count, 64, 64, 3)`, labels as
        `training.data.boxes.padded` makes them.

    Raises:
        UserError: if scikit-learn or matplotlib is not installed.
    """
    return _loaded(_boxed, (TRAIN_SCENES, TEST_SCENES), seed=0)


def load_crops():
    """Loads crops of photographs with one digit each, made like the scenes.

    Returns:
        `(class_names, train, test)`; images uint8 `(count, 36, 36, 3)`, labels int64 `(count,)`.

    Raises:
        UserError: if scikit-learn or matplotlib is not installed.
    """
    return _loaded(_crops, (TRAIN_CROPS, TEST_CROPS), seed=2)


def _loaded(make, counts, seed):
    """Returns the names of the digits, and what `make` draws of each split; seeds count up."""
    class_names, *splits = digits.load()
    photographs = _photographs()
    parts = zip(splits, counts, (seed, seed + 1), strict=True)
    return class_names, *(make(split, photographs, count, one) for split, count, one in parts)


def _photographs():
    """Returns the photographs, each uint8 `(height, width, 3)`."""
    samples = import_optional("sklearn.datasets").load_sample_images()
    china, flower = samples.images
    with import_optional("matplotlib.cbook").get_sample_data("grace_hopper.jpg") as file:
        portrait = tf.io.decode_jpeg(file.read()).numpy()
    return china, portrait, flower


def _boxed(split, photographs, count, seed):
    images, _, boxes = _drawn(split, photographs, count, seed, _SCENE)
    return TableSplit(images, padded(boxes))


def _crops(split, photographs, count, seed):
    scenes = _scenes(split, photographs, count, seed, _CROP)
    labels = scenes.labels.max((1, 2)).astype("int64")
    found = labels > 0  # the other crops have no legible digit
    return TableSplit(scenes.items[found], labels[found] - 1)


def _scenes(split, photographs, count, seed, layout=_SCENE):
    images, labels, _ = _drawn(split, photographs, count, seed, layout)
    return TableSplit(images, labels)


def _drawn(split, photographs, count, seed, layout):
    """Returns images, maps of classes, and lists of the images' boxes with their classes."""
    rng = np.random.default_rng(seed)
    scans = [_resized(split.items, side) for side in _DIGIT_SIDES]
    side = layout.side
    shares = _shares(photographs, count)
    images = np.concatenate([_backgrounds(one, n, side, rng) for one, n in shares])
    images = images[rng.permutation(count)]
    labels = np.zeros((count, side, side), "uint8")
    boxes: list[list[tuple[float, ...]]] = []
    for image, label in zip(images, labels, strict=True):
        boxes.append([])
        for _ in range(rng.integers(layout.least_digits, layout.most_digits + 1)):
            number, size = rng.integers(len(split.labels)), rng.integers(len(scans))
            digit = scans[size][number], 1 + split.labels[number]
            place = _add_digit(image, label, *digit, layout.tries, rng)
            if place is not None:
                box = _box(scans[size][number] >= _INK, *place) / side
                boxes[-1].append((*box, split.labels[number]))
    return np.round(images).astype("uint8"), labels, boxes


def _box(written, top, left):
    """Returns top, left, bottom and right of the pixels of a digit at a place."""
    rows, columns = (np.flatnonzero(written.any(axis)) for axis in (1, 0))
    return np.array([top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1])


def _shares(photographs, count):
    """Returns pairs of a photograph and its number of images."""
    return [(one, len(range(i, count, len(photographs)))) for i, one in enumerate(photographs)]


def _resized(items, side):
    """Returns the resized scans as shares of ink, 0 to 1, float32 `(count, side, side)`."""
    ink = tf.image.resize(tf.cast(items[..., :1], tf.float32) / 255, (side, side), "bicubic")
    return np.clip(ink[..., 0].numpy(), 0, 1)


def _backgrounds(photograph, count, side, rng):
    """Returns random crops, half of them mirrored, float32 `(count, side, side, 3)`."""
    shape = np.array(photograph.shape[:2])
    sides = rng.uniform(_SMALLEST_PHOTOGRAPH, 1, (count, 1)) * shape.min()
    starts = rng.uniform(size=(count, 2)) * (shape - sides)
    boxes = np.concatenate([starts, starts + sides], 1) / np.tile(shape, 2)
    flipped = rng.random(count) < 0.5
    boxes[flipped] = boxes[flipped][:, [0, 3, 2, 1]]
    image = tf.cast(photograph[None], tf.float32)
    return tf.image.crop_and_resize(image, boxes, [0] * count, (side, side)).numpy()


def _add_digit(image, label, ink, value, tries, rng):
    """Draws a digit at a random place with room and contrast, in place on both arrays.

    Returns:
        `(top, left)` of the scan; None if there is no such place.
    """
    side, written = len(ink), ink >= _INK
    for _ in range(tries):
        top, left = rng.integers(len(image) - side + 1, size=2)
        place = slice(top, top + side), slice(left, left + side)
        if label[place].any():
            continue
        color = _contrasting_color(image[place].mean(), rng)
        contrast = np.abs(color - image[place][written]).mean(-1)
        if np.mean(contrast >= _LEAST_CONTRAST) >= 0.9:
            image[place] += ink[..., None] * (color - image[place])
            label[place][written] = value
            return top, left
    return None


def _contrasting_color(level, rng):
    """Returns a dark color for light places, a light one for dark places, slightly tinted."""
    tint = rng.uniform(0, _TINT, 3)
    return tint if level > 127 else 255 - tint
