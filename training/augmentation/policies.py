"""RandAugment as in timm, and TrivialAugment as in torchvision.

Here, operations are drawn for each image, and only these operations are computed. Keras'
`RandAugment` draws one operation per batch, computes all eleven, and has other magnitudes. So it
does not match the training of published networks.
"""

import dataclasses
import functools
import re

import tensorflow as tf

from regnet_tf._checks import check

from . import geometry, operations
from .branches import case

#: The mean color of ImageNet's photographs.
GRAY = (124.0, 116.0, 104.0)
_BINS = 31


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandAugment:
    """The parameters of RandAugment; in timm's notation "rand-m9-n2-p0.5-mstd0.5-inc1".

    Attributes:
        magnitude: mean strength of operations, 0 to 10; timm's "m".
        std: standard deviation of the strength, which is clipped to 0 to 10; "mstd".
        count: number of operations per image; "n".
        probability: probability of applying each operation; "p".
        increasing: whether the effect of all operations increases with the magnitude; "inc".
    """

    magnitude: float
    std: float
    count: int
    probability: float
    increasing: bool


#: The parts of a RandAugment's name, and patterns of their values.
_PARTS = {
    "m": r"\d|10",
    "n": r"[1-9]",
    "p": r"0\.\d+|1(\.0)?",
    "mstd": r"\d{1,2}(\.\d+)?",
    "inc": r"[01]",
}


def check_policy(text, name="policy"):
    """Parses the policy of a recipe.

    Args:
        text: None; "trivial_augment_wide"; or a RandAugment in timm's notation, such as
            "rand-m9-mstd0.5-inc1". The parts may have any order: "m" (0 to 10, by default 10), "n"
            (1 to 9, by default 2), "p" (up to 1, by default 0.5), "mstd" (below 100, by default 0)
            and "inc" (0 or 1, by default 0).
        name: name of the argument in errors.

    Returns:
        None, the text "trivial_augment_wide", or a `RandAugment`.

    Raises:
        ValueError: if the policy is invalid.
    """
    if text is None or text == "trivial_augment_wide":
        return text
    parts = _parts(text) if isinstance(text, str) else None
    allowed = "None, 'trivial_augment_wide', or like 'rand-m9-mstd0.5-inc1' with m up to 10"
    check(name, text, parts is not None, allowed)
    values = parts or {}
    return RandAugment(
        magnitude=float(values.get("m", 10)),
        std=float(values.get("mstd", 0)),
        count=int(values.get("n", 2)),
        probability=float(values.get("p", 0.5)),
        increasing=values.get("inc") == "1",
    )


def _parts(text):
    """Returns the parts of a RandAugment's name, or None for another text."""
    name, *parts = text.split("-")
    values: dict[str, str] = {}
    for part in parts:
        key = re.split("[^a-z]", part, maxsplit=1)[0]
        value = part[len(key) :]
        if key not in _PARTS or key in values or not re.fullmatch(_PARTS[key], value):
            return None
        values[key] = value
    return values if name == "rand" else None


#: The operations of `rand_augment`: name -> function of the image; a strength from 0 to 1; the same
#: strength with a random sign; and the fill. The first operation replaces skipped ones. The effect
#: of some operations decreases with the strength, or is smallest for a medium strength.
RAND_AUGMENT = {
    "identity": lambda image, *others: tf.identity(image),
    "autocontrast": lambda image, *others: operations.autocontrast(image),
    "equalize": lambda image, *others: operations.equalize(image),
    "invert": lambda image, *others: operations.invert(image),
    "rotate": lambda image, level, signed, fill: geometry.rotate(image, 30 * signed, fill),
    "posterize": lambda image, level, *others: operations.posterize(image, tf.floor(4 * level)),
    "solarize": lambda image, level, *others: operations.solarize(image, tf.floor(256 * level)),
    "solarize_add": lambda image, level, *others: operations.solarize_add(image, 110 * level),
    "color": lambda image, level, *others: operations.color(image, 0.1 + 1.8 * level),
    "contrast": lambda image, level, *others: operations.contrast(image, 0.1 + 1.8 * level),
    "brightness": lambda image, level, *others: operations.brightness(image, 0.1 + 1.8 * level),
    "sharpness": lambda image, level, *others: operations.sharpness(image, 0.1 + 1.8 * level),
    "shear_x": lambda image, level, signed, fill: geometry.shear_x(image, 0.3 * signed, fill),
    "shear_y": lambda image, level, signed, fill: geometry.shear_y(image, 0.3 * signed, fill),
    "translate_x": lambda image, level, signed, fill: geometry.translate_x(
        image, 0.45 * signed * _side(image, 1), fill
    ),
    "translate_y": lambda image, level, signed, fill: geometry.translate_y(
        image, 0.45 * signed * _side(image, 0), fill
    ),
}
#: The same operations; here the effect of all of them increases with the strength.
RAND_AUGMENT_INCREASING = {
    **RAND_AUGMENT,
    "posterize": lambda image, level, *others: operations.posterize(image, 4 - tf.floor(4 * level)),
    "solarize": lambda image, level, *others: operations.solarize(
        image, 256 - tf.floor(256 * level)
    ),
    "color": lambda image, level, signed, fill: operations.color(image, 1 + 0.9 * signed),
    "contrast": lambda image, level, signed, fill: operations.contrast(image, 1 + 0.9 * signed),
    "brightness": lambda image, level, signed, fill: operations.brightness(image, 1 + 0.9 * signed),
    "sharpness": lambda image, level, signed, fill: operations.sharpness(image, 1 + 0.9 * signed),
}
#: The operations of `trivial_augment_wide`, in the same form. Shifts are by whole pixels.
TRIVIAL_AUGMENT_WIDE = {
    "identity": RAND_AUGMENT["identity"],
    "shear_x": lambda image, level, signed, fill: geometry.shear_x(image, 0.99 * signed, fill),
    "shear_y": lambda image, level, signed, fill: geometry.shear_y(image, 0.99 * signed, fill),
    "translate_x": lambda image, level, signed, fill: geometry.translate_x(
        image, _whole(32 * signed), fill
    ),
    "translate_y": lambda image, level, signed, fill: geometry.translate_y(
        image, _whole(32 * signed), fill
    ),
    "rotate": lambda image, level, signed, fill: geometry.rotate(image, 135 * signed, fill),
    "brightness": lambda image, level, signed, fill: operations.brightness(
        image, 1 + 0.99 * signed
    ),
    "color": lambda image, level, signed, fill: operations.color(image, 1 + 0.99 * signed),
    "contrast": lambda image, level, signed, fill: operations.contrast(image, 1 + 0.99 * signed),
    "sharpness": lambda image, level, signed, fill: operations.sharpness(image, 1 + 0.99 * signed),
    "posterize": lambda image, level, *others: operations.posterize(image, 8 - tf.round(6 * level)),
    "solarize": lambda image, level, *others: operations.solarize(image, 255 - 255 * level),
    "autocontrast": RAND_AUGMENT["autocontrast"],
    "equalize": RAND_AUGMENT["equalize"],
}


def _side(image, axis):
    return tf.cast(tf.shape(image)[axis], tf.float32)


def _whole(pixels):
    """Truncates toward 0."""
    return tf.cast(tf.cast(pixels, tf.int32), tf.float32)


def rand_augment(image, seed, spec, fill=GRAY):
    """Applies a few random operations in sequence.

    From "RandAugment: Practical automated data augmentation with a reduced search space" (Cubuk et
    al., 2020), with timm's operations, magnitudes and noise. Operations are sampled with
    replacement. Interpolation is always bilinear; timm by default draws bilinear or bicubic.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)`; determines the result.
        spec: a `RandAugment`.
        fill: RGB levels for the area outside the image; timm uses the mean color.

    Returns:
        uint8 of the same shape.
    """
    table = RAND_AUGMENT_INCREASING if spec.increasing else RAND_AUGMENT
    draws = map(tf.unstack, draw_rand_augment(seed, spec))
    for index, level, signed in zip(*draws, strict=True):
        image = _apply(table, image, index, level, signed, fill)
    return image


def trivial_augment_wide(image, seed, fill=(0.0, 0.0, 0.0)):
    """Applies one random operation of random strength.

    From "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation" (Müller and Hutter,
    2021), with torchvision's operations and magnitudes. Interpolation is bilinear, as in
    torchvision's training program.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)`; determines the result.
        fill: RGB levels for the area outside the image.

    Returns:
        uint8 of the same shape.
    """
    index, level, signed = draw_trivial_augment(seed)
    return _apply(TRIVIAL_AUGMENT_WIDE, image, index, level, signed, fill)


def draw_rand_augment(seed, spec):
    """Draws the operations and strengths of `rand_augment`.

    Args:
        seed: int64 `(2,)`.
        spec: a `RandAugment`.

    Returns:
        `(indices, levels, signed)`, each of shape `(spec.count,)`: indices of the operations in
        `RAND_AUGMENT`, int32; their strengths from 0 to 1, float32; the same with random signs.
    """
    # Draw all random numbers in one operation, as small operations are dominated by overhead.
    which, whether, sides, noise = tf.unstack(tf.random.stateless_uniform([4, spec.count], seed))
    indices = 1 + tf.cast(which * (len(RAND_AUGMENT) - 1), tf.int32)
    indices = tf.where(whether < spec.probability, indices, 0)
    noise = tf.math.ndtri(tf.maximum(noise, 2.0**-24))  # normal; the minimum avoids infinity
    levels = tf.clip_by_value(spec.magnitude + spec.std * noise, 0.0, 10.0) / 10
    return indices, levels, tf.where(sides < 0.5, -levels, levels)


def draw_trivial_augment(seed):
    """Draws the operation and strength of `trivial_augment_wide`.

    Args:
        seed: int64 `(2,)`.

    Returns:
        `(index, level, signed)`, scalars: index of the operation in `TRIVIAL_AUGMENT_WIDE`, int32;
        its strength, one of 31 from 0 to 1, float32; the same with a random sign.
    """
    which, strength, side = tf.unstack(tf.random.stateless_uniform([3], seed))
    index = tf.cast(which * len(TRIVIAL_AUGMENT_WIDE), tf.int32)
    level = tf.floor(strength * _BINS) / (_BINS - 1)
    return index, level, tf.where(side < 0.5, -level, level)


def _apply(table, image, index, level, signed, fill):
    """Applies the operation at an index of a table. The others are not computed."""
    branches = [_traced(change) for change in table.values()]
    return case(index, branches, image, level, signed, tf.constant(fill, tf.float32))


@functools.cache
def _traced(change):
    """Returns the `tf.function` of an operation, cached."""

    def named(image, level, signed, fill):  # TensorFlow warns of arguments called `_`
        return change(image, level, signed, fill)

    return tf.function(named, autograph=False)
