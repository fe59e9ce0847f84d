"""The mathematics of populations, against SciPy, exact probabilities and hand-worked numbers."""

import itertools

import numpy as np
import pytest
from scipy import stats

from regnet_tf.design_space import (
    balanced_weights,
    best_models,
    best_range,
    distribution_band,
    error_distribution,
    error_quantile,
    expected_minimum,
    kolmogorov_smirnov,
    kolmogorov_smirnov_p_value,
)

RANDOM = np.random.default_rng(0)
ERRORS = RANDOM.normal(40, 5, 200)
OTHERS = RANDOM.normal(42, 4, 150)


def test_distribution_by_hand():
    # Strictly below, as equation 1 has it.
    shares = error_distribution([3, 1, 2, 2], [0, 1, 1.5, 2, 2.1, 3, 4])
    assert shares.tolist() == [0, 0, 0.25, 0.25, 0.75, 0.75, 1]
    weighted = error_distribution([3, 1, 2], [[1, 2], [3, 4]], weights=[2, 1, 1])
    np.testing.assert_allclose(weighted, [[0, 0.25], [0.5, 1]])


def test_weights_stand_for_repetition():
    repeats = RANDOM.integers(0, 4, len(ERRORS))
    repeated = np.repeat(ERRORS, repeats)
    thresholds = np.linspace(25, 55, 77)
    expected = (repeated[:, None] < thresholds).mean(0)
    found = error_distribution(ERRORS, thresholds, repeats)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for share in (0, 0.1, 0.5, 1):
        inverse = np.quantile(repeated, share, method="inverted_cdf")
        assert error_quantile(ERRORS, share, repeats + 0.0) == inverse or share == 0


def test_quantiles():
    assert error_quantile([3, 1, 2, 4], 0) == 1
    assert error_quantile([3, 1, 2, 4], 0.25) == 1
    assert error_quantile([3, 1, 2, 4], 0.26) == 2
    assert error_quantile([3, 1, 2, 4], 1) == 4
    assert error_quantile([3, 1], 0.5, weights=[9, 1]) == 3


@pytest.mark.parametrize("other", [OTHERS, ERRORS[:50], np.round(OTHERS), ERRORS], ids=len)
def test_kolmogorov_smirnov_of_scipy(other):
    ours = np.round(ERRORS) if other is not ERRORS else ERRORS
    assert kolmogorov_smirnov(ours, other) == pytest.approx(stats.ks_2samp(ours, other).statistic)


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_p_value_of_scipy(shift):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=30), rng.normal(size=40) + shift
    expected = stats.ks_2samp(ours, theirs, method="exact").pvalue
    found = kolmogorov_smirnov_p_value(ours, theirs, seed=0)
    assert found == pytest.approx(expected, abs=0.02)


def test_p_value_of_equal_errors():
    assert kolmogorov_smirnov_p_value([1, 1, 2], [1, 1, 2], seed=0) == 1
    least = kolmogorov_smirnov_p_value(range(20), range(20, 40), seed=0, repeats=99)
    assert least == pytest.approx(1 / 100)


def test_weighted_kolmogorov_smirnov():
    repeats = RANDOM.integers(1, 4, len(ERRORS))
    expected = stats.ks_2samp(np.repeat(ERRORS, repeats), OTHERS).statistic
    assert kolmogorov_smirnov(ERRORS, OTHERS, weights_a=repeats) == pytest.approx(expected)
    assert kolmogorov_smirnov([1, 2], [3, 4]) == 1


def test_expected_minimum_by_enumeration():
    errors = [5.0, 1.0, 7.0, 7.0, 2.5, 3.0]
    for draws in range(1, 7):
        minima = [min(some) for some in itertools.combinations(errors, draws)]
        assert expected_minimum(errors, draws) == pytest.approx(np.mean(minima))
    both = expected_minimum(errors, [1, 6])
    np.testing.assert_allclose(both, [np.mean(errors), 1])


def test_balanced_weights():
    costs = [1, 2, 3, 14, 25, 30]
    weights = balanced_weights(costs, [0, 10, 20, 30])
    np.testing.assert_allclose(weights, np.array([1, 1, 1, 3, 1.5, 1.5]) / 9)
    # An interval without networks has no weight to give.
    np.testing.assert_allclose(balanced_weights([1, 2, 25], [0, 10, 20, 30]), [0.25, 0.25, 0.5])


def test_weights_undo_a_choice_by_cost():
    """Populations that differ in how their costs are distributed alone are equal when balanced."""
    costs = RANDOM.uniform(0, 1, 40_000)
    errors = 50 - 20 * costs + RANDOM.normal(0, 1, 40_000)
    large = costs > RANDOM.uniform(0, 1, 40_000)
    edges = np.linspace(0, 1, 21)
    plain = kolmogorov_smirnov(errors[large], errors[~large])
    weights = [balanced_weights(costs[rows], edges) for rows in (large, ~large)]
    assert plain > 0.3 > 0.03 > kolmogorov_smirnov(errors[large], errors[~large], *weights)


def test_distribution_band_is_binomial():
    thresholds = np.quantile(ERRORS, [0.1, 0.5, 0.9])
    band = distribution_band(ERRORS, thresholds, seed=0, repeats=4000)
    shares = error_distribution(ERRORS, thresholds)
    for level, found in zip((0.025, 0.5, 0.975), band, strict=True):
        np.testing.assert_allclose(found, stats.binom.ppf(level, 200, shares) / 200, atol=0.011)
    again = distribution_band(ERRORS, thresholds, seed=0, repeats=4000)
    assert all(np.array_equal(a, b) for a, b in zip(band, again, strict=True))


def test_band_of_weights():
    weights = np.where(ERRORS < 40, 3.0, 1.0)
    band = distribution_band(ERRORS, [40.0, 100.0], seed=1, weights=weights)
    assert band.low[0] < error_distribution(ERRORS, [40.0], weights)[0] < band.high[0]
    np.testing.assert_allclose([band.low[1], band.high[1]], 1)


def test_best_range_has_the_exact_quantiles():
    # The best of m draws with putting back has rank k or less with chance 1 - (1 - (k+1)/n)^m.
    count, drawn = len(ERRORS), 50
    ranks = np.arange(count)
    chances = 1 - (1 - (ranks + 1) / count) ** drawn
    values = np.argsort(np.argsort(ERRORS))  # a parameter that is the rank itself
    found = best_range(values, ERRORS, seed=0)
    for level, value in zip((0.025, 0.5, 0.975), found, strict=True):
        assert abs(value - ranks[np.searchsorted(chances, level)]) <= 1
    two = best_range(np.stack([values, -values], axis=1), ERRORS, seed=0)
    assert [band[0] for band in two] == list(found)
    assert two.low[1] == -found.high


def test_best_range_finds_the_good_values():
    depth = RANDOM.integers(1, 60, 500)
    errors = 40 + (depth - 20) ** 2 / 50 + RANDOM.normal(0, 0.5, 500)
    low, median, high = best_range(depth, errors, seed=0)
    assert 12 <= low <= median <= high <= 28 and low < 20.5 and high > 19.5


def test_best_models():
    assert best_models(["a", "b", "c"], [0.3, 0.1, 0.2], 2) == [("b", 0.1), ("c", 0.2)]
    assert best_models(["a"], [0.3]) == [("a", 0.3)]


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: error_distribution([], [1]), "errors"),
        (lambda: error_distribution([np.nan], [1]), "errors"),
        (lambda: error_distribution([1, 2], [1], [1]), "weights"),
        (lambda: error_distribution([1, 2], [1], [-1, 2]), "weights"),
        (lambda: error_distribution([1, 2], [1], [0, 0]), "weights"),
        (lambda: error_quantile([1, 2], 1.1), "share"),
        (lambda: expected_minimum([1, 2], 3), "draws"),
        (lambda: expected_minimum([1, 2], 1.0), "draws"),
        (lambda: balanced_weights([1, 5], [0, 4]), "costs"),
        (lambda: balanced_weights([1], [4, 0]), "edges"),
        (lambda: distribution_band([1], [1], seed=0, repeats=0), "repeats"),
        (lambda: distribution_band([1], [1], seed=0, level=1), "level"),
        (lambda: best_range([1, 2], [1], seed=0), "values"),
        (lambda: best_range([1], [1], seed=0, share=0), "share"),
        (lambda: best_models(["a"], [1, 2]), "configs"),
        (lambda: best_models(["a"], [1], -1), "count"),
    ],
)
def test_errors(call, argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        call()
