"""Compares the detections of an exported file with those of the Keras model."""

from typing import NamedTuple

import numpy as np

from regnet_tf._boxes import detections

_LEAST_SCORE = 0.5  # of a detection that counts
_CLEAR = 0.1  # the scores of detections by less above this are not counted as changed
_LEAST_IOU = 0.9  # of two boxes that are the same


class Agreement(NamedTuple):
    """How many detections of the Keras model a file repeats, in percent.

    Attributes:
        top1_agreement: share of detections with a score of at least 0.5 for which the file has one
            of the same class with an IoU of at least 0.9.
        changed: share of detections with a score of at least 0.6 for which it has none.
    """

    top1_agreement: float
    changed: float


def count(outputs: np.ndarray) -> int:
    """Returns the number of detections that count in outputs `(count, anchors, 4 + classes)`."""
    return sum(len(_counted(rows)) for rows in detections(outputs))


def agreement(outputs: np.ndarray, expected: np.ndarray) -> Agreement:
    """Returns the `Agreement` of a file's outputs with the Keras model's."""
    pairs = zip(detections(outputs), detections(expected), strict=True)
    found = [_repeated(rows, _counted(wanted)) for rows, wanted in pairs]
    scores, same = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not len(scores):
        return Agreement(100.0, 0.0)
    changed = ~same & (scores >= _LEAST_SCORE + _CLEAR)
    return Agreement(100 * float(same.mean()), 100 * float(changed.mean()))


def _counted(rows):
    return rows[rows[:, 4] >= _LEAST_SCORE]


def _repeated(rows, wanted):
    """Returns the scores of detections, and whether other ones repeat them."""
    alike = (rows[None, :, 5] == wanted[:, None, 5]) & (_iou(wanted, rows) >= _LEAST_IOU)
    return wanted[:, 4], alike.any(1)


def _iou(first, second):
    """Returns the intersection over union of all pairs of boxes."""
    first, second = first[:, None, :4], second[None, :, :4]
    start = np.maximum(first[..., :2], second[..., :2])
    end = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.clip(end - start, 0, None).prod(-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(-1) for one in (first, second)]
    return shared / np.maximum(sum(areas) - shared, 1e-12)
