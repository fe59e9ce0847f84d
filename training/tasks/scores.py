"""Scores of classifications, from counts: recall, F1, average precision."""

from collections.abc import Sequence

import numpy as np


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Returns counts `(true class, predicted class)`, int64.

    Args:
        labels: true classes, of any shape.
        predicted: predicted classes, of the same shape.
        classes: number of classes.
    """
    pairs = labels.ravel().astype("int64") * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def recalls(hits: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Returns the recall of each class, float64; NaN for a class that does not occur.

    Args:
        hits: number of images of each class that were predicted as this class.
        true: number of images of each class.
    """
    return _divided(hits, true)


def f1_scores(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the F1 score of each class; NaN for a class that neither occurs nor is predicted.

    Args:
        hits: as for `recalls`.
        true: as for `recalls`.
        predicted: number of images that were predicted as each class.
    """
    return _divided(2 * np.asarray(hits), np.add(true, predicted))


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of each class.

    Args:
        confusion: pixel counts `(true class, predicted class)`.

    Returns:
        `(classes,)`, NaN for a class without pixels.
    """
    both = np.diag(confusion)
    return _divided(both, confusion.sum(0) + confusion.sum(1) - both)


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the average precision of each class: the sum of precision times gain in recall.

    Equal scores are one threshold, as in scikit-learn's `average_precision_score`.

    Args:
        truth: whether each image has each class, `(images, classes)`.
        scores: scores of the same shape.

    Returns:
        `(classes,)`, NaN for a class that does not occur.
    """
    found = []
    for has, score in zip(np.asarray(truth, bool).T, np.asarray(scores).T, strict=True):
        _, threshold = np.unique(-score, return_inverse=True)  # from the highest score on
        totals = np.bincount(threshold)
        positives = np.bincount(threshold[has], minlength=len(totals))
        found.append(average_precisions_of_counts(positives, totals))
    return np.array(found)


def average_precisions_of_counts(positives: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Returns average precisions from counts at each threshold, from the highest on.

    Args:
        positives: number of images of a class with a score at each threshold, `(...,
            thresholds)`.
        totals: number of all images with such a score, of the same shape.

    Returns:
        Shape `(...,)`, NaN for a class that does not occur.
    """
    hits, called = np.cumsum(positives, -1), np.cumsum(totals, -1)
    precision = np.divide(hits, called, out=np.zeros(hits.shape), where=called > 0)
    return _divided((positives * precision).sum(-1), np.sum(positives, -1))


def mean_of_known(values: np.ndarray) -> float:
    """Returns the mean of the values that are not NaN; 0 without any."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def by_name(class_names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    """Returns the value of each class by its name; None instead of NaN."""
    pairs = zip(class_names, np.asarray(values, float), strict=True)
    return {name: None if np.isnan(value) else float(value) for name, value in pairs}


def _divided(numerator, denominator):
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    unknown = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=unknown, where=denominator > 0)
