"""Crops for training: a random part of an image or the whole of it, at the network's size."""

import tensorflow as tf

from regnet_tf._checks import check_choice
from regnet_tf.preprocessing import INTERPOLATIONS, decode_image

from .boxes import Box, random_box

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


def random_resized_crop(image, seed, image_size, area=AREA, ratio=RATIO, interpolation="bilinear"):
    """A part of random area, shape and position (see `crop_box`), resized to a square.

    Args:
        image: uint8 `(height, width, 3)`, or an encoded file, a string scalar. Of a JPEG little
            more than the part is decoded.
        seed: int64 `(2,)`; alone decides the part.
        image_size: side of the result in pixels.
        area: `(least, most)` share of the image's area.
        ratio: `(least, most)` width divided by height.
        interpolation: see `resize`.

    Returns:
        float32 `(image_size, image_size, 3)`, levels of 0 to 255, not rounded.

    Raises:
        ValueError: for another `interpolation`. TensorFlow's, when run, for what is no image.
    """
    part = _cut(image, lambda shape: crop_box(shape, seed, area, ratio))
    return resize(part, image_size, interpolation)


def crop_box(image_shape, seed, area=AREA, ratio=RATIO):
    """A random part of an image, as torchvision's `RandomResizedCrop` and timm draw it.

    The first of ten random boxes that fits, else the largest one in the middle whose shape is
    allowed. Known as "Inception" crops, from "Going Deeper with Convolutions" (Szegedy et al.,
    2014), section 6. pycls draws the ratio, not its logarithm, uniformly, and falls back to the
    crop that it tests with.

    Args:
        image_shape: `(height, width)`, an int32 tensor of shape `(2,)`, in pixels.
        seed: int64 `(2,)`; alone decides.
        area: `(least, most)` share of the image's area; uniform.
        ratio: `(least, most)` width divided by height; its logarithm is uniform.

    Returns:
        A `Box` of at least one pixel.
    """
    fits, box = random_box(image_shape, seed, area, ratio)
    fallback = _middle(image_shape, ratio)
    return Box(*(tf.where(fits, *pair) for pair in zip(box, fallback, strict=True)))


def whole_image(image, image_size, interpolation="bilinear"):
    """The whole image, resized to a square.

    Args:
        image: uint8 `(height, width, 3)`, or an encoded file, a string scalar.
        image_size: side of the result in pixels.
        interpolation: see `resize`.

    Returns:
        float32 `(image_size, image_size, 3)`, levels of 0 to 255, not rounded.

    Raises:
        ValueError: for another `interpolation`. TensorFlow's, when run, for what is no image.
    """
    image = decode_image(image) if image.dtype == tf.string else image
    return resize(image, image_size, interpolation)


def random_flip(image, seed):
    """The image, or with probability 0.5 its mirror image, left for right.

    Args:
        image: `(height, width, channels)`.
        seed: int64 `(2,)`; alone decides.

    Returns:
        Tensor of the same shape and dtype.
    """
    return tf.image.stateless_random_flip_left_right(image, seed)


def resize(image, image_size, interpolation):
    """An image resized to a square.

    Args:
        image: uint8 `(height, width, 3)`.
        image_size: side of the result in pixels.
        interpolation: as `regnet_tf.Preprocessing` has it: "bilinear" and "bicubic" are antialiased
            and within a level of Pillow's; "pycls" is bilinear without antialiasing, which takes a
            quarter of the time.

    Returns:
        float32 `(image_size, image_size, 3)`, levels of 0 to 255, not rounded.

    Raises:
        ValueError: for another `interpolation`.
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    method = "bicubic" if interpolation == "bicubic" else "bilinear"
    size = (image_size, image_size)

    def resized(antialias):
        return tf.image.resize(image, size, method, antialias=antialias)

    if interpolation == "pycls":
        return resized(antialias=False)
    # Antialiasing changes nothing where no side shrinks, but is slow all the same.
    shrinks = tf.reduce_any(tf.shape(image)[:2] > image_size)
    levels = tf.cond(shrinks, lambda: resized(antialias=True), lambda: resized(antialias=False))
    return tf.clip_by_value(levels, 0.0, 255.0) if method == "bicubic" else levels


def _cut(image, box_of):
    """The part of an image that `box_of` its shape asks for, uint8 `(height, width, 3)`."""
    if image.dtype != tf.string:
        return _slice(image, box_of)
    return tf.cond(
        tf.io.is_jpeg(image),
        lambda: _decode_and_cut(image, box_of),
        lambda: _slice(decode_image(image), box_of),
    )


def _slice(image, box_of):
    box = box_of(tf.shape(image)[:2])
    part = image[box.top : box.top + box.height, box.left : box.left + box.width]
    return tf.ensure_shape(part, [None, None, 3])


def _decode_and_cut(image_bytes, box_of):
    shape = tf.io.extract_jpeg_shape(image_bytes)
    box = box_of(shape[:2])
    # Most JPEGs have half as many colors as pixels. With a pixel more on either side, they are
    # interpolated as in the whole image.
    left = tf.maximum(box.left - 1, 0)
    right = tf.minimum(box.left + box.width + 1, shape[1])
    # The default method of decoding is no faster, and not Pillow's.
    part = tf.image.decode_and_crop_jpeg(
        image_bytes,
        tf.stack([box.top, left, box.height, right - left]),
        channels=3,
        dct_method="INTEGER_ACCURATE",
    )
    part = part[:, box.left - left : box.left - left + box.width]
    return tf.ensure_shape(part, [None, None, 3])


def _middle(shape, ratio):
    """The largest box in the middle of an image whose sides are in an allowed ratio."""
    height, width = shape[0], shape[1]
    high, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    box_height = tf.minimum(height, tf.cast(tf.round(wide / ratio[0]), tf.int32))
    box_width = tf.minimum(width, tf.cast(tf.round(high * ratio[1]), tf.int32))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)
