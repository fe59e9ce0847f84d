"""A sheet of test images with the boxes that a detector found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from regnet_tf._boxes import draw_box, outline

from .canvas import empty_figure, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6
_LEAST_SCORE = 0.5  # of a detection that is drawn
_TRUE = "#ffffff"


class Boxes(NamedTuple):
    """A test image with its boxes, whose sides are shares of the image.

    Attributes:
        picture: uint8 `(height, width, 3)`.
        true: `(boxes, 5)`: top, left, bottom, right and class.
        found: `(detections, 6)`: the same with the score before the class.
    """

    picture: np.ndarray
    true: np.ndarray
    found: np.ndarray


def boxes(items: Sequence[Boxes], class_names: Sequence[str], title: str) -> "Figure":
    """Draws images with the true boxes, dashed, and the detections with class and score."""
    columns = min(_COLUMNS, len(items))
    rows = -(-len(items) // columns)
    figure = empty_figure((max(2.2 * columns, 6.0), 2.2 * rows + 0.6), f"{title}; truth dashed")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, item in zip(grid.flat, items, strict=False):
        axes.imshow(item.picture, interpolation="nearest")
        sides = np.array(item.picture.shape[:2] * 2)
        for row in item.true:
            outline(axes, row[:4] * sides, _TRUE, "--")
        for row in item.found[item.found[:, 4] >= _LEAST_SCORE]:
            draw_box(axes, row[:4] * sides, f"{named(class_names[int(row[5])])} {row[4]:.0%}")
    return figure
