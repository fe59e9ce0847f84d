"""Base class of design spaces: sets of networks to describe, draw from and count; numpy only.

Source: "Designing Network Design Spaces" (Radosavovic et al. 2020), sections 3.2 to 3.4 and 4. The
paper leaves open the grids of w_0, w_a, w_m and g, and the distributions of the draws. They follow
its authors' code, pycls: `sweep/samplers.py`, `sweep/random.py` and `sweep/config.py`.
"""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from regnet_tf._checks import MAX_SIDE, MAX_WIDTH, check, check_int, replaced
from regnet_tf.design_space.candidates import Candidates
from regnet_tf.design_space.frame import Frame
from regnet_tf.design_space.laws import Law, log_uniform
from regnet_tf.variants import RegNetConfig, as_config
from regnet_tf.widths import MAX_DEPTH, check_bottleneck_ratio, stage_strides

POWERS_OF_TWO = (1, 2, 4, 8, 16, 32)
MAX_CHOICES = 1000
_DRAWS = (64, *[8192] * 24)  # batch sizes of the draws for one valid network


@dataclasses.dataclass(frozen=True, kw_only=True)
class DesignSpace(Frame, abc.ABC):
    """Base class of all design spaces.

    Args:
        name: display name.
        stages: number of stages.
        quantum: widths are multiples of it before the group width is considered.
        bottleneck_ratios: choices of inner width / width. The paper's b is the inverse: b = 1, 2, 4
            are 1, 0.5, 0.25 here.
        group_widths: choices of channels per group of the 3x3 convolutions.
        stride: stride of each stage's first block, 1 or 2; or a tuple with one for each stage.
        image_size: default height and width of the images for which costs are counted, in pixels.

    The options that all its networks share are those of `RegNetConfig`, from `stem_width` to
    `normalization`.

    Raises:
        ValueError: if a field is out of range; it names the field.

    Examples:
        >>> space = design_space.REGNETX.replace(group_widths=(16,))
        >>> space.degrees_of_freedom, regnet_tf.get_config("RegNetX-400MF") in space
        (4, True)
    """

    stages: int = 4
    bottleneck_ratios: Sequence[float] = (0.25, 0.5, 1.0)
    group_widths: Sequence[int] = POWERS_OF_TWO
    image_size: int = 224

    def __post_init__(self):
        super().__post_init__()
        check_int("stages", self.stages, minimum=1, maximum=MAX_DEPTH)
        stage_strides(self.stride, self.stages)
        self._check_choices("bottleneck_ratios", check_bottleneck_ratio)
        self._check_choices("group_widths", _check_group_width)
        check_image_size(self.image_size, self)

    def _check_choices(self, field, check_one):
        choices = getattr(self, field)
        ok = isinstance(choices, (tuple, list, range)) or getattr(choices, "ndim", 0) == 1
        # Not the length, which a long range does not have.
        ok = ok and 0 < len(choices[: MAX_CHOICES + 1]) <= MAX_CHOICES
        check(field, choices, ok, f"1 to {MAX_CHOICES:,} choices")
        for choice in choices:
            check_one(choice)
        object.__setattr__(self, field, tuple(np.unique(choices).tolist()))

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each stage's first block."""
        return stage_strides(self.stride, self.stages)

    @property
    def total_stride(self) -> int:
        """Input pixels per pixel of the last feature map; also the minimum image size."""
        return self.stem_stride * math.prod(self.strides)

    @property
    @abc.abstractmethod
    def degrees_of_freedom(self) -> int:
        """Number of free parameters of a network; parameters with one choice do not count."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of settings of these parameters."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Candidates:
        """Draws `count` networks by the laws of the paper's authors; returns the valid ones."""

    @abc.abstractmethod
    def _holds(self, config: RegNetConfig) -> bool:
        """Whether a configuration with the options of the space is a member."""

    def sample(self, rng: np.random.Generator) -> RegNetConfig:
        """Draws one network of the space.

        Args:
            rng: a `numpy.random.Generator`.

        Raises:
            ValueError: if none of the drawn networks is valid.
        """
        for batch in _DRAWS:
            found = self.draw(rng, batch)
            if len(found):
                return found[:1].configs()[0]
        raise ValueError(f"No network of {sum(_DRAWS):,} drawn from {self.name} is valid")

    def contains(self, config: RegNetConfig | str) -> bool:
        """Whether a configuration is a member; name and stochastic depth are ignored.

        Args:
            config: a `RegNetConfig`, or a variant's name.

        Raises:
            ValueError: for an unknown name, or an argument of another type.
        """
        config = as_config(config)
        shared = config.options == self.options
        shared = shared and tuple(stage.stride for stage in config.stages) == self.strides
        return shared and self._holds(config)

    def __contains__(self, config):
        return self.contains(config)

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with these fields changed."""
        return replaced(self, changes)

    @property
    def _ratio_law(self) -> Law:
        return log_uniform(self.bottleneck_ratios)

    @property
    def _group_law(self) -> Law:
        return log_uniform(self.group_widths)


def check_image_size(image_size: int, space: DesignSpace) -> None:
    """Raises ValueError unless images of this size suit the networks of a space."""
    check_int("image_size", image_size, minimum=space.total_stride, maximum=MAX_SIDE)


def _check_group_width(group_width):
    check_int("group_widths", group_width, minimum=1, maximum=MAX_WIDTH)
