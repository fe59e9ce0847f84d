"""RegNets for a budget of flops; numpy only."""

import math

from regnet_tf._checks import check_int, check_number
from regnet_tf.costs import complexity
from regnet_tf.design_space.named import REGNETX, REGNETY
from regnet_tf.design_space.sampling import MAX_COUNT, sample
from regnet_tf.design_space.spaces import check_image_size
from regnet_tf.variants import RegNetConfig

TOLERANCE = 0.02
_PIXELS = 224**2  # image size of the limits below
_NETWORKS = 50
_TRIES = 500_000
_LARGE = 16e9  # flops at 224 pixels; above it, pycls advises wider ranges for w_0, w_a and g


def limits(flops: float, image_size: int = 224) -> tuple[float, float]:
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
    tolerance: float = TOLERANCE,
    count: int = 5,
    seed: int = 0,
) -> list[RegNetConfig]:
    """Returns RegNets with nearly these flops, nearest first.

    It draws 50 networks within the tolerance from RegNetX or RegNetY, with the paper's final
    constraints, four stages and `limits`. It sorts them by the distance of their flops from the
    budget. Only training can tell which one is best: the paper trains 25 of them for each variant.

    Args:
        flops: the budget, as `complexity` counts flops.
        se_ratio: 0 for RegNetX; 0.25 for RegNetY.
        image_size: height and width of the images, in pixels.
        classes: number of outputs of the head.
        tolerance: maximum relative difference from the budget.
        count: number of networks to return.
        seed: the same seed gives the same networks.

    Raises:
        UserError: if too few networks are found.
    """
    check_number("flops", flops, above=0)
    check_number("tolerance", tolerance, above=0, below=1)
    check_int("count", count, minimum=1, maximum=MAX_COUNT)
    check_image_size(image_size, REGNETX)
    space = (REGNETY if se_ratio else REGNETX).replace(se_ratio=se_ratio)
    if flops * _PIXELS / image_size**2 > _LARGE:
        space = space.replace(
            initial_widths=(8, 512), width_slopes=(8.0, 512.0), group_widths=range(8, 257, 8)
        )
    parameters, activations = limits(flops, image_size)
    found = sample(
        space,
        max(count, _NETWORKS),
        seed=seed,
        flops=(flops * (1 - tolerance), flops * (1 + tolerance)),
        parameters=(0, parameters),
        activations=(0, activations),
        image_size=image_size,
        classes=classes,
        tries=_TRIES,
    )
    costs = [complexity(config, image_size, classes=classes).flops for config in found]
    order = sorted(range(len(found)), key=lambda place: abs(costs[place] - flops))
    return [found[place] for place in order[:count]]
