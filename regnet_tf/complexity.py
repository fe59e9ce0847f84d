"""Parameters, flops and activations of a configuration, by arithmetic; numpy only."""

import dataclasses
import math

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
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Complexity(*(a + b for a, b in zip(mine, others, strict=True)))


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
    """
    if isinstance(config, str):
        config = get_config(config)
    check("config", config, isinstance(config, RegNetConfig), "a RegNetConfig or a variant's name")
    size = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    check("image_size", image_size, len(size) == 2, "a side or (height, width)")
    for side in size:
        check_int("image_size", side, minimum=1)
        ok = side >= config.total_stride
        check("image_size", side, ok, f"at least {config.total_stride}, the network's total stride")
    check_int("classes", classes, minimum=1)
    check_int("channels", channels, minimum=1)

    norm = 2 if config.normalization == "batch" else 0  # moving statistics per channel

    def conv_norm(size, kernel, width_in, width_out, groups=1):
        conv = _conv(size, kernel, width_in, width_out, groups)
        return conv + Complexity(parameters=2 * width_out, statistics=norm * width_out)

    size = _strided(size, config.stem_stride)
    total = conv_norm(size, 3, channels, config.stem_width)
    width_in = config.stem_width
    for stage in config.stages:
        inner = stage.inner_width
        for block in range(stage.depth):
            stride = stage.stride if block == 0 else 1
            size_in, size = size, _strided(size, stride)
            total += conv_norm(size_in, 1, width_in, inner)
            total += conv_norm(size, 3, inner, inner, stage.groups)
            if config.se_ratio:
                squeeze = squeeze_width(width_in, config.se_ratio)
                total += _conv((1, 1), 1, inner, squeeze, bias=True)
                total += _conv((1, 1), 1, squeeze, inner, bias=True)
            total += conv_norm(size, 1, inner, stage.width)
            if stride != 1 or width_in != stage.width:
                total += conv_norm(size, 1, width_in, stage.width)
            width_in = stage.width
    if include_top:
        total += _conv((1, 1), 1, width_in, classes, bias=True)
    return total


def squeeze_width(width_in: int, se_ratio: float) -> int:
    """Channels between the two layers of squeeze-and-excitation: a share of the block's *input*."""
    return max(1, round(width_in * se_ratio))


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


def _strided(size, stride):
    """Output size of a convolution with padding kernel // 2."""
    return tuple(-(-side // stride) for side in size)
