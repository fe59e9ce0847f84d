"""Analysis of a design space by the errors of its networks; numpy only.

Sources: "Designing Network Design Spaces" (Radosavovic et al. 2020), section 3.1. For weights and
the Kolmogorov-Smirnov statistic: "On Network Design Spaces for Visual Recognition" (the same
authors, 2019).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regnet_tf._checks import check, check_int, check_number


class Band(NamedTuple):
    """Lower bound, median and upper bound of a bootstrap, at a level of confidence."""

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def error_distribution(
    errors: ArrayLike, thresholds: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray:
    """Returns F(e), the share of the networks with an error *below* e (equation 1).

    Args:
        errors: errors of the networks, `(networks,)`.
        thresholds: the values e, an array of any shape.
        weights: weights of the networks, see `balanced_weights`; equal by default.

    Returns:
        The shares, from 0 to 1, in the shape of `thresholds`.

    Examples:
        >>> error_distribution([10, 20, 30, 40], [15, 20, 50])
        array([0.25, 0.25, 1.  ])
    """
    errors, weights = _population("errors", errors, weights)
    order = np.argsort(errors)
    below = np.concatenate([[0], np.cumsum(weights[order])])
    # The weights sum to 1 only within rounding.
    return np.minimum(1, below[np.searchsorted(errors[order], thresholds, side="left")])


def error_quantile(errors: ArrayLike, share: float, weights: ArrayLike | None = None) -> float:
    """Returns the smallest error that at least this share of the networks does not exceed.

    A `share` of 0 returns the lowest error. A `share` near 0 is the tail of the good networks.

    Examples:
        >>> error_quantile([10, 20, 30, 40], share=0.5)
        20.0
    """
    errors, weights = _population("errors", errors, weights)
    check_number("share", share, minimum=0, maximum=1)
    order = np.argsort(errors)
    masses = np.cumsum(weights[order])
    place = np.searchsorted(masses, min(share, masses[-1]) * (1 - 1e-12), side="left")
    return float(errors[order][place])


def expected_minimum(errors: ArrayLike, draws: ArrayLike) -> np.ndarray:
    """Returns the expected lowest error among a number of networks, sampled without replacement.

    This is the error of the best network in a random search of a given length, on average. The
    result is exact, not simulated.

    Args:
        errors: errors of the networks, `(networks,)`.
        draws: sample size, an integer or an array of integers from 1 to the number of networks.

    Examples:
        >>> expected_minimum([10, 20, 30], [1, 2, 3]).round(2)
        array([20.  , 13.33, 10.  ])
    """
    errors, _ = _population("errors", errors, None)
    draws = np.asarray(draws)
    ok = draws.dtype.kind in "iu" and np.all((draws >= 1) & (draws <= len(errors)))
    check("draws", draws, bool(ok), f"integers from 1 to {len(errors)}")
    # Probability that all of the k best are missed: (n-k over m) / (n over m), factor by factor.
    left = len(errors) - np.arange(len(errors))  # n, n-1, ..., 1
    missed = np.maximum(0, 1 - draws[..., None] / left)
    survival = np.cumprod(missed, axis=-1)
    ones = np.ones((*draws.shape, 1))
    shares = -np.diff(survival, axis=-1, prepend=ones)
    return shares @ np.sort(errors)


def balanced_weights(costs: ArrayLike, edges: ArrayLike) -> np.ndarray:
    """Returns weights that give every interval of a cost the same total weight.

    Use them to compare two populations with different distributions of flops: pass the same `edges`
    for both. Intervals without networks have no weight.

    Args:
        costs: costs of the networks, for example flops, `(networks,)`.
        edges: edges of the intervals, ascending. All costs must lie within the first and the last.

    Returns:
        Weights `(networks,)` with the sum 1.
    """
    costs, _ = _population("costs", costs, None)
    edges = np.asarray(edges, float)
    ok = edges.ndim == 1 and len(edges) >= 2 and bool(np.all(np.diff(edges) > 0))
    check("edges", edges, ok, "at least two rising numbers")
    inside = bool(np.all((costs >= edges[0]) & (costs <= edges[-1])))
    allowed = f"within the edges {edges[0]:g} to {edges[-1]:g}"
    check("costs", f"{costs.min():g} to {costs.max():g}", inside, allowed)
    interval = np.clip(np.searchsorted(edges, costs, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(interval, minlength=len(edges) - 1)
    return 1 / counts[interval] / np.count_nonzero(counts)


def kolmogorov_smirnov(
    errors_a: ArrayLike,
    errors_b: ArrayLike,
    weights_a: ArrayLike | None = None,
    weights_b: ArrayLike | None = None,
) -> float:
    """Returns the largest difference between the error distributions of two populations, 0 to 1."""
    thresholds = np.nextafter(np.concatenate([errors_a, errors_b]).astype(float), np.inf)
    shares = (
        error_distribution(errors, thresholds, weights)
        for errors, weights in ((errors_a, weights_a), (errors_b, weights_b))
    )
    return float(np.max(np.abs(np.subtract(*shares))))


def kolmogorov_smirnov_p_value(
    errors_a: ArrayLike, errors_b: ArrayLike, *, seed: int, repeats: int = 10_000
) -> float:
    """Returns how often two random parts of the pooled networks differ as much, 0 to 1.

    This is the p-value of the Kolmogorov-Smirnov statistic by a permutation test. It is at least
    `1 / (repeats + 1)`.

    Args:
        errors_a: errors of one population, `(networks,)`.
        errors_b: errors of the other.
        seed: the same seed gives the same value.
        repeats: number of permutations.
    """
    errors_a, _ = _population("errors_a", errors_a, None)
    errors_b, _ = _population("errors_b", errors_b, None)
    check_int("repeats", repeats, minimum=1)
    pooled = np.sort(np.concatenate([errors_a, errors_b]))
    ends = np.append(np.diff(pooled) > 0, True)  # equal errors count together
    steps = np.repeat([1 / len(errors_a), -1 / len(errors_b)], [len(errors_a), len(errors_b)])
    orders = np.random.default_rng(seed).permuted(np.tile(steps, (repeats, 1)), axis=1)
    statistics = np.abs(np.cumsum(orders, axis=1)[:, ends]).max(axis=1)
    observed = kolmogorov_smirnov(errors_a, errors_b)
    return float((1 + np.sum(statistics >= observed - 1e-9)) / (1 + repeats))


def distribution_band(
    errors: ArrayLike,
    thresholds: ArrayLike,
    *,
    seed: int,
    weights: ArrayLike | None = None,
    repeats: int = 1000,
    level: float = 0.95,
) -> Band:
    """Returns a confidence band of the error distribution, by bootstrap.

    The networks are sampled with replacement.

    Args:
        errors: errors of the networks, `(networks,)`.
        thresholds: the values e, `(thresholds,)`.
        seed: the same seed gives the same band.
        weights: weights of the networks; equal by default.
        repeats: number of bootstrap samples.
        level: level of confidence, such as 0.95.

    Returns:
        Three arrays `(thresholds,)`.
    """
    errors, weights = _population("errors", errors, weights)
    _check_bootstrap(repeats, level)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(errors), np.full(len(errors), 1 / len(errors)), repeats)
    masses = counts * weights  # repeats, networks
    below = errors[:, None] < np.asarray(thresholds, float)  # networks, thresholds
    return _band(masses @ below / masses.sum(axis=1, keepdims=True), level)


def best_range(
    values: ArrayLike,
    errors: ArrayLike,
    *,
    seed: int,
    share: float = 0.25,
    repeats: int = 10_000,
    level: float = 0.95,
) -> Band:
    """Returns the range of the best value of a parameter, by the paper's empirical bootstrap.

    Each repeat samples a share of the networks with replacement and takes the best of them.

    Args:
        values: values of the parameter, such as the depth, for each network: `(networks,)`, or
            `(networks, parameters)` for several parameters.
        errors: errors of the networks, `(networks,)`.
        seed: the same seed gives the same range.
        share: share of the networks in one sample.
        repeats: number of samples.
        level: level of confidence, such as 0.95.

    Returns:
        Three numbers, or three arrays `(parameters,)`.
    """
    errors, _ = _population("errors", errors, None)
    values = np.asarray(values, float)
    ok = values.ndim in (1, 2) and len(values) == len(errors)
    check("values", f"shape {values.shape}", ok, f"a row for each of the {len(errors)} networks")
    check_number("share", share, above=0, maximum=1)
    _check_bootstrap(repeats, level)
    rng = np.random.default_rng(seed)
    drawn = max(1, int(len(errors) * share))
    # The best network of a sample has the lowest rank, so only ranks are drawn.
    ranks = rng.integers(len(errors), size=(repeats, drawn)).min(axis=1)
    return _band(values[np.argsort(errors, kind="stable")[ranks]], level)


def best_models(configs: Sequence, errors: ArrayLike, count: int = 1) -> list[tuple]:
    """Returns the networks with the lowest errors, best first, as `(configuration, error)`."""
    errors, _ = _population("errors", errors, None)
    ok = len(configs) == len(errors)
    check("configs", f"{len(configs)} of them", ok, f"one for each of the {len(errors)} errors")
    check_int("count", count, minimum=0)
    best = np.argsort(errors, kind="stable")[:count]
    return [(configs[place], float(errors[place])) for place in best]


def _population(name, numbers, weights):
    """Checks numbers and weights and returns them as arrays; the weights have the sum 1."""
    numbers = np.asarray(numbers, float)
    ok = numbers.ndim == 1 and len(numbers) > 0 and bool(np.all(np.isfinite(numbers)))
    check(name, numbers, ok, "finite numbers, one for each network")
    if weights is None:
        return numbers, np.full(len(numbers), 1 / len(numbers))
    weights = np.asarray(weights, float)
    ok = weights.shape == numbers.shape and bool(np.all(weights >= 0)) and weights.sum() > 0
    ok = ok and bool(np.isfinite(weights.sum()))
    check("weights", weights, ok, f"{len(numbers)} numbers of at least 0, not all of them 0")
    return numbers, weights / weights.sum()


def _check_bootstrap(repeats, level):
    check_int("repeats", repeats, minimum=1)
    check_number("level", level, above=0, below=1)


def _band(samples, level):
    """Returns a `Band` of quantiles over the first axis."""
    outside = (1 - level) / 2
    return Band(*np.quantile(samples, (outside, 0.5, 1 - outside), axis=0))
