"""Parameters, flops and activations of a configuration, by arithmetic; numpy only.

The counting itself takes numbers or arrays: what a stage's fields are, the counts become.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from regnet_tf._checks import check, check_int
from regnet_tf.variants import RegNetConfig, get_config


@dataclasses.dataclass(frozen=True)
class Complexity:
    """Size and cost of one network for one image.

    Attributes:
        parameters: trainable weights and biases.
        statistics: moving means and variances; Keras' `count_params()` is the sum of both.
        flops: multiply-adds of convolutions and classifier, and additions of their biases: what
            pycls calls flops.
        macs: the multiply-adds alone.
        activations: output elements of the same layers: what pycls calls acts.
    """

    parameters: int = 0
    statistics: int = 0
    flops: int = 0
    macs: int = 0
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
    """Counts what a configuration costs.

    Args:
        config: a `RegNetConfig`, or a variant's name.
        image_size: side of a square image, or `(height, width)`, in pixels.
        classes: outputs of the classifier.
        channels: channels of the image.
        include_top: whether the classifier counts.

    Raises:
        ValueError: for a size below the network's total stride, and for counts below 1.

    Examples:
        >>> cost = complexity("RegNetX-400MF")
        >>> cost.parameters, cost.macs, cost.activations
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
    """What each part costs: `stem`, `stage_1` and so on, `head`. Arguments as for `complexity`.

    Examples:
        >>> parts = complexity_by_part("RegNetX-400MF")
        >>> list(parts)
        ['stem', 'stage_1', 'stage_2', 'stage_3', 'stage_4', 'head']
        >>> parts["head"].parameters
        385000
    """
    if isinstance(config, str):
        config = get_config(config)
    check("config", config, isinstance(config, RegNetConfig), "a RegNetConfig or a variant's name")
    size: Any = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    check("image_size", image_size, len(size) == 2, "a side or (height, width)")
    for side in size:
        check_int("image_size", side, minimum=1)
        ok = side >= config.total_stride
        check("image_size", side, ok, f"at least {config.total_stride}, the network's total stride")
    check_int("classes", classes, minimum=1)
    check_int("channels", channels, minimum=1)
    parts = count_parts(config, config.stages, size, classes, channels)
    if not include_top:
        del parts["head"]
    return parts


def count_parts(
    config: Any, stages: Iterable, size: tuple[int, int], classes: int, channels: int = 3
) -> dict[str, Complexity]:
    """The counting, without checks.

    Args:
        config: what has `stem_width`, `stem_stride`, `se_ratio` and `normalization`.
        stages: for each stage what has `width`, `depth`, `inner_width`, `groups` and `stride`:
            `StageConfig`, or the same with arrays `(networks,)` for all but the stride.
        size: `(height, width)` of the image.
        classes: outputs of the classifier.
        channels: channels of the image.
    """
    size = strided(size, config.stem_stride)
    parts = {"stem": _conv_norm(config, size, 3, channels, config.stem_width)}
    width_in = config.stem_width
    for number, stage in enumerate(stages, 1):
        first = _block(config, stage, size, width_in, stage.stride)
        size, width_in = strided(size, stage.stride), stage.width
        others = _block(config, stage, size, width_in, 1) * (stage.depth - 1)
        parts[f"stage_{number}"] = first + others
    parts["head"] = _conv((1, 1), 1, width_in, classes, bias=True)
    return parts


def total(parts: Mapping[str, Complexity]) -> Complexity:
    """The sum of a dict of parts."""
    return functools.reduce(Complexity.__add__, parts.values())


def _block(config, stage, size_in, width_in, stride):
    """One block of a stage."""
    size, inner, width = strided(size_in, stride), stage.inner_width, stage.width
    cost = _conv_norm(config, size_in, 1, width_in, inner)
    cost += _conv_norm(config, size, 3, inner, inner, stage.groups)
    if config.se_ratio:
        squeeze = squeeze_width(width_in, config.se_ratio)
        cost += _conv((1, 1), 1, inner, squeeze, bias=True)
        cost += _conv((1, 1), 1, squeeze, inner, bias=True)
    cost += _conv_norm(config, size, 1, inner, width)
    shortcut = _conv_norm(config, size, 1, width_in, width)
    return cost + shortcut * (1 if stride != 1 else width_in != width)


def _conv_norm(config, size, kernel, width_in, width_out, groups=1):
    """A convolution and its normalization; only batch normalization has moving statistics."""
    norm = 2 if config.normalization == "batch" else 0
    conv = _conv(size, kernel, width_in, width_out, groups)
    return conv + Complexity(parameters=2 * width_out, statistics=norm * width_out)


def squeeze_width(width_in: int | np.ndarray, se_ratio: float) -> int | np.ndarray:
    """Channels between the two layers of squeeze-and-excitation: a share of the block's *input*."""
    width = np.maximum(1, np.round(np.multiply(width_in, se_ratio))).astype(int)
    return width if width.ndim else int(width)


def _conv(size, kernel, width_in, width_out, groups=1, bias=False):
    weights = kernel * kernel * (width_in // groups) * width_out
    outputs = math.prod(size) * width_out
    macs = weights * math.prod(size)
    return Complexity(
        parameters=weights + bias * width_out,
        flops=macs + bias * outputs,
        macs=macs,
        activations=outputs,
    )


def strided(size, stride):
    """Output size of a convolution with padding kernel // 2."""
    return tuple(-(-side // stride) for side in size)
