"""Maps of classes: reads them from PNG files, and resizes and crops them like their images."""

import struct
import zlib

import numpy as np
import tensorflow as tf

from regnet_tf._decoding import limited
from regnet_tf.preprocessing import MAX_PIXELS, Preprocessing

#: The value of a pixel that has no class, or that no one knows.
IGNORED = 255

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE, _GRAY_ALPHA = 0, 3, 4  # color types of PNG files
_COLORS = {2: "RGB", 6: "RGBA"}


def decode_map(content: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes a PNG file whose pixels are indices of classes: levels of gray or of a palette.

    TensorFlow would return the colors of a palette, and spread 1, 2 and 4 bits over 0 to 255. So
    the file is first declared as gray.

    Args:
        content: content of the file, a string tensor of shape `()`.
        max_pixels: largest number of pixels in the file.

    Returns:
        uint8 `(height, width)`. With fewer than 8 bits, no value is `IGNORED`.

    Raises:
        ValueError: if the file is damaged, too large, or no PNG of this kind. In a graph,
            TensorFlow raises `InvalidArgumentError` when the graph runs.
    """
    gray, step = tf.numpy_function(_as_gray, [content], (tf.string, tf.uint8), stateful=False)
    gray = limited(tf.ensure_shape(gray, []), max_pixels)
    levels = tf.io.decode_png(gray, channels=1)[..., 0]
    return tf.ensure_shape(levels // tf.ensure_shape(step, []), [None, None])


def _as_gray(content):
    """Returns a PNG file as a gray one, and the difference of the decoded levels of two indices."""
    content = np.asarray(content, object).item()  # outside of a graph, it is an array
    try:
        if content[:8] != _SIGNATURE or content[12:16] != b"IHDR":
            raise ValueError("A map of classes must be a PNG file.")
        depth, color = content[24], content[25]
        if color in _COLORS or depth > 8:
            kind = _COLORS.get(color, f"{depth} bits")
            raise ValueError(
                f"A map of classes must be gray or have a palette, of at most 8 bits. Received:"
                f" {kind}"
            )
        parts = [_SIGNATURE]
        for name, data in _chunks(content):
            if name == b"IHDR" and color == _PALETTE:
                data = data[:9] + bytes([_GRAY]) + data[10:]
            if name not in (b"PLTE", b"tRNS"):
                checked = name + data
                parts += [struct.pack(">I", len(data)), checked]
                parts.append(struct.pack(">I", zlib.crc32(checked)))
    except (IndexError, struct.error) as error:
        raise ValueError("The PNG file is incomplete.") from error
    step = 1 if color == _GRAY_ALPHA else 255 // (2**depth - 1)
    return b"".join(parts), np.uint8(step)


def _chunks(content):
    """Yields `(name, data)` of the parts of a PNG file; raises ValueError for a damaged one."""
    place = 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        name, end = content[place + 4 : place + 8], place + 8 + length
        data = content[place + 8 : end]
        if struct.pack(">I", zlib.crc32(name + data)) != content[end : end + 4]:
            raise ValueError("The PNG file is damaged or incomplete.")
        yield name, data
        place = end + 4


def cropped_map(pixels: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Resizes and crops a map as `Preprocessing.resize_and_crop` does with the image.

    Args:
        pixels: uint8 `(height, width)`.
        preprocessing: a `regnet_tf.Preprocessing`.

    Returns:
        uint8 `(image_size, image_size)`, with the nearest pixels; `IGNORED` beside the image.
    """
    size = tf.shape(pixels, tf.int64)
    resized = size * preprocessing.shorter_side // tf.reduce_min(size)
    side, pycls = preprocessing.image_size, preprocessing.interpolation == "pycls"
    rows, columns = (_sources(size[axis], resized[axis], side, pycls) for axis in (0, 1))
    exists = (rows >= 0)[:, None] & (columns >= 0)[None]
    crop = tf.gather(tf.gather(pixels, tf.maximum(rows, 0)), tf.maximum(columns, 0), axis=1)
    return tf.ensure_shape(tf.where(exists, crop, tf.cast(IGNORED, crop.dtype)), [side, side])


def _sources(size, resized, side, pycls):
    """Returns the source of each pixel of the crop along an axis; -1 beside the image."""
    half = tf.cast(resized - side, tf.float64) / 2.0
    # As in `regnet_tf._images`: pycls, and padding: the odd pixel goes last.
    up = pycls | (half < 0)
    first = tf.cast(tf.where(up, tf.math.ceil(half), tf.round(half)), tf.int64)
    place = first + tf.range(side, dtype=tf.int64)
    source = (2 * place + 1) * size // (2 * resized)
    return tf.where((place >= 0) & (place < resized), source, -1)
