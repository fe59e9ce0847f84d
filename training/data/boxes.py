"""Labels of detection: the boxes of each image with their classes."""

from collections.abc import Sequence

import numpy as np

#: The class, and each side of the box, of a row that is no box.
NONE = -1


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
