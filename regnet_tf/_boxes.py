"""Boxes that a detector has found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regnet_tf._errors import import_optional

if TYPE_CHECKING:
    import tensorflow as tf

#: Numbers of a box in the outputs of a detector: top, left, bottom and right.
SIDES = 4
#: Dimensions of the outputs of a detector.
DIMENSIONS = 3
_LEAST_SCORE = 0.05  # of a detection, as in RetinaNet's paper
_LARGEST_IOU = 0.5  # of two detections of a class
_MOST = 100  # detections of an image, as COCO counts them
_COLOR = "#ff7f0e"  # of a drawn box
_ROOM = 0.08  # for a text above a box, as a share of the image's height


def number_of_classes(shape: Sequence) -> int | None:
    """Returns the number of classes of outputs of a shape: of images, of pixels, or of boxes."""
    last = shape[-1]
    return last - SIDES if last is not None and len(shape) == DIMENSIONS else last


def suppressed(outputs: Any) -> "tuple[tf.Tensor, ...]":
    """Returns the detections of a batch after non-maximum suppression by class.

    Args:
        outputs: outputs of a detector, `(batch, anchors, 4 + classes)`: top, left, bottom and right
            as shares of the image, and the probability of each class.

    Returns:
        Boxes float32 `(batch, 100, 4)`, scores float32 and classes int32 `(batch, 100)`, best
        first; and the number of detections of each image, int32 `(batch,)`. The rest is zeros.
    """
    import tensorflow as tf

    outputs = tf.cast(outputs, tf.float32)
    boxes, scores = outputs[..., None, :SIDES], outputs[..., SIDES:]
    found = tf.image.combined_non_max_suppression(
        boxes, scores, _MOST, _MOST, iou_threshold=_LARGEST_IOU, score_threshold=_LEAST_SCORE
    )
    return found[0], found[1], tf.cast(found[2], tf.int32), found[3]


def detections(outputs: Any) -> list[np.ndarray]:
    """Returns the detections of each image of a batch.

    Args:
        outputs: see `suppressed`.

    Returns:
        For each image an array `(detections, 6)`, best first: top, left, bottom and right as shares
        of the image, score and class.
    """
    *columns, counts = (np.asarray(one) for one in suppressed(outputs))
    rows = np.concatenate([columns[0], *(one[..., None] for one in columns[1:])], -1)
    return [row[:count] for row, count in zip(rows, counts, strict=True)]


def draw_box(axes: Any, box: np.ndarray, text: str, size: float = 1.0) -> None:
    """Draws a box with a text at its upper left corner: above it, or inside if there is no room.

    Args:
        axes: axes of matplotlib that show an image.
        box: top, left, bottom and right, in pixels.
        text: the text.
        size: factor of the size of the text and of the width of the line.
    """
    outline(axes, box, _COLOR, "-", size)
    has_room = box[0] >= _ROOM * axes.get_ylim()[0]
    place = "bottom" if has_room else "top"
    style = {"fontsize": 6 * size, "va": place, "color": "black", "parse_math": False}
    plate = {"facecolor": _COLOR, "edgecolor": "none", "pad": 0.5 * size}
    axes.text(box[1] - 0.5, box[0] - 0.5, text, bbox=plate, clip_on=True, **style)


def outline(axes: Any, box: np.ndarray, color: str, style: str, size: float = 1.0) -> None:
    """Draws the sides of a box, see `draw_box`, in a color and a line style of matplotlib."""
    top, left, bottom, right = box - 0.5  # the first pixel's center is 0
    patch = import_optional("matplotlib.patches", extra="pictures").Rectangle
    sides = right - left, bottom - top
    axes.add_patch(patch((left, top), *sides, fill=False, ec=color, ls=style, lw=1.2 * size))
