"""The design space RegNet (paper section 3.3) and its final constraints (section 4); numpy only."""

import dataclasses

import numpy as np

from regnet_tf._checks import MAX_WIDTH, check, check_number, is_int
from regnet_tf.design_space.candidates import Candidates
from regnet_tf.design_space.laws import Law, log_uniform, uniform
from regnet_tf.design_space.spaces import DesignSpace
from regnet_tf.widths import (
    MAX_DEPTH,
    compatible_widths,
    quantized_widths,
    width_exponents,
)

_SLOPE_STEP, _MULTIPLIER_STEP = 0.1, 0.001  # pycls rounds its draws to these steps
_MAX_SLOPE, _MAX_MULTIPLIER = 2**16, 100  # the grids are arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegNetSpace(DesignSpace):
    """Design space RegNet: a quantized line generates the stages.

    Every range includes both ends. The depth is drawn uniformly, all other numbers log-uniformly.
    Slopes are rounded to 0.1, and multipliers to 0.001. As in pycls, a network is valid if it has
    `stages` stages and uses every power of the multiplier from the first to the last.

    Args:
        depths: minimum and maximum d; the paper's d < 64 by default.
        initial_widths: minimum and maximum w_0, multiples of `quantum`; w_0 < 256 by default.
        width_slopes: minimum and maximum w_a, above 0. By default w_a < 256, as in the paper, and
            at least 8, as in pycls.
        width_multipliers: minimum and maximum w_m, above 1; 1.5 to 3 by default.

    See `DesignSpace` for the other arguments.

    Examples:
        >>> space = design_space.RegNetSpace(name="small", depths=(4, 12), stages=3)
        >>> config = space.sample(np.random.default_rng(0))
        >>> config in space, len(config.stages)
        (True, 3)
    """

    depths: tuple[int, int] = (1, 63)
    initial_widths: tuple[int, int] = (8, 248)
    width_slopes: tuple[float, float] = (8.0, 255.9)
    width_multipliers: tuple[float, float] = (1.5, 3.0)

    def __post_init__(self):
        super().__post_init__()
        ok = self._check_range("depths", 1, MAX_DEPTH) and all(map(is_int, self.depths))
        check("depths", self.depths, ok, "integers")
        self._check_range("initial_widths", self.quantum, MAX_WIDTH)
        ok = all(is_int(width) and width % self.quantum == 0 for width in self.initial_widths)
        allowed = f"multiples of the quantum {self.quantum}"
        check("initial_widths", self.initial_widths, ok, allowed)
        self._check_range("width_slopes", _SLOPE_STEP, _MAX_SLOPE)
        self._check_range("width_multipliers", 1 + _MULTIPLIER_STEP, _MAX_MULTIPLIER)

    def _check_range(self, field, least, most):
        given = getattr(self, field)
        allowed = "the least and the greatest value; for a single value, give it twice"
        check(field, given, isinstance(given, (tuple, list)) and len(given) == 2, allowed)
        for end in given:
            check_number(field, end, minimum=least, maximum=most)
        check(field, given, given[0] <= given[1], allowed)
        object.__setattr__(self, field, tuple(given))
        return True

    @property
    def degrees_of_freedom(self) -> int:
        """Number of free parameters: 6 for RegNet, 5 for RegNetX and RegNetY (fixed ratio)."""
        laws = (*self._laws().values(), self._ratio_law, self._group_law)
        return sum(len(law.values) > 1 for law in laws)

    @property
    def size(self) -> int:
        """Number of settings on the grids, valid or not.

        The paper's table counts 64 values for each of d, w_0, w_a and w_m: 3.0e8 settings in all.
        The grids of pycls, used here, are finer.
        """
        size = len(self.bottleneck_ratios) * len(self.group_widths)
        for law in self._laws().values():
            size *= len(law.values)
        return size

    def draw(self, rng: np.random.Generator, count: int) -> Candidates:
        """Draws `count` networks and returns the valid ones."""
        numbers = {field: law.draw(rng, count) for field, law in self._laws().items()}
        numbers["bottleneck_ratio"] = self._ratio_law.draw(rng, count)
        numbers["group_width"] = self._group_law.draw(rng, count)
        numbers, widths, depths = self._stages(numbers)
        ratios, group_widths = (
            np.broadcast_to(numbers[field][:, None], widths.shape)
            for field in ("bottleneck_ratio", "group_width")
        )
        widths, group_widths = compatible_widths(widths, group_widths, ratios)
        return Candidates(self, widths, depths, group_widths, ratios, numbers)

    def _holds(self, config):
        if config.explicit_stages is not None or config.rounding != "nearest":
            return False  # the generator's numbers are unknown
        ranges = {
            "depth": self.depths,
            "initial_width": self.initial_widths,
            "width_slope": self.width_slopes,
            "width_multiplier": self.width_multipliers,
        }
        inside = all(low <= getattr(config, k) <= high for k, (low, high) in ranges.items())
        inside = inside and config.bottleneck_ratio in self.bottleneck_ratios
        inside = inside and config.group_width in self.group_widths
        numbers = {field: np.array([getattr(config, field)]) for field in ranges}
        return inside and config.quantum == self.quantum and len(self._stages(numbers)[1]) == 1

    def _laws(self) -> dict[str, Law]:
        """Returns the law of each of the generator's numbers."""
        low, high = self.initial_widths
        return {
            "depth": uniform(range(self.depths[0], self.depths[1] + 1)),
            "initial_width": log_uniform(range(low, high + 1, self.quantum)),
            "width_slope": log_uniform(_grid(*self.width_slopes, _SLOPE_STEP, 1)),
            "width_multiplier": log_uniform(_grid(*self.width_multipliers, _MULTIPLIER_STEP, 3)),
        }

    def _stages(self, numbers):
        """Returns the numbers of the valid networks, and their stages.

        Args:
            numbers: dict: field of the generator -> array `(networks,)`.

        Returns:
            The numbers of the valid networks, and two arrays `(valid networks, stages)`: the widths
            before the group width is considered, and the depths.
        """
        last = _exponents(numbers, numbers["depth"][:, None] - 1)[:, 0]
        numbers = _chosen(numbers, last == self.stages - 1)
        exponents = _exponents(numbers, np.arange(self.depths[1]))
        blocks = np.arange(self.depths[1]) < numbers["depth"][:, None]
        powers = np.arange(self.stages)
        depths = np.stack([((exponents == power) & blocks).sum(1) for power in powers], axis=1)
        initial, multiplier = (
            numbers[field][:, None] for field in ("initial_width", "width_multiplier")
        )
        widths = quantized_widths(powers, initial, multiplier, self.quantum)
        valid = (depths > 0).all(axis=1) & (np.diff(widths) > 0).all(axis=1)
        return _chosen(numbers, valid), widths[valid], depths[valid]


def _exponents(numbers, blocks):
    """Returns s_j of the blocks, an array `(networks, blocks)`."""
    fields = ("initial_width", "width_slope", "width_multiplier")
    initial, slope, multiplier = (numbers[field][:, None] for field in fields)
    return width_exponents(initial + slope * blocks, initial, multiplier)


def _chosen(numbers, rows):
    return {field: array[rows] for field, array in numbers.items()}


def _grid(low, high, step, digits):
    return np.round(np.arange(round(low / step), round(high / step) + 1) * step, digits)
