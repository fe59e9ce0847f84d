"""The design spaces AnyNetX A to E (paper section 3.2); numpy only."""

import dataclasses
import functools
import itertools
import math

import numpy as np

from regnet_tf._checks import MAX_WIDTH, check, check_bool, check_int
from regnet_tf.design_space.candidates import Candidates
from regnet_tf.design_space.laws import log_uniform
from regnet_tf.design_space.spaces import DesignSpace
from regnet_tf.widths import MAX_STAGE_DEPTH, compatible_widths

_SWITCHES = (
    "shared_bottleneck_ratio",
    "shared_group_width",
    "nondecreasing_widths",
    "nondecreasing_depths",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyNetSpace(DesignSpace):
    """Design space AnyNet: each stage has a depth, width, bottleneck ratio and group width.

    All stages may share the bottleneck ratio or the group width. Depths, widths, group widths and
    ratios are drawn log-uniformly. As in pycls, each width is then made compatible with its group
    width.

    Args:
        max_depth: maximum number of blocks in a stage.
        max_width: maximum width before the group width is considered, a multiple of `quantum`.
        shared_bottleneck_ratio: whether all stages have the same ratio.
        shared_group_width: whether all stages have the same group width.
        nondecreasing_widths: whether widths must not decrease from stage to stage.
        nondecreasing_depths: whether depths must not decrease from stage to stage.

    See `DesignSpace` for the other arguments.

    Examples:
        >>> space = design_space.AnyNetSpace(name="narrow", stages=3, max_width=256)
        >>> space.degrees_of_freedom, f"{space.size:.1e}"
        (12, '7.8e+11')
    """

    max_depth: int = 16
    max_width: int = 1024
    shared_bottleneck_ratio: bool = False
    shared_group_width: bool = False
    nondecreasing_widths: bool = False
    nondecreasing_depths: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_int("max_depth", self.max_depth, minimum=1, maximum=MAX_STAGE_DEPTH)
        check_int("max_width", self.max_width, minimum=self.quantum, maximum=MAX_WIDTH)
        multiple = self.max_width % self.quantum == 0
        check("max_width", self.max_width, multiple, f"a multiple of the quantum {self.quantum}")
        for field in _SWITCHES:
            check_bool(field, getattr(self, field))

    @property
    def degrees_of_freedom(self) -> int:
        """Number of free parameters: 16 for AnyNetX A, 13 for B, 10 for C, D and E."""
        choices = (
            (range(self.max_depth), self.stages),
            (self._widths, self.stages),
            (self.bottleneck_ratios, self._ratio_count),
            (self.group_widths, self._group_count),
        )
        return sum(count for values, count in choices if len(values) > 1)

    @property
    def size(self) -> int:
        """Exact number of settings.

        The paper's table gives the size of C divided by 4! for D, and by (4!)^2 for E. That ignores
        equal widths and equal depths. This property counts all nondecreasing sequences.
        """
        depths = _sequences(self.max_depth, self.stages, self.nondecreasing_depths)
        widths = _sequences(len(self._widths), self.stages, self.nondecreasing_widths)
        ratios = len(self.bottleneck_ratios) ** self._ratio_count
        return depths * widths * ratios * len(self.group_widths) ** self._group_count

    def draw(self, rng: np.random.Generator, count: int) -> Candidates:
        """Draws `count` networks, all of them valid."""
        shape = (count, self.stages)
        depths = _draw(range(1, self.max_depth + 1), rng, shape, self.nondecreasing_depths)
        widths = _draw(self._widths, rng, shape, self.nondecreasing_widths)
        ratios = self._ratio_law.draw(rng, (count, self._ratio_count))
        group_widths = self._group_law.draw(rng, (count, self._group_count))
        widths, group_widths = compatible_widths(widths, group_widths, ratios)
        return Candidates(self, widths, depths, group_widths, np.broadcast_to(ratios, shape))

    def _holds(self, config):
        stages = config.stages
        widths, depths = ([getattr(s, field) for s in stages] for field in ("width", "depth"))
        if max(depths) > self.max_depth or (self.nondecreasing_depths and _falls(depths)):
            return False
        # If the drawn widths do not decrease, neither do the compatible ones: compare only those.
        if self.nondecreasing_widths and _falls(widths):
            return False
        ratios = {stage.bottleneck_ratio for stage in stages}
        if not ratios <= set(self.bottleneck_ratios):
            return False
        if self.shared_bottleneck_ratio and len(ratios) > 1:
            return False
        wishes = [self._wishes(stage) for stage in stages]
        return bool(set.intersection(*wishes) if self.shared_group_width else all(wishes))

    def _wishes(self, stage):
        """Returns the group widths of the space that can lead to this stage."""
        made = _compatible(self._widths, self.group_widths, stage.bottleneck_ratio)
        return {g for g in self.group_widths if (stage.width, stage.group_width) in made[g]}

    @property
    def _widths(self):
        return range(self.quantum, self.max_width + 1, self.quantum)

    @property
    def _ratio_count(self):
        return 1 if self.shared_bottleneck_ratio else self.stages

    @property
    def _group_count(self):
        return 1 if self.shared_group_width else self.stages


def _draw(values, rng, shape, nondecreasing):
    law = log_uniform(values)
    return law.draw_nondecreasing(rng, *shape) if nondecreasing else law.draw(rng, shape)


def _sequences(choices, length, nondecreasing):
    """Returns the number of sequences of a length, from a number of choices."""
    return math.comb(choices + length - 1, length) if nondecreasing else choices**length


def _falls(numbers):
    return any(a > b for a, b in itertools.pairwise(numbers))


@functools.cache
def _compatible(widths, group_widths, ratio):
    """Returns a dict: drawn group width -> set of the possible `(width, group_width)`."""
    return {
        g: set(zip(*(array.tolist() for array in compatible_widths(widths, g, ratio)), strict=True))
        for g in group_widths
    }
