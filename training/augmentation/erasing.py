"""Random erasing: overwrites a random box of a normalized image."""

import tensorflow as tf

from regnet_tf._checks import check_choice

from .boxes import random_box
from .branches import case

#: mode -> ranges of the box' share of the image's area, and of its width divided by its height.
_SHAPES = {
    "zero": ((0.02, 0.33), (1 / 3.3, 1 / 0.3)),
    "pixel": ((0.02, 1 / 3), (0.3, 1 / 0.3)),
}
ERASING_MODES = tuple(_SHAPES)


def random_erasing(image, seed, probability, mode="zero"):
    """Overwrites a random box of an image with the given probability.

    From "Random Erasing Data Augmentation" (Zhong et al., 2017). Apply it after normalization, so
    that 0 is the mean color.

    Args:
        image: float32 `(height, width, channels)`, normalized.
        seed: int64 `(2,)`; determines the result.
        probability: probability of erasing.
        mode: "zero" for zeros, with the box sizes of torchvision's `RandomErasing`; "pixel" for
            noise of standard deviation 1, with the box sizes of timm's mode "pixel".

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: if `mode` is unknown.
    """
    check_choice("erasing_mode", mode, ERASING_MODES)
    whether, where, what = tf.unstack(tf.random.split(seed, 3))

    def erased(image, where, what):
        fits, box = random_box(tf.shape(image)[:2], where, *_SHAPES[mode], least=0, margin=1)
        return tf.cond(fits, lambda: _overwritten(image, box, what, mode), lambda: image)

    erase = tf.random.stateless_uniform([], whether) < probability
    return case(erase, [lambda image, *_: image, erased], image, where, what)


def _overwritten(image, box, seed, mode):
    height, width, channels = tf.unstack(tf.shape(image))
    size = tf.stack([box.height, box.width, channels])
    below, right = height - box.top - box.height, width - box.left - box.width
    around = [[box.top, below], [box.left, right], [0, 0]]
    result = image * tf.pad(tf.zeros(size), around, constant_values=1.0)
    if mode == "pixel":
        result += tf.pad(tf.random.stateless_normal(size, seed), around)
    return tf.ensure_shape(result, image.shape)
