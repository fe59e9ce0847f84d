"""Random boxes for "Inception" crops and random erasing."""

import math
from typing import NamedTuple

import tensorflow as tf

#: Number of attempts to draw a box that fits, as in torchvision, timm and pycls.
TRIES = 10


class Box(NamedTuple):
    """A part of an image; int32 scalars, in pixels."""

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def random_box(image_shape, seed, area, ratio, least=1, margin=0):
    """Draws `TRIES` random boxes and returns the first one that fits into an image.

    Args:
        image_shape: `(height, width)`, an int32 tensor of shape `(2,)`, in pixels.
        seed: int64 `(2,)`; determines the box.
        area: `(least, most)` share of the image's area; uniform.
        ratio: `(least, most)` width divided by height; its logarithm is uniform.
        least: smallest side of the box in pixels.
        margin: minimum difference between the sides of the image and of the box, in pixels.

    Returns:
        `(fits, box)`: whether one of the boxes fits, and a `Box` at a random position in the image.
        Ignore the box if none fits.
    """
    # Draw all random numbers in one operation, as small operations are dominated by overhead.
    numbers = tf.random.stateless_uniform([2 * TRIES + 2], seed)
    areas, ratios, position = tf.split(numbers, [TRIES, TRIES, 2])
    pixels = tf.cast(tf.reduce_prod(tf.cast(image_shape, tf.int64)), tf.float32)
    areas = pixels * (area[0] + (area[1] - area[0]) * areas)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    ratios = tf.exp(low + (high - low) * ratios)
    sides = tf.stack([tf.sqrt(areas / ratios), tf.sqrt(areas * ratios)], axis=1)
    sides = tf.cast(tf.round(sides), tf.int32)  # (TRIES, 2)

    fits = tf.reduce_all((sides >= least) & (sides <= image_shape - margin), axis=1)
    side = tf.gather(sides, tf.argmax(fits))  # the first True
    places = tf.cast(image_shape - side + 1, tf.float32)
    corner = tf.cast(tf.floor(position * places), tf.int32)
    return tf.reduce_any(fits), Box(corner[0], corner[1], side[0], side[1])
