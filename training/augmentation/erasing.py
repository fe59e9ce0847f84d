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

    def unchanged(image, where, what):
        del where, what  # the names of arguments become names in the graph
        return image

    erase = tf.random.stateless_uniform([], whether) < probability
    return case(erase, [unchanged, erased], image, where, what)


def _overwritten(image, box, seed, mode):
    bottom, right = box.top + box.height, box.left + box.width
    size = tf.stack([box.height, box.width, tf.shape(image)[2]])
    inside = tf.random.stateless_normal(size, seed) if mode == "pixel" else tf.zeros(size)
    # Copies of parts are several times faster than a mask.
    rows = image[box.top : bottom]
    rows = tf.concat([rows[:, : box.left], inside, rows[:, right:]], axis=1)
    result = tf.concat([image[: box.top], rows, image[bottom:]], axis=0)
    return tf.ensure_shape(result, image.shape)
