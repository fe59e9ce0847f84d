"""Few examples of a long test, chosen while the test runs."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._predictors import Predictor

from .. import figures


class Foremost:
    """Keeps the items with the highest priority.

    Args:
        most: number of items to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Any]] = []

    def offer(self, priority: float, index: int, item: Any) -> None:
        """Keeps an item if its priority is high enough; of equal ones the first.

        Args:
            priority: a number.
            index: number of the item in the test, different for all of them.
            item: anything.
        """
        entry = (float(priority), -index, item)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def items(self) -> list:
        """Returns the items, the highest priority first."""
        return [item for *_, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Examples:
    """Keeps some items that are right and some that are wrong, in the order of the test.

    Wrong ones are the first of the test, at most half of all. Right ones are a random choice.

    Args:
        most: number of items to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._wrong, self._right = Foremost(most // 2), Foremost(most)
        self._rng = np.random.default_rng(0)

    def offer(self, is_right: bool, index: int, item: Any) -> None:
        """Offers an item; `index` is its number in the test."""
        if is_right:
            self._right.offer(self._rng.random(), index, (index, item))
        else:
            self._wrong.offer(-index, index, (index, item))

    def items(self) -> list:
        """Returns the wrong items, then the right ones."""
        wrong = self._wrong.items()
        right = sorted(self._right.items()[: self._most - len(wrong)], key=lambda pair: pair[0])
        return [item for _, item in (*wrong, *right)]


def scored(predictor: Predictor, batches: Iterable) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yields `(images, labels, scores)` of each batch: a tensor and two numpy arrays.

    Raises:
        UserError: if a score is not finite.
    """
    for images, labels in batches:
        scores = predictor.scores(images)
        if not np.isfinite(scores).all():
            raise UserError(f"{predictor.name} returned scores that are not finite.")
        yield images, np.asarray(labels), scores


def tested(
    predictor: Predictor,
    batches: Iterable,
    shown: Callable[[Any, Any, np.ndarray, int], Any],
) -> tuple[np.ndarray, np.ndarray, list, list]:
    """Tests a classifier.

    Args:
        predictor: the network.
        batches: `(images, labels)` batches, read once.
        shown: function from an image, its label, its scores and its number in the test to a
            `training.figures.Shown` or `ShownSet`.

    Returns:
        `(labels, scores, examples, mistakes)`: arrays with a row for each image, and lists of what
        `shown` returned. The most confident mistakes come first.

    Raises:
        UserError: if a score is not finite.
    """
    examples, worst = Examples(figures.SHEET), Foremost(figures.SHEET)
    truth, found = [], []
    index = 0
    for images, labels, scores in scored(predictor, batches):
        truth.append(labels)
        found.append(scores)
        for image, label, values in zip(images, labels, scores, strict=True):
            item = shown(image, label, values, index)
            examples.offer(item.is_right, index, item)
            if not item.is_right:
                worst.offer(item.error, index, item)
            index += 1
    return np.concatenate(truth), np.concatenate(found), examples.items(), worst.items()


def name_of(paths: Sequence[str] | None, index: int) -> str | int:
    """Returns the path of an image, or its number in the test if it has none."""
    return index if paths is None else paths[index]
