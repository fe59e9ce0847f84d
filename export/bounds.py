"""The bounds that an export must keep: how far its answers may be from the Keras model's.

They are absolute, so an export that repeats its own error does not pass.
"""

import math
from typing import NamedTuple

from regnet_tf._markdown import markdown_table

from .checks import Checks

#: Decisions that may always change, since few images would otherwise allow none.
_CHANGED = 1
#: Points of accuracy, in percent, that an export may lack of what its run found. Chance comes on
#: top: three standard errors of the images' number.
LOST_POINTS = 5.0


class Bound(NamedTuple):
    """The bound of one kind of file.

    Attributes:
        probabilities: largest allowed difference of a probability. For `QUANTIZED` files it must
            hold for 99 % of the images or pixels: rounding moves a few that lie between classes.
        features: largest allowed difference of a feature, relative to the largest one.
        changed: largest allowed share of changed decisions, in percent; see `Checks.compare`.
    """

    probabilities: float
    features: float
    changed: float


#: By precision. Files in float32 differ by the order of sums alone. Trained networks for digits
#: differed by 0.002 in float16, 0.03 in dynamic_range and 0.05 in int8; the bounds are about ten
#: times that, for deeper networks and more classes.
BOUNDS = {
    "float32": Bound(1e-4, 1e-4, 0.0),
    "float16": Bound(0.02, 0.01, 1.0),
    "dynamic_range": Bound(0.3, 0.2, 5.0),
    "int8": Bound(0.6, 0.5, 10.0),
}
#: Files with weights of 8 bits.
QUANTIZED = ("dynamic_range", "int8")
#: For all files of a Keras model that computes in 16 bits; exports compute in 32.
SHORT_FLOATS = Bound(0.1, 0.1, 2.0)


def faults(precision: str, compared: dict, checks: Checks) -> list[str]:
    """Lists the bounds that a file does not keep, one line each.

    Args:
        precision: the file's precision, a key of `BOUNDS`.
        compared: result of `Checks.compare`.
        checks: the `export.checks.Checks`.
    """
    bound = BOUNDS[precision]
    if checks.short_floats:
        bound = Bound(*map(max, bound, SHORT_FLOATS))
    allowed = bound.probabilities if checks.classifier else bound.features * checks.scale
    found = []
    largest = "usual_difference" if precision in QUANTIZED else "max_difference"
    for key, where in ((largest, ""), ("photographs", " on whole photographs")):
        if not compared.get(key, 0.0) <= allowed:
            found.append(
                f"differs from the Keras model by {compared[key]:.1e}{where}, allowed are"
                f" {allowed:.1e}"
            )
    if checks.classifier:
        most = max(bound.changed, 100 * _CHANGED / checks.decisions)
        if not compared["changed"] <= most:
            found.append(
                f"changes {compared['changed']:.2f} % of the decisions, allowed are {most:.2f} %"
            )
    return found


def lost_accuracy(known: float | None, checks: Checks) -> str | None:
    """Returns a line if an export is less accurate than its run was, else None.

    Args:
        known: accuracy of the run in percent; None if unknown.
        checks: the `export.checks.Checks`, whose images come from the run's test images.
    """
    if known is None or checks.accuracy is None:
        return None
    share = known / 100
    chance = 100 * 3 * math.sqrt(share * (1 - share) / len(checks.images))
    if known - checks.accuracy <= LOST_POINTS + chance:
        return None
    return (
        f"The accuracy is {checks.accuracy:.2f} % on {len(checks.images)} images of the run's test,"
        f" where the run found {known:.2f} %. Likely causes: images that are normalized twice or"
        " not at all (--mean, --std, --scale), or classes in another order."
    )


def table() -> str:
    """Returns the bounds as a markdown table."""
    rows = [
        [name, f"{bound.probabilities:g}", f"{bound.features:g}", f"{bound.changed:g}"]
        for name, bound in {**BOUNDS, "any, of a 16-bit Keras model": SHORT_FLOATS}.items()
    ]
    columns = [
        *("precision", "largest difference of a probability (8 bits: of 99 %)"),
        *("of a feature, relative to the largest", "changed decisions (%)"),
    ]
    return markdown_table(columns, rows)
