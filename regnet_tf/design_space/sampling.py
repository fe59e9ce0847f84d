"""Sampling of networks with costs within given windows; numpy only."""

from typing import Any

import numpy as np

from regnet_tf._checks import MAX_WIDTH, check, check_int, check_number
from regnet_tf._errors import UserError
from regnet_tf.design_space.spaces import DesignSpace, check_image_size
from regnet_tf.variants import RegNetConfig

BATCH = 8192  # networks drawn at once; fixed, so that a longer list begins with the shorter one
TRIES = 2_000_000
MAX_COUNT = 100_000  # networks; the paper samples 500


def sample(
    space: DesignSpace,
    count: int,
    *,
    seed: int,
    flops: tuple[float, float] | None = None,
    parameters: tuple[float, float] | None = None,
    activations: tuple[float, float] | None = None,
    image_size: int | None = None,
    classes: int = 1000,
    channels: int = 3,
    tries: int = TRIES,
    least: int | None = None,
) -> list[RegNetConfig]:
    """Draws distinct networks of a design space, until enough lie within the windows.

    It builds no network: costs are counted on arrays. The paper draws 500 networks of 360 to 400
    million flops from each space (section 3.1).

    Args:
        space: design space to draw from.
        count: number of networks, at most 100,000.
        seed: the same seed gives the same list, and a longer list begins with the shorter one.
        flops: `(minimum, maximum)`, as `complexity(...).flops` counts them; None for any.
        parameters: `(minimum, maximum)`, or None for any.
        activations: `(minimum, maximum)`, or None for any.
        image_size: height and width of the images, in pixels; by default the space's `image_size`.
        classes: number of outputs of the head.
        channels: channels of the images.
        tries: give up after this number of consecutive draws without a new network within the
            windows.
        least: number of networks that is enough when it gives up; `count` by default.

    Raises:
        ValueError: if an argument is out of range; the message names it.
        UserError: if too few networks are found; it gives the windows and the range of costs seen.

    Examples:
        >>> from regnet_tf import complexity
        >>> from regnet_tf.design_space import REGNETX
        >>> configs = sample(REGNETX, 3, seed=0, flops=(360e6, 400e6))
        >>> all(360e6 <= complexity(config).flops <= 400e6 for config in configs)
        True
        >>> configs[:2] == sample(REGNETX, 2, seed=0, flops=(360e6, 400e6))
        True
    """
    check("space", space, isinstance(space, DesignSpace), "a DesignSpace")
    check_count(space, count)
    check_int("seed", seed, minimum=0)
    check_int("classes", classes, minimum=1, maximum=MAX_WIDTH)
    check_int("channels", channels, minimum=1, maximum=MAX_WIDTH)
    check_int("tries", tries, minimum=1)
    if least is not None:
        check_int("least", least, minimum=0, maximum=count)
    image_size = space.image_size if image_size is None else image_size
    check_image_size(image_size, space)
    windows = {"flops": flops, "parameters": parameters, "activations": activations}
    windows = {name: window for name, window in windows.items() if window is not None}
    for name, window in windows.items():
        check_window(name, window)

    rng = np.random.default_rng(seed)
    seen = {name: (np.inf, -np.inf) for name in windows}
    found: list[RegNetConfig] = []
    keys: set[bytes] = set()
    barren = 0  # draws without a new network
    while len(found) < count:
        drawn = space.draw(rng, BATCH)
        candidates = _within(drawn, windows, (image_size, classes, channels), seen)
        rows = _new_rows(candidates.keys, keys)[: count - len(found)]
        found += candidates[np.array(rows, int)].configs()
        barren = 0 if rows else barren + BATCH
        if barren >= tries and least is not None and len(found) >= least:
            break
        if barren >= tries:
            raise UserError(_too_few(space, count, len(found), barren, windows, seen))
    return found


def check_count(space: DesignSpace, count: int) -> None:
    """Raises ValueError unless a space may have this number of different networks."""
    check_int("count", count, minimum=0, maximum=MAX_COUNT)
    allowed = f"at most {space.size:,}, the number of settings of {space.name}"
    check("count", count, count <= space.size, allowed)


def check_window(name: str, window: Any) -> None:
    """Raises ValueError unless `window` is a pair of least and most costs."""
    ok = isinstance(window, (tuple, list)) and len(window) == 2
    check(name, window, ok, "None or (least, most)")
    for end in window:
        check_number(name, end, minimum=0)
    check(name, window, window[0] <= window[1], "(least, most) in this order")


def _within(candidates, windows, setting, seen):
    """Returns the candidates within all windows; extends `seen` by the costs of all candidates.

    `setting` is the size of the images, the number of classes, and the channels of the images.
    """
    if not windows or not len(candidates):
        return candidates
    costs = candidates.complexity(*setting)
    inside = np.ones(len(candidates), bool)
    for name, (low, high) in windows.items():
        values = getattr(costs, name)
        inside &= (values >= low) & (values <= high)
        seen[name] = min(seen[name][0], values.min()), max(seen[name][1], values.max())
    return candidates[inside]


def _new_rows(candidate_keys, keys):
    """Returns the rows of networks that are not in `keys` yet, and adds their keys."""
    rows = []
    for row, key in enumerate(candidate_keys):
        if key not in keys:
            keys.add(key)
            rows.append(row)
    return rows


def _too_few(space, count, found, draws, windows, seen):
    spans = {
        name: f"from {low:,.0f} to {high:,.0f} (seen: {{:,.0f}} to {{:,.0f}})".format(*seen[name])
        for name, (low, high) in windows.items()
    }
    wished = ", ".join(f"{name} {span}" for name, span in spans.items())
    return (
        f"Found {found} of {count} different networks of {space.name}"
        f"{' with ' if wished else ''}{wished}; the last {draws:,} draws brought no new one."
    )
