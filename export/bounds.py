"""The bounds that an export must keep: how far its answers may be from the Keras model's.

They are absolute, so an export that repeats its own error does not pass.
"""

import math
from typing import NamedTuple

from regnet_tf._markdown import markdown_table

from .checks import Checks

#: Decisions that may always differ, since two classes can have equal probabilities.
_TIES = 1
#: Points of accuracy, in percent, that an export may lack of what its run found. Chance comes on
#: top: three standard errors of the images' number.
LOST_POINTS = 5.0


class Bound(NamedTuple):
    """The bound of one kind of file.

    Attributes:
        probabilities: largest allowed difference of a probability.
        features: largest allowed difference of a feature, relative to the largest one.
        agreement: smallest allowed share of decisions that equal the Keras model's, in percent.
    """

    probabilities: float
    features: float
    agreement: float


#: By file. float32 differs by the order of sums alone. 16-bit weights have 11 significant bits and
#: 8-bit weights 8; a few layers add up such errors, and dozens can move a doubtful image from one
#: class to another. So 8-bit files are held by the share of equal decisions.
BOUNDS = {
    "SavedModel": Bound(1e-4, 1e-4, 99.0),
    "float32": Bound(1e-4, 1e-4, 99.0),
    "float16": Bound(0.03, 0.01, 98.0),
    "dynamic_range": Bound(0.5, 0.25, 90.0),
    "int8": Bound(0.8, 0.5, 80.0),
}
#: For all files of a Keras model that computes in 16 bits; exports compute in 32.
SHORT_FLOATS = Bound(0.05, 0.05, 95.0)


def faults(name: str, compared: dict, checks: Checks) -> list[str]:
    """Lists the bounds that a file does not keep, one line each.

    Args:
        name: name of the file, a key of `BOUNDS`.
        compared: result of `Checks.compare`.
        checks: the `export.checks.Checks`.
    """
    found = []
    bound = BOUNDS[name]
    if checks.short_floats:
        bound = Bound(*map(max, bound[:2], SHORT_FLOATS[:2]), min(bound[2], SHORT_FLOATS[2]))
    for key, what in (("max_difference", ""), ("photographs", " on whole photographs")):
        allowed = bound.probabilities if checks.classifier else bound.features * checks.scale
        if compared.get(key) is not None and not compared[key] <= allowed:
            found.append(
                f"differs from the Keras model by {compared[key]:.1e}{what}, allowed are"
                f" {allowed:.1e}"
            )
    if checks.classifier:
        share = compared["top1_agreement"]
        others = round((100 - share) / 100 * checks.decisions)
        if others > max(_TIES, (100 - bound.agreement) / 100 * checks.decisions):
            found.append(
                f"decides as the Keras model in {share:.2f} %, at least {bound.agreement:g} % are"
                " required"
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
        [name, f"{bound.probabilities:g}", f"{bound.features:g}", f"{bound.agreement:g}"]
        for name, bound in {**BOUNDS, "any, of a 16-bit Keras model": SHORT_FLOATS}.items()
    ]
    columns = [
        *("file", "largest difference of a probability"),
        *("of a feature, relative to the largest", "same decisions (%)"),
    ]
    return markdown_table(columns, rows)
