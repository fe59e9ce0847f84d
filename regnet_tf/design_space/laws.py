"""Distributions from which design spaces draw numbers; numpy only.

They are uniform or log-uniform on a grid. They follow pycls' `sweep/random.py`, written as the
probability of each value.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Law(NamedTuple):
    """Values in ascending order and their probabilities; two arrays `(values,)`."""

    values: np.ndarray
    shares: np.ndarray

    def draw(self, rng, shape):
        """Draws independent values; returns an array of this shape."""
        # Not `rng.choice`: its results may change between versions of numpy.
        found = np.searchsorted(np.cumsum(self.shares), rng.random(shape), side="right")
        return self.values[np.minimum(found, len(self.values) - 1)]

    def draw_nondecreasing(self, rng, count, length):
        """Draws nondecreasing sequences.

        The distribution is the same as for independent draws that are rejected if they decrease.

        Returns:
            An array `(count, length)`.
        """
        # rest[i] is the mass of all sequences that may follow value i. Weighted by it, no draw is
        # rejected.
        masses = []
        rest = np.ones(len(self.values))
        for _ in range(length):
            masses.append(self.shares * rest)
            rest = np.cumsum(masses[-1][::-1])[::-1]
        places = np.zeros((count, length + 1), int)
        for step, mass in enumerate(reversed(masses)):
            below = np.concatenate([[0], np.cumsum(mass)])
            start = below[places[:, step]]
            point = start + rng.random(count) * (below[-1] - start)
            found = np.searchsorted(below, point, side="right") - 1
            places[:, step + 1] = np.clip(found, places[:, step], len(mass) - 1)
        return self.values[places[:, 1:]]


def uniform(values: ArrayLike) -> Law:
    """Returns the law that gives every value the same probability."""
    values = np.asarray(values)
    return Law(values, np.full(len(values), 1 / len(values)))


def log_uniform(values: ArrayLike) -> Law:
    """Returns the law of log-uniform draws from an interval, rounded up to the next of `values`.

    The interval begins one step below the first value, but at most half the first value below it.
    Powers of two are therefore equally likely.

    Args:
        values: positive numbers in ascending order.
    """
    values = np.asarray(values)
    if len(values) == 1:
        return uniform(values)
    begin = values[0] - min(values[1] - values[0], values[0] / 2)
    shares = np.diff(np.log(np.concatenate([[begin], values])))
    return Law(values, shares / shares.sum())
