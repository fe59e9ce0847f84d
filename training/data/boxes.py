"""Labels of detection: the boxes of each image with their classes."""

from collections.abc import Sequence

import numpy as np

from regnet_tf._boxes import SIDES

#: The class, and each side of the box, of a row that is no box.
NONE = -1


def without_padding(labels: np.ndarray) -> np.ndarray:
    """Returns the rows of labels that are boxes, `(boxes, 5)`.

    Args:
        labels: of one image or of several ones, as `padded` makes them.
    """
    return labels[labels[..., SIDES] != NONE]


def padded(boxes: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """Returns the boxes of images as one array.

    Args:
        boxes: for each image, `(top, left, bottom, right, class)` of each box. Sides are shares of
            the image's height and width, from 0 to 1.

    Returns:
        float32 `(images, most, 5)`. Rows without a box are `NONE`. `most` is the largest number of
        boxes of an image, at least 1.
    """
    most = max([1, *map(len, boxes)])
    labels = np.full((len(boxes), most, 5), NONE, "float32")
    for label, rows in zip(labels, boxes, strict=True):
        if len(rows):
            label[: len(rows)] = rows
    return labels
