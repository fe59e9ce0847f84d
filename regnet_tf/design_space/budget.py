"""RegNets for a budget of flops; numpy only."""

import math
from collections.abc import Mapping
from typing import Any

from regnet_tf._checks import check_int, check_number
from regnet_tf.costs import complexity
from regnet_tf.design_space.named import REGNETX, REGNETY
from regnet_tf.design_space.regnet import RegNetSpace
from regnet_tf.design_space.sampling import MAX_COUNT, sample
from regnet_tf.design_space.spaces import check_image_size
from regnet_tf.variants import RegNetConfig

TOLERANCE = 0.02
_PIXELS = 224**2  # image size of the limits below
_NETWORKS = 50
_TRIES = 500_000
_LARGE = 16e9  # flops at 224 pixels; above it, pycls advises wider ranges for w_0, w_a and g


def limits(flops: float, image_size: float = 224) -> tuple[float, float]:
    """Returns the maximum parameters and activations of a good network with these flops.

    With F in 10^9 flops at 224 pixels, they are 3 + 5.5 F million and 6.5 sqrt(F) million. Source:
    the lower plots of the paper's figure 12; the formulas are from pycls' `sweep/config.py`.
    """
    scale = image_size**2 / _PIXELS
    billions = flops / scale / 1e9
    return 1e6 * (3 + 5.5 * billions), 1e6 * 6.5 * math.sqrt(billions) * scale


def regnets_of(
    flops: float,
    *,
    se_ratio: float = 0.0,
    image_size: int = 224,
    classes: int = 1000,
    channels: int = 3,
    tolerance: float = TOLERANCE,
    count: int = 5,
    seed: int = 0,
    max_parameters: float | None = None,
    max_activations: float | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[RegNetConfig]:
    """Returns RegNets with nearly these flops, nearest first.

    It draws up to 50 networks within the tolerance from RegNetX or RegNetY, with the paper's final
    constraints, four stages and `limits`. It sorts them by the distance of their flops from the
    budget. Only training can tell which one is best: the paper trains 25 of them for each variant.

    Args:
        flops: the budget, as `complexity` counts flops.
        se_ratio: 0 for RegNetX; 0.25 for RegNetY.
        image_size: height and width of the images, in pixels.
        classes: number of outputs of the head.
        channels: channels of the images.
        tolerance: maximum relative difference from the budget.
        count: number of networks to return.
        seed: the same seed gives the same networks.
        max_parameters: maximum parameters; those of `limits` by default.
        max_activations: maximum activations; those of `limits` by default.
        changes: fields of the `RegNetSpace` to change, such as `{"stages": 3, "depths": (3, 12)}`.
            A stem of stride 1 counts as images of twice the size for the default limits.

    Raises:
        ValueError: if an argument is out of range; the message names it.
        UserError: if too few networks are found.

    Examples:
        >>> config, *_ = design_space.regnets_of(400e6, se_ratio=0.25)
        >>> regnet_tf.complexity(config).flops
        399999690
    """
    check_number("flops", flops, above=0)
    check_number("tolerance", tolerance, above=0, below=1)
    check_int("count", count, minimum=1, maximum=MAX_COUNT)
    for name, most in (("max_parameters", max_parameters), ("max_activations", max_activations)):
        if most is not None:
            check_number(name, most, above=0)
    check_int("image_size", image_size, minimum=1)
    space = _space(flops, se_ratio, image_size, dict(changes or {}))
    check_image_size(image_size, space)
    parameters, activations = limits(flops, _seen_size(space, image_size))
    found = sample(
        space,
        max(count, _NETWORKS),
        seed=seed,
        flops=(flops * (1 - tolerance), flops * (1 + tolerance)),
        parameters=(0, max_parameters or parameters),
        activations=(0, max_activations or activations),
        image_size=image_size,
        classes=classes,
        channels=channels,
        tries=_TRIES,
        least=count,
    )
    costs = [
        complexity(config, image_size, classes=classes, channels=channels).flops for config in found
    ]
    order = sorted(range(len(found)), key=lambda place: abs(costs[place] - flops))
    return [found[place] for place in order[:count]]


def _space(flops: float, se_ratio: float, image_size: int, changes: dict) -> RegNetSpace:
    """Returns the space to draw from: RegNetX or RegNetY, wider for large budgets, changed."""
    base = (REGNETY if se_ratio else REGNETX).replace(se_ratio=se_ratio)
    space = base.replace(**changes)
    if flops * _PIXELS / _seen_size(space, image_size) ** 2 <= _LARGE:
        return space
    wide = {"initial_widths": (8, 512), "width_slopes": (8.0, 512.0)}
    return base.replace(**{**wide, "group_widths": range(8, 257, 8), **changes})


def _seen_size(space: RegNetSpace, image_size: int) -> float:
    """Returns the side of the images with which the paper's stem gives the same maps."""
    return image_size * 2 / space.stem_stride
