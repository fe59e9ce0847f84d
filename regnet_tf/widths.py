"""Generates the stages of a RegNet from four numbers and a depth (paper section 3.3); numpy only.

Blocks get widths on a line, `u_j = initial_width + width_slope * j`. The line is quantized to
`initial_width * width_multiplier ** s_j`, rounded to a multiple of `quantum`. Blocks of equal width
form a stage. Stage widths are then fitted to the group width.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from regnet_tf._checks import (
    MAX_WIDTH,
    check,
    check_choice,
    check_int,
    check_number,
    check_stride,
    check_strides,
    is_int,
    plain,
)

MAX_DEPTH = 64  # of generated networks; explicit stages may have more blocks
MAX_STAGE_DEPTH = 1000
WIDTH_ROUNDINGS = ("nearest", "torchvision")


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One stage: `depth` blocks of output width `width`; the first has stride `stride`.

    Args:
        width: output channels of every block.
        depth: number of blocks, 1 to 1,000.
        group_width: channels per group of the 3x3 convolutions; must divide `inner_width`.
        stride: stride of the first block, 1 or 2.
        bottleneck_ratio: `inner_width / width`. The paper's b is the inverse of this.

    Raises:
        ValueError: for values out of range, or a group width that does not divide the inner width.
    """

    width: int
    depth: int
    group_width: int
    stride: int = 2
    bottleneck_ratio: float = 1.0

    def __post_init__(self):
        plain(self)
        check_int("width", self.width, minimum=1, maximum=MAX_WIDTH)
        check_int("depth", self.depth, minimum=1, maximum=MAX_STAGE_DEPTH)
        check_int("group_width", self.group_width, minimum=1, maximum=MAX_WIDTH)
        check_stride("stride", self.stride)
        _check_ratio(self.bottleneck_ratio)
        check(
            "group_width",
            self.group_width,
            self.inner_width % self.group_width == 0,
            f"a divisor of the inner width {self.inner_width} "
            f"(width {self.width} times bottleneck_ratio {self.bottleneck_ratio})",
        )

    @property
    def inner_width(self) -> int:
        """Channels of the 3x3 convolution."""
        return inner_width(self.width, self.bottleneck_ratio)

    @property
    def groups(self) -> int:
        """Number of groups of the 3x3 convolution."""
        return self.inner_width // self.group_width


def inner_width(width: Any, bottleneck_ratio: Any) -> Any:
    """Returns the channels of a block's 3x3 convolution; of arrays, an array."""
    inner = np.maximum(1, np.round(np.multiply(width, bottleneck_ratio))).astype(int)
    return inner if inner.ndim else int(inner)


class BlockWidths(NamedTuple):
    """Widths of the blocks on the line and quantized, each an array of shape `(depth,)`."""

    continuous: np.ndarray
    quantized: np.ndarray


def check_generator(depth, initial_width, width_slope, width_multiplier, quantum):
    """Raises ValueError unless the generator's numbers are in range."""
    check(
        "depth",
        depth,
        is_int(depth) and 1 <= depth <= MAX_DEPTH,
        f"an integer from 1 to {MAX_DEPTH} (the paper samples depths up to 63)",
    )
    check_int("quantum", quantum, minimum=1, maximum=MAX_WIDTH)
    check(
        "initial_width",
        initial_width,
        is_int(initial_width) and 0 < initial_width <= MAX_WIDTH and initial_width % quantum == 0,
        f"a positive multiple of the quantum {quantum}, at most {MAX_WIDTH:,}",
    )
    check_number("width_slope", width_slope, minimum=0, below=MAX_WIDTH)
    check_number("width_multiplier", width_multiplier, above=1, below=MAX_WIDTH)


def block_widths(
    depth: int,
    initial_width: int,
    width_slope: float,
    width_multiplier: float,
    quantum: int = 8,
) -> BlockWidths:
    """Returns the widths of all blocks, before they are fitted to the group width.

    Both roundings are half to even, as in pycls (RegNetX-1.6GF has an exact tie).

    Examples:
        The first six blocks of RegNetX-200MF.

        >>> continuous, quantized = block_widths(6, 24, 36.44, 2.49)
        >>> [f"{width:.2f}" for width in continuous]
        ['24.00', '60.44', '96.88', '133.32', '169.76', '206.20']
        >>> quantized.tolist()
        [24, 56, 152, 152, 152, 152]
    """
    check_generator(depth, initial_width, width_slope, width_multiplier, quantum)
    continuous = initial_width + width_slope * np.arange(depth)  # u_j
    exponents = width_exponents(continuous, initial_width, width_multiplier)
    quantized = quantized_widths(exponents, initial_width, width_multiplier, quantum)
    return BlockWidths(continuous, quantized)


def width_exponents(
    continuous: np.ndarray, initial_width: int | np.ndarray, width_multiplier: float | np.ndarray
) -> np.ndarray:
    """Returns s_j, the whole exponents of w_m for widths u_j on the line.

    The arguments are numbers, or arrays that broadcast with each other.
    """
    return np.round(np.log(continuous / initial_width) / np.log(width_multiplier))


def quantized_widths(
    exponents: np.ndarray,
    initial_width: int | np.ndarray,
    width_multiplier: float | np.ndarray,
    quantum: int = 8,
) -> np.ndarray:
    """Returns w_j, the quantized widths for exponents s_j.

    The arguments are numbers, or arrays that broadcast with each other.
    """
    quantized = initial_width * np.power(np.asarray(width_multiplier, float), exponents)
    return (np.round(quantized / quantum) * quantum).astype(int)


def compatible_width(
    width: int, group_width: int, bottleneck_ratio: float = 1.0, rounding: str = "nearest"
) -> tuple[int, int]:
    """Returns the nearest width and group width that a grouped convolution accepts.

    The group width is at most the inner width. The inner width becomes a multiple of it.

    Args:
        width: requested output width.
        group_width: requested channels per group.
        bottleneck_ratio: inner width / width: below 1, or a whole number.
        rounding: "nearest" as in pycls and timm (half to even), or "torchvision": its
            `_make_divisible` rounds halves up and never goes below 0.9 of the requested width.

    Returns:
        `(width, group_width)`, two integers.

    Examples:
        >>> compatible_width(62, group_width=16)
        (64, 16)
        >>> compatible_width(80, group_width=120)
        (80, 80)
    """
    check_int("width", width, minimum=1, maximum=MAX_WIDTH)
    check_int("group_width", group_width, minimum=1, maximum=MAX_WIDTH)
    check_choice("rounding", rounding, WIDTH_ROUNDINGS)
    check_bottleneck_ratio(bottleneck_ratio)
    fitting, fitting_group = compatible_widths(width, group_width, bottleneck_ratio, rounding)
    return int(fitting), int(fitting_group)


def compatible_widths(width, group_width, bottleneck_ratio=1.0, rounding="nearest"):
    """`compatible_width` for arrays that broadcast with each other, without its checks."""
    ratio = np.asarray(bottleneck_ratio, float)
    inner = np.maximum(1, np.multiply(width, ratio).astype(int))
    group_width = np.minimum(group_width, inner)
    # Above 1, the inner width must also be a multiple of the ratio.
    multiple = np.lcm(group_width, np.maximum(1, ratio.astype(int)))
    if rounding == "nearest":
        inner = np.maximum(multiple, np.round(inner / multiple).astype(int) * multiple)
    else:
        wished = inner
        inner = np.maximum(multiple, (inner + multiple / 2).astype(int) // multiple * multiple)
        inner = inner + np.where(inner < 0.9 * wished, multiple, 0)
    return (inner / ratio).astype(int), group_width


def check_bottleneck_ratio(bottleneck_ratio):
    """Raises ValueError unless the ratio is below 1 or a whole number (pycls' rule)."""
    _check_ratio(bottleneck_ratio)
    check(
        "bottleneck_ratio",
        bottleneck_ratio,
        bottleneck_ratio < 1 or bottleneck_ratio == int(bottleneck_ratio),
        "a number between 0 and 1, or a whole number",
    )


def _check_ratio(ratio):
    """Raises ValueError for a bottleneck ratio from which widths cannot be computed."""
    check_number("bottleneck_ratio", ratio, above=0, below=MAX_WIDTH)
    check("bottleneck_ratio", ratio, ratio >= 1 / MAX_WIDTH, f"at least 1/{MAX_WIDTH:,}")


def generate_stages(
    depth: int,
    initial_width: int,
    width_slope: float,
    width_multiplier: float,
    group_width: int,
    bottleneck_ratio: float = 1.0,
    quantum: int = 8,
    stride: int | Sequence[int] = 2,
    rounding: str = "nearest",
) -> tuple[StageConfig, ...]:
    """Returns the stages of the RegNet with the given parameters.

    Args:
        depth: d, number of blocks, 1 to 64.
        initial_width: w_0, a multiple of `quantum`.
        width_slope: w_a, at least 0.
        width_multiplier: w_m, above 1.
        group_width: g, channels per group.
        bottleneck_ratio: inner width / width.
        quantum: block widths are multiples of it, before they are fitted to the group width.
        stride: stride of each stage's first block: one number, or one for each stage.
        rounding: see `compatible_width`.

    Raises:
        ValueError: if an argument is out of range; the message names it.

    Examples:
        RegNetX-200MF.

        >>> stages = generate_stages(13, 24, 36.44, 2.49, group_width=8)
        >>> [(stage.width, stage.depth, stage.groups) for stage in stages]
        [(24, 1, 3), (56, 1, 7), (152, 4, 19), (368, 7, 46)]
    """
    check_int("group_width", group_width, minimum=1, maximum=MAX_WIDTH)
    widths = block_widths(depth, initial_width, width_slope, width_multiplier, quantum).quantized
    stage_widths, depths = np.unique(widths, return_counts=True)
    strides = stage_strides(stride, len(stage_widths))
    stages = []
    for width, stage_depth, stage_stride in zip(stage_widths, depths, strides, strict=True):
        width, stage_group_width = compatible_width(
            int(width), group_width, bottleneck_ratio, rounding
        )
        stages.append(
            StageConfig(width, int(stage_depth), stage_group_width, stage_stride, bottleneck_ratio)
        )
    return tuple(stages)


def stage_strides(stride: int | Sequence[int], stages: int) -> tuple[int, ...]:
    """Returns the stride of each stage's first block.

    Args:
        stride: one number for all stages, or one for each.
        stages: number of stages.

    Raises:
        ValueError: if there are more or fewer strides than stages.

    Examples:
        >>> stage_strides(2, 3), stage_strides((1, 2, 2), 3)
        ((2, 2, 2), (1, 2, 2))
    """
    stride = tuple(stride) if isinstance(stride, Sequence) else stride
    check_strides("stride", stride)
    if not isinstance(stride, tuple):
        return (stride,) * stages
    check(
        "stride", stride, len(stride) == stages, f"one number, or one for each of {stages} stages"
    )
    return stride
