"""RandAugment as timm has it, and TrivialAugment as torchvision has it: random operations.

Keras' `RandAugment` draws one operation for a whole batch and computes all eleven of them, and its
magnitudes are others: not what networks were published with. Here each image has its own
operations, and only these are computed.
"""

import dataclasses
import functools
import re

import tensorflow as tf

from regnet_tf._checks import check

from . import geometry, operations

#: The mean color of ImageNet's photographs.
GRAY = (124.0, 116.0, 104.0)
_BINS = 31


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandAugment:
    """What timm writes as "rand-m9-n2-p0.5-mstd0.5-inc1".

    Attributes:
        magnitude: mean strength of operations, 0 to 10; timm's "m".
        std: standard deviation of the strength, which is cut off at 0 and 10; "mstd".
        count: operations on an image; "n".
        probability: with which each of them is done; "p".
        increasing: whether all operations are the stronger the greater the magnitude; "inc".
    """

    magnitude: float
    std: float
    count: int
    probability: float
    increasing: bool


#: The parts of a RandAugment's name, and the values they may have.
_PARTS = {
    "m": r"\d|10",
    "n": r"[1-9]",
    "p": r"0\.\d+|1(\.0)?",
    "mstd": r"\d{1,2}(\.\d+)?",
    "inc": r"[01]",
}


def check_policy(text):
    """What a recipe's policy stands for.

    Args:
        text: None; "trivial_augment_wide"; or a RandAugment as timm writes it, such as
            "rand-m9-mstd0.5-inc1". Its parts, in any order, may be "m" (0 to 10, 10 by default),
            "n" (1 to 9; 2), "p" (to 1; 0.5), "mstd" (below 100; 0) and "inc" (0 or 1; 0).

    Returns:
        None, the text "trivial_augment_wide", or a `RandAugment`.

    Raises:
        ValueError: naming `policy`.
    """
    if text is None or text == "trivial_augment_wide":
        return text
    values = _parts(text) if isinstance(text, str) else None
    allowed = "None, 'trivial_augment_wide', or like 'rand-m9-mstd0.5-inc1' with m up to 10"
    check("policy", text, values is not None, allowed)
    return RandAugment(
        magnitude=float(values.get("m", 10)),
        std=float(values.get("mstd", 0)),
        count=int(values.get("n", 2)),
        probability=float(values.get("p", 0.5)),
        increasing=values.get("inc") == "1",
    )


def _parts(text):
    """The parts of a RandAugment's name; None for another text."""
    name, *parts = text.split("-")
    values = {}
    for part in parts:
        key = re.match("[a-z]*", part)[0]
        value = part[len(key) :]
        if key not in _PARTS or key in values or not re.fullmatch(_PARTS[key], value):
            return None
        values[key] = value
    return values if name == "rand" else None


#: The operations of `rand_augment`: name -> function of the image; a strength of 0 to 1; the same,
#: or its negative, half of the time each; and the fill. The first is for what is left out. Of some,
#: the effect is the greater the smaller the strength is, or least in the middle.
RAND_AUGMENT = {
    "identity": lambda image, *_: tf.identity(image),
    "autocontrast": lambda image, *_: operations.autocontrast(image),
    "equalize": lambda image, *_: operations.equalize(image),
    "invert": lambda image, *_: operations.invert(image),
    "rotate": lambda image, _, signed, fill: geometry.rotate(image, 30 * signed, fill),
    "posterize": lambda image, level, *_: operations.posterize(image, tf.floor(4 * level)),
    "solarize": lambda image, level, *_: operations.solarize(image, tf.floor(256 * level)),
    "solarize_add": lambda image, level, *_: operations.solarize_add(image, 110 * level),
    "color": lambda image, level, *_: operations.color(image, 0.1 + 1.8 * level),
    "contrast": lambda image, level, *_: operations.contrast(image, 0.1 + 1.8 * level),
    "brightness": lambda image, level, *_: operations.brightness(image, 0.1 + 1.8 * level),
    "sharpness": lambda image, level, *_: operations.sharpness(image, 0.1 + 1.8 * level),
    "shear_x": lambda image, _, signed, fill: geometry.shear_x(image, 0.3 * signed, fill),
    "shear_y": lambda image, _, signed, fill: geometry.shear_y(image, 0.3 * signed, fill),
    "translate_x": lambda image, _, signed, fill: geometry.translate_x(
        image, 0.45 * signed * _side(image, 1), fill
    ),
    "translate_y": lambda image, _, signed, fill: geometry.translate_y(
        image, 0.45 * signed * _side(image, 0), fill
    ),
}
#: The same operations, the effect of all of which increases with the strength.
RAND_AUGMENT_INCREASING = {
    **RAND_AUGMENT,
    "posterize": lambda image, level, *_: operations.posterize(image, 4 - tf.floor(4 * level)),
    "solarize": lambda image, level, *_: operations.solarize(image, 256 - tf.floor(256 * level)),
    "color": lambda image, _, signed, __: operations.color(image, 1 + 0.9 * signed),
    "contrast": lambda image, _, signed, __: operations.contrast(image, 1 + 0.9 * signed),
    "brightness": lambda image, _, signed, __: operations.brightness(image, 1 + 0.9 * signed),
    "sharpness": lambda image, _, signed, __: operations.sharpness(image, 1 + 0.9 * signed),
}
#: The operations of `trivial_augment_wide`, in the same form. Shifts are of whole pixels.
TRIVIAL_AUGMENT_WIDE = {
    "identity": RAND_AUGMENT["identity"],
    "shear_x": lambda image, _, signed, fill: geometry.shear_x(image, 0.99 * signed, fill),
    "shear_y": lambda image, _, signed, fill: geometry.shear_y(image, 0.99 * signed, fill),
    "translate_x": lambda image, _, signed, fill: geometry.translate_x(
        image, _whole(32 * signed), fill
    ),
    "translate_y": lambda image, _, signed, fill: geometry.translate_y(
        image, _whole(32 * signed), fill
    ),
    "rotate": lambda image, _, signed, fill: geometry.rotate(image, 135 * signed, fill),
    "brightness": lambda image, _, signed, __: operations.brightness(image, 1 + 0.99 * signed),
    "color": lambda image, _, signed, __: operations.color(image, 1 + 0.99 * signed),
    "contrast": lambda image, _, signed, __: operations.contrast(image, 1 + 0.99 * signed),
    "sharpness": lambda image, _, signed, __: operations.sharpness(image, 1 + 0.99 * signed),
    "posterize": lambda image, level, *_: operations.posterize(image, 8 - tf.round(6 * level)),
    "solarize": lambda image, level, *_: operations.solarize(image, 255 - 255 * level),
    "autocontrast": RAND_AUGMENT["autocontrast"],
    "equalize": RAND_AUGMENT["equalize"],
}


def _side(image, axis):
    return tf.cast(tf.shape(image)[axis], tf.float32)


def _whole(pixels):
    """Decimals cut off, on either side of 0."""
    return tf.cast(tf.cast(pixels, tf.int32), tf.float32)


def rand_augment(image, seed, spec, fill=GRAY):
    """A few random operations, one after the other.

    From "RandAugment: Practical automated data augmentation with a reduced search space" (Cubuk et
    al., 2020), with timm's operations, magnitudes and noise; the same one may be drawn twice. All
    interpolation is bilinear, where timm by default draws between that and bicubic.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)`; alone decides.
        spec: a `RandAugment`.
        fill: levels of R, G and B for what comes from outside the image; timm takes the mean color.

    Returns:
        uint8 of the same shape.
    """
    table = RAND_AUGMENT_INCREASING if spec.increasing else RAND_AUGMENT
    for draw in zip(*map(tf.unstack, draw_rand_augment(seed, spec)), strict=True):
        image = _apply(table, image, *draw, fill)
    return image


def trivial_augment_wide(image, seed, fill=(0.0, 0.0, 0.0)):
    """One random operation of random strength.

    From "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation" (Müller and Hutter,
    2021), with torchvision's operations and magnitudes. Interpolation is bilinear, as in
    torchvision's training program.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)`; alone decides.
        fill: levels of R, G and B for what comes from outside the image.

    Returns:
        uint8 of the same shape.
    """
    return _apply(TRIVIAL_AUGMENT_WIDE, image, *draw_trivial_augment(seed), fill)


def draw_rand_augment(seed, spec):
    """What `rand_augment` does.

    Args:
        seed: int64 `(2,)`.
        spec: a `RandAugment`.

    Returns:
        `(indices, levels, signed)`, each of shape `(spec.count,)`: indices of the operations in
        `RAND_AUGMENT`, int32; their strengths of 0 to 1, float32; the same or their negatives.
    """
    # All numbers at once: most of the time of small operations is their start.
    which, whether, sides, noise = tf.unstack(tf.random.stateless_uniform([4, spec.count], seed))
    indices = 1 + tf.cast(which * (len(RAND_AUGMENT) - 1), tf.int32)
    indices = tf.where(whether < spec.probability, indices, 0)
    noise = tf.math.ndtri(tf.maximum(noise, 2.0**-24))  # normal, and not of infinity
    levels = tf.clip_by_value(spec.magnitude + spec.std * noise, 0.0, 10.0) / 10
    return indices, levels, tf.where(sides < 0.5, -levels, levels)


def draw_trivial_augment(seed):
    """What `trivial_augment_wide` does.

    Args:
        seed: int64 `(2,)`.

    Returns:
        `(index, level, signed)`, scalars: index of the operation in `TRIVIAL_AUGMENT_WIDE`, int32;
        its strength, one of 31 from 0 to 1, float32; the same or its negative.
    """
    which, strength, side = tf.unstack(tf.random.stateless_uniform([3], seed))
    index = tf.cast(which * len(TRIVIAL_AUGMENT_WIDE), tf.int32)
    level = tf.floor(strength * _BINS) / (_BINS - 1)
    return index, level, tf.where(side < 0.5, -level, level)


def _apply(table, image, index, level, signed, fill):
    """The operation of that index in a table. The others are not computed."""
    inputs = [image, level, signed, tf.constant(fill, tf.float32)]
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in inputs]
    # `tf.switch_case` puts all branches into one graph, where passing over those that are not
    # wanted takes about as long as the one that is.
    return tf.raw_ops.StatelessCase(
        branch_index=index,
        input=inputs,
        Tout=[image.dtype],
        branches=[_traced(change).get_concrete_function(*signature) for change in table.values()],
        output_shapes=[image.shape],
    )[0]


@functools.cache
def _traced(change):
    """The `tf.function` of an operation, the same one each time."""
    return tf.function(change, autograph=False)
