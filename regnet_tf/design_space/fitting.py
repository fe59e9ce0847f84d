"""Fit of a quantized line to the block widths of a network; numpy only.

Paper section 3.3: d is the depth of any network. w_0, w_a and w_m are searched for the minimum
e_fit, the mean log ratio of predicted to observed block widths.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regnet_tf._checks import MAX_WIDTH, check, check_choice, check_int, check_number
from regnet_tf.variants import RegNetConfig, as_config
from regnet_tf.widths import (
    MAX_DEPTH,
    WIDTH_ROUNDINGS,
    block_widths,
    check_bottleneck_ratio,
    compatible_widths,
    quantized_widths,
)

PAPER_MULTIPLIERS = (1.5, 3.0)
_STEP = 0.01  # of the search over w_m
_MAX_MULTIPLIER = 100  # the search tries every step up to the greatest w_m
_EQUAL = 1e-9  # sums of logarithms that differ by less count as equal


@dataclasses.dataclass(frozen=True)
class Fit:
    """The numbers of a generator, and the error of its widths.

    Attributes:
        depth: d.
        initial_width: w_0.
        width_slope: w_a.
        width_multiplier: w_m.
        group_width: g with which the predicted widths are compatible, or None.
        bottleneck_ratio: inner width / width.
        quantum: w_0 and the predicted widths are multiples of it.
        rounding: how the predicted widths were made compatible with g.
        error: e_fit, the mean of `|log(predicted width / observed width)|` over the blocks.

    Examples:
        >>> fit = design_space.fit_regnet([32, 64, 64, 160, 160, 160])
        >>> fit.depth, fit.initial_width, round(fit.error, 3)
        (6, 32, 0.039)
    """

    depth: int
    initial_width: int
    width_slope: float
    width_multiplier: float
    group_width: int | None
    bottleneck_ratio: float
    quantum: int
    rounding: str
    error: float

    def config(self, **fields: Any) -> RegNetConfig:
        """Returns the configuration of the fitted network.

        Args:
            **fields: other fields of `RegNetConfig`. Pass `group_width` if the fit had none.
        """
        own = dataclasses.asdict(self)
        del own["error"]
        return RegNetConfig(**{**own, **fields})


def fit_regnet(
    widths_per_block: ArrayLike,
    *,
    group_width: int | None = None,
    bottleneck_ratio: float = 1.0,
    quantum: int = 8,
    rounding: str = "nearest",
    width_multipliers: tuple[float, float] = PAPER_MULTIPLIERS,
) -> Fit:
    """Fits a quantized line to the widths of a network's blocks.

    The search covers all multiples of the quantum for w_0, and w_m in steps of 0.01. For each pair
    it finds the best w_a exactly, since the error changes only where a block's exponent changes.
    Among equally good fits, it takes the one with the line nearest to the widths.

    Args:
        widths_per_block: width of every block in order, 1 to 64 numbers.
        group_width: if given, predicted widths are made compatible with it, as in a finished
            network. If None, predicted widths are the multiples of `quantum` before that step.
        bottleneck_ratio: inner width / width; used only with `group_width`.
        quantum: see `block_widths`.
        rounding: see `compatible_width`.
        width_multipliers: minimum and maximum w_m; the paper's range by default.

    Raises:
        ValueError: if an argument is out of range; it names the argument.

    Examples:
        The widths of RegNetX-200MF. The fit finds another slope that gives the same widths.

        >>> fit = fit_regnet([24] + [56] + [152] * 4 + [368] * 7)
        >>> fit.initial_width, fit.width_slope, fit.width_multiplier, fit.error
        (24, 39.0, 2.49, 0.0)
    """
    observed = _checked(widths_per_block)
    check_bottleneck_ratio(bottleneck_ratio)
    check_int("quantum", quantum, minimum=1, maximum=MAX_WIDTH)
    check_choice("rounding", rounding, WIDTH_ROUNDINGS)
    if group_width is not None:
        check_int("group_width", group_width, minimum=1, maximum=MAX_WIDTH)
    ok = isinstance(width_multipliers, (tuple, list)) and len(width_multipliers) == 2
    check(
        "width_multipliers", width_multipliers, ok, "the least w_m, at least 1.01, and the greatest"
    )
    low, high = width_multipliers
    check_number("width_multipliers", low, minimum=1 + _STEP)
    check_number("width_multipliers", high, minimum=low, maximum=_MAX_MULTIPLIER)
    multipliers = np.round(np.arange(round(low / _STEP), round(high / _STEP) + 1) * _STEP, 2)

    def finish(widths):
        if group_width is None:
            return widths
        return compatible_widths(widths, group_width, bottleneck_ratio, rounding)[0]

    ties = _search(observed, multipliers, quantum, finish)
    best = min(ties, key=lambda tie: _line_error(observed, tie))
    numbers = (len(observed), best.initial, _shortest(*best.slopes), best.multiplier)
    predicted = finish(block_widths(*numbers, quantum).quantized)
    error = float(np.mean(np.abs(np.log(predicted / observed))))
    return Fit(*numbers, group_width, bottleneck_ratio, quantum, rounding, error)


def widths_of(config: RegNetConfig | str) -> list[int]:
    """Returns the width of every block of a network, for `fit_regnet`.

    Args:
        config: a `RegNetConfig`, or a variant's name.

    Raises:
        ValueError: for an unknown name, or an argument of another type.

    Examples:
        >>> design_space.widths_of("RegNetX-200MF")
        [24, 56, 152, 152, 152, 152, 368, 368, 368, 368, 368, 368, 368]
    """
    stages = as_config(config).stages
    return [width for stage in stages for width in [stage.width] * stage.depth]


class _Tie(NamedTuple):
    """One of the best fits: error, w_0, w_m, and the interval of w_a with this error."""

    error: float
    initial: int
    multiplier: float
    slopes: tuple[float, float]


def _checked(widths):
    observed = np.asarray(widths)
    numeric = observed.ndim == 1 and observed.dtype.kind in "iuf" and len(observed) > 0
    ok = numeric and bool(np.all((observed > 0) & (observed <= MAX_WIDTH)))
    allowed = f"a sequence of widths above 0 and at most {MAX_WIDTH:,}"
    check("widths_per_block", widths, ok, allowed)
    check("widths_per_block", widths, len(observed) <= MAX_DEPTH, f"at most {MAX_DEPTH} widths")
    return observed.astype(float)


def _search(
    observed: np.ndarray, multipliers: np.ndarray, quantum: int, finish: Callable
) -> list[_Tie]:
    """Returns all pairs of w_0 and w_m with the minimum error."""
    best, ties = np.inf, []
    initials = np.arange(quantum, observed.max() + quantum, quantum)
    # The first block has width w_0, so its error alone is a lower bound. The search tries the
    # nearest w_0 first, and ends when the bound exceeds the best error.
    bounds = np.abs(np.log(finish(initials.astype(int)) / observed[0])) / len(observed)
    for place in np.argsort(bounds, kind="stable"):
        if bounds[place] > best + _EQUAL:
            break
        initial = int(initials[place])
        errors, starts, ends = _best_slopes(observed, initial, multipliers, quantum, finish)
        best = min(best, errors.min())
        for row in np.flatnonzero(errors <= best + _EQUAL):
            slopes = float(starts[row]), float(ends[row])
            ties.append(_Tie(errors[row], initial, float(multipliers[row]), slopes))
    return [tie for tie in ties if tie.error <= best + _EQUAL]


def _best_slopes(observed, initial, multipliers, quantum, finish):
    """Returns for each w_m the minimum error, and the start and end of its interval of w_a.

    As w_a grows, one block after the other takes its next exponent. The error changes only there,
    by a known step. A running sum over the sorted places therefore gives the error of every w_a.
    """
    depth = len(observed)
    # With larger exponents, even the second block would be wider than all observed widths.
    most = np.log(observed.max() * depth / initial) / np.log(multipliers[0])
    exponents = np.arange(max(1, int(np.ceil(most)) + 1))
    predicted = finish(quantized_widths(exponents, initial, multipliers[:, None], quantum))
    costs = np.abs(np.log(predicted[..., None] / observed))  # w_m, exponents, blocks
    steps = np.diff(costs[..., 1:], axis=1).reshape(len(multipliers), -1)
    halves = multipliers[:, None] ** (exponents[:-1] + 0.5)
    places = initial * (halves - 1)[..., None] / np.arange(1, depth)
    places = places.reshape(steps.shape)

    order = np.argsort(places, axis=1)
    places = np.take_along_axis(places, order, axis=1)
    steps = np.take_along_axis(steps, order, axis=1)
    sums = np.cumsum(np.column_stack([costs[:, 0].sum(axis=1), steps]), axis=1)
    starts = np.column_stack([np.zeros(len(multipliers)), places])
    ends = np.column_stack([places, 2 * starts[:, -1] + 1])
    sums[ends - starts <= _EQUAL * ends] = np.inf  # several blocks step at once
    rows, least = np.arange(len(multipliers)), sums.argmin(axis=1)
    return sums[rows, least] / depth, starts[rows, least], ends[rows, least]


def _line_error(observed, tie):
    """Returns the mean absolute log ratio of the line itself to the widths."""
    line = tie.initial + np.mean(tie.slopes) * np.arange(len(observed))
    return float(np.mean(np.abs(np.log(line / observed))))


def _shortest(start, end):
    """Returns the number with the fewest decimals near the middle of an interval."""
    middle = (start + end) / 2
    rounded = (round(middle, digits) for digits in range(12))
    return next((value for value in rounded if start < value < end), middle)
