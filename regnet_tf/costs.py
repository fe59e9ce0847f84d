"""Counts parameters, flops and activations of a configuration by arithmetic; numpy only.

The fields of a stage may be numbers or arrays. The counts are then numbers or arrays, too.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from regnet_tf._checks import MAX_SIDE, MAX_WIDTH, check, check_int
from regnet_tf.options import NetworkOptions, stem_convolutions
from regnet_tf.variants import RegNetConfig, as_config
from regnet_tf.widths import inner_width


@dataclasses.dataclass(frozen=True)
class Complexity:
    """Size and cost of one network for one image.

    Attributes:
        parameters: trainable weights and biases.
        statistics: moving means and variances. Keras' `count_params()` is `parameters +
            statistics`.
        flops: multiply-adds of convolutions and head, and additions of their biases, as in pycls.
        multiply_adds: multiply-adds alone.
        activations: output elements of the same layers; called acts in pycls.

    Examples:
        >>> cost = regnet_tf.complexity("RegNetY-400MF", image_size=288)
        >>> f"{cost.parameters / 1e6:.1f} M, {cost.multiply_adds / 1e9:.2f} G"
        '4.3 M, 0.66 G'
    """

    parameters: int = 0
    statistics: int = 0
    flops: int = 0
    multiply_adds: int = 0
    activations: int = 0

    def __add__(self, other):
        mine, others = vars(self), vars(other)  # dataclasses.astuple would copy arrays
        return Complexity(**{name: mine[name] + others[name] for name in mine})

    def __mul__(self, times):
        return Complexity(**{name: count * times for name, count in vars(self).items()})


def complexity(
    config: RegNetConfig | str,
    image_size: int | tuple[int, int] = 224,
    *,
    classes: int = 1000,
    channels: int = 3,
    include_top: bool = True,
) -> Complexity:
    """Counts the parameters and the cost of a configuration.

    Args:
        config: a `RegNetConfig`, or a variant's name.
        image_size: side of a square image, or `(height, width)`, in pixels.
        classes: outputs of the head.
        channels: channels of the image.
        include_top: whether to count the head.

    Raises:
        ValueError: for a size below the network's total stride, or a count below 1.

    Examples:
        >>> cost = complexity("RegNetX-400MF")
        >>> cost.parameters, cost.multiply_adds, cost.activations
        (5157512, 397677568, 3143272)
    """
    parts = complexity_by_part(
        config, image_size, classes=classes, channels=channels, include_top=include_top
    )
    return total(parts)


def complexity_by_part(
    config: RegNetConfig | str,
    image_size: int | tuple[int, int] = 224,
    *,
    classes: int = 1000,
    channels: int = 3,
    include_top: bool = True,
) -> dict[str, Complexity]:
    """Counts the cost of each part: `stem`, `stage_1` and so on, `final_conv` if any, `head`.

    It takes the arguments of `complexity`.

    Examples:
        >>> parts = complexity_by_part("RegNetX-400MF")
        >>> list(parts)
        ['stem', 'stage_1', 'stage_2', 'stage_3', 'stage_4', 'head']
        >>> parts["head"].parameters
        385000
    """
    config = as_config(config)
    size: Any = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    check("image_size", image_size, len(size) == 2, "a side or (height, width)")
    for side in size:
        check_int("image_size", side, minimum=1, maximum=MAX_SIDE)
        ok = side >= config.total_stride
        check("image_size", side, ok, f"at least {config.total_stride}, the network's total stride")
    check_int("classes", classes, minimum=1, maximum=MAX_WIDTH)
    check_int("channels", channels, minimum=1, maximum=MAX_WIDTH)
    parts = count_parts(config, config.stages, size, classes, channels)
    if not include_top:
        del parts["head"]
    return parts


def count_parts(
    options: NetworkOptions,
    stages: Iterable,
    size: tuple[int, int],
    classes: int,
    channels: int = 3,
) -> dict[str, Complexity]:
    """Counts the cost of each part, without checks.

    Args:
        options: what the blocks of the network share.
        stages: for each stage an object with `width`, `depth`, `group_width`, `bottleneck_ratio`
            and `stride`: a `StageConfig`, or the same with arrays `(networks,)` except the stride.
        size: `(height, width)` of the image.
        classes: outputs of the head.
        channels: channels of the image.
    """
    parts = {"stem": Complexity()}
    width_in: Any = channels
    for width, stride in stem_convolutions(
        options.stem_width, options.stem_stride, options.stem_type
    ):
        size = strided(size, stride)
        parts["stem"] += _conv(size, 3, width_in, width)
        if not options.preactivation:
            parts["stem"] += _norm(options, width)
        width_in = width
    for number, stage in enumerate(stages, 1):
        first = _block(options, stage, size, width_in, stage.stride)
        size, width_in = strided(size, stage.stride), stage.width
        others = _block(options, stage, size, width_in, 1) * (stage.depth - 1)
        parts[f"stage_{number}"] = first + others
    if options.final_width:
        parts["final_conv"] = _conv(size, 1, width_in, options.final_width)
        parts["final_conv"] += _norm(options, options.final_width)
        width_in = options.final_width
    parts["head"] = _conv((1, 1), 1, width_in, classes, bias=True)
    return parts


def total(parts: Mapping[str, Complexity]) -> Complexity:
    """Returns the sum of a dict of parts."""
    return functools.reduce(Complexity.__add__, parts.values())


def _block(options, stage, size_in, width_in, stride):
    """Returns the cost of one block of a stage."""
    size, width, before = strided(size_in, stride), stage.width, options.preactivation
    inner = inner_width(width_in if options.bottleneck_in else width, stage.bottleneck_ratio)
    cost = _conv(size_in, 1, width_in, inner)
    cost += _conv(size, 3, inner, inner, inner // stage.group_width)
    cost += _conv(size, 1, inner, width)
    cost += _norm(options, inner) * 2
    cost += _norm(options, width_in) if before else _norm(options, width, activated=False)
    if options.se_ratio:
        squeeze = squeeze_width(width_in, options.se_ratio, options.se_quantum)
        cost += _conv((1, 1), 1, inner, squeeze, bias=True)
        cost += _conv((1, 1), 1, squeeze, inner, bias=True)
    if options.shortcut == "none":
        return cost
    shortcut = _conv(size, 1, width_in, width)
    if not before:
        shortcut += _norm(options, width, activated=False)
    return cost + shortcut * (1 if stride != 1 else width_in != width)


def _norm(options, width, activated=True):
    """Returns the cost of a normalization.

    Only batch normalization has moving statistics. EvoNorm's activation has a third parameter.
    """
    per_channel = 3 if options.normalization == "evonorm" and activated else 2
    moving = 2 if options.normalization == "batch" else 0
    return Complexity(parameters=per_channel * width, statistics=moving * width)


def squeeze_width(
    width_in: int | np.ndarray, se_ratio: float, quantum: int = 1
) -> int | np.ndarray:
    """Returns the channels between the two layers of squeeze-and-excitation.

    They are a share of the block's *input* channels, rounded to a multiple of the quantum. The
    authors round halves to even; timm rounds them up where it has a quantum.
    """
    width = np.multiply(width_in, se_ratio)
    rounded = np.round(width) if quantum == 1 else (width + quantum / 2) // quantum * quantum
    width = np.maximum(quantum, rounded).astype(int)
    return width if width.ndim else int(width)


def _conv(size, kernel, width_in, width_out, groups=1, bias=False):
    weights = kernel * kernel * (width_in // groups) * width_out
    outputs = math.prod(size) * width_out
    multiply_adds = weights * math.prod(size)
    return Complexity(
        parameters=weights + bias * width_out,
        flops=multiply_adds + bias * outputs,
        multiply_adds=multiply_adds,
        activations=outputs,
    )


def strided(size, stride):
    """Returns the output size of a convolution with padding `kernel // 2`."""
    return tuple(-(-side // stride) for side in size)
