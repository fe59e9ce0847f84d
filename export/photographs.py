"""Whole photographs as encoded files, to check the road from a file to the answer."""

import numpy as np
import tensorflow as tf

from regnet_tf._decoding import CHANNELS

#: Height and width of made photographs, relative to the network's image size: landscape, portrait,
#: smaller than the network's images, square, and a panorama.
_SHAPES = ((1.3, 1.9), (2.2, 1.4), (0.7, 0.9), (1.0, 1.0), (1.1, 3.0))
_COARSE = 6


def made_images(count: int, size: int, channels: int) -> np.ndarray:
    """Returns smooth random pictures, uint8 `(count, size, size, channels)`."""
    coarse = np.random.default_rng(0).uniform(-40, 295, (count, _COARSE, _COARSE, channels))
    return _resized(coarse, (size, size))


def made_photographs(images: np.ndarray) -> list[bytes]:
    """Returns JPEG and PNG files of several shapes.

    Args:
        images: uint8 `(count, size, size, channels)`; each is stretched to another shape.

    Returns:
        List of files. It is empty if files cannot have so many channels.
    """
    size, channels = images.shape[-2:]
    if channels not in CHANNELS:
        return []
    files = []
    for number, (height, width) in enumerate(_SHAPES):
        shape = round(height * size), round(width * size)
        picture = _resized(images[number % len(images)], shape)
        files.append(encoded(picture) if number % 2 else tf.io.encode_png(picture).numpy())
    return files


def encoded(image: np.ndarray) -> bytes:
    """Returns a uint8 image as a JPEG file, or as PNG if it has transparency."""
    encode = tf.io.encode_png if image.shape[-1] == 4 else tf.io.encode_jpeg
    return encode(image).numpy()


def _resized(images, shape):
    levels = tf.image.resize(images, shape, "bicubic")
    return np.clip(np.round(levels), 0, 255).astype("uint8")
