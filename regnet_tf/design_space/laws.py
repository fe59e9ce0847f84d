"""Laws by which design spaces draw numbers: uniform and log-uniform on a grid; numpy only.

They are those of pycls' `sweep/random.py`, written as the share of each value.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Law(NamedTuple):
    """Values in rising order and the share of each; two arrays `(values,)`."""

    values: np.ndarray
    shares: np.ndarray

    def draw(self, rng, shape):
        """Independent values, an array of this shape."""
        # Not `rng.choice`: its numbers may change with numpy's version.
        found = np.searchsorted(np.cumsum(self.shares), rng.random(shape), side="right")
        return self.values[np.minimum(found, len(self.values) - 1)]

    def draw_nondecreasing(self, rng, count, length):
        """Sequences that do not fall, as if drawn independently and thrown away where they fall.

        Returns:
            An array `(count, length)`.
        """
        # rest[i]: the mass of all that may follow value i. Chosen by it, no draw is thrown away.
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
    """Every value as often as any other."""
    values = np.asarray(values)
    return Law(values, np.full(len(values), 1 / len(values)))


def log_uniform(values: ArrayLike) -> Law:
    """Values drawn log-uniformly from an interval and rounded up to the next of `values`.

    The interval begins one step, but at most half the first value, below the first value. Powers of
    two are thereby equally likely.

    Args:
        values: positive, in rising order.
    """
    values = np.asarray(values)
    if len(values) == 1:
        return uniform(values)
    begin = values[0] - min(values[1] - values[0], values[0] / 2)
    shares = np.diff(np.log(np.concatenate([[begin], values])))
    return Law(values, shares / shares.sum())
