"""Decodes images and adapts their channels."""

import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf.preprocessing import MAX_PIXELS, decode_image

# Pillow's weights of R, G and B for gray, in 65536ths.
_GRAY = (19595, 38470, 7471)


def decoded(image, channels=3, exif_orientation=False, max_pixels=MAX_PIXELS):
    """Returns an image of a split's examples with a number of channels.

    Args:
        image: content of a file, a string tensor of shape `()`; or an image in memory, uint8
            `(height, width, channels)`. RGB becomes gray, and gray RGB, as in Pillow.
        channels: 1 for gray, 3 for RGB, 4 for RGBA; an image in memory may have any number.
        exif_orientation: whether to turn the image as the EXIF metadata in its file says.
        max_pixels: largest number of pixels in an encoded file.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        UserError: if an image in memory has other channels and is neither gray nor RGB.
    """
    if image.dtype == tf.string:
        return decode_image(image, channels, exif_orientation, max_pixels)
    there_are = image.shape[-1]
    if there_are == channels:
        return image
    if there_are == 3 and channels == 1:
        levels = tf.reduce_sum(tf.cast(image, tf.int32) * _GRAY, -1, keepdims=True)
        return tf.cast((levels + (1 << 15)) // (1 << 16), tf.uint8)
    if there_are == 1 and channels == 3:
        return tf.repeat(image, 3, axis=-1)
    raise UserError(
        f"`images.channels` must be {there_are} for these images, or 1 or 3 for gray or RGB ones."
        f" Received: images.channels={channels}"
    )
