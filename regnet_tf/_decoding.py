"""Decodes files of images with TensorFlow, equal to Pillow in every pixel, also inside graphs."""

import contextlib
import os
import re
from pathlib import Path

import tensorflow as tf

from regnet_tf._checks import check_choice, check_int
from regnet_tf._errors import printable
from regnet_tf._exif import orientation_of, turn
from regnet_tf._headers import FORMATS, first_frame, kind_of, leading_bytes, size_of

CHANNELS = (1, 3, 4)

#: Pillow's weights of R, G and B in gray levels, in units of 2**-16.
_GRAY_WEIGHTS = (19595, 38470, 7471)


def decode_file(path, channels, exif_orientation, max_pixels):
    """Decodes a file to `(height, width, channels)` uint8; the path may be a string tensor."""
    if tf.is_tensor(path) and not tf.executing_eagerly():
        return decode(tf.io.read_file(path), channels, exif_orientation, max_pixels, "a file")
    path = path.numpy() if tf.is_tensor(path) else os.fspath(path)
    name = f"'{printable(path)}'"
    if Path(os.fsdecode(path)).exists() and not Path(os.fsdecode(path)).is_file():
        raise ValueError(f"{name} cannot be read: it is a folder, a pipe or a device")
    try:
        content = tf.io.read_file(os.fsencode(path))
    except (tf.errors.NotFoundError, UnicodeDecodeError) as error:
        # TensorFlow cannot tell its errors about names that are not UTF-8.
        raise FileNotFoundError(f"There is no file {name}") from error
    except tf.errors.OpError as error:
        raise ValueError(f"{name} cannot be read: {_reason(error)}") from error
    return decode(content, channels, exif_orientation, max_pixels, name)


def decode(image_bytes, channels, exif_orientation, max_pixels, origin, webp=True):
    """Decodes bytes or a scalar string tensor to `(height, width, channels)` uint8.

    Errors name the `origin`. Without `webp`, the graph has no operation for this format.
    """
    check_choice("channels", channels, CHANNELS)
    try:
        with tf.device("/CPU:0"):
            content = limited(tf.convert_to_tensor(image_bytes), max_pixels)
            decoded = _decoded if tf.executing_eagerly() else _decoded_in_graph
            image = decoded(content, 4 if channels == 4 else 3, webp)
            if channels == 1:
                image = _gray(image)
            if exif_orientation:
                image = turn(image, orientation_of(content))
            return tf.ensure_shape(image, [None, None, channels])
    except tf.errors.OpError as error:
        raise ValueError(
            f"An image must be a complete {FORMATS} file. Received: {origin} ({_reason(error)})"
        ) from error


def limited(content, max_pixels):
    """Returns an encoded image as it is; raises an error if its header says that it is too large.

    Args:
        content: content of the file, a string tensor of shape `()`.
        max_pixels: largest allowed number of pixels.

    Raises:
        InvalidArgumentError: TensorFlow's, inside a graph when it runs.
    """
    check_int("max_pixels", max_pixels, minimum=1, maximum=tf.int64.max)
    return with_size(content, size_of(content), max_pixels)


def with_size(content, size, max_pixels):
    """Does what `limited` does, where `size` is the height and the width in the header, int64."""
    with asserted(tf.reduce_min(size) > 0, "It is no image, or its header is damaged"):
        pixels = tf.reduce_prod(size)
    received = tf.strings.format("It has {} x {} pixels", (size[1], size[0]))
    reason = tf.strings.join([received, f", and `max_pixels` allows {max_pixels:,}"])
    with asserted(pixels <= max_pixels, reason):
        return tf.identity(content)


def _reason(error):
    """Returns TensorFlow's message in one line, without the names of its operations."""
    first = error.message.partition("\n")[0]
    return re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name: *$", "", first).strip()


def _decoded(content, channels, webp):
    """Decodes to `(height, width, channels)`, with 3 or 4 channels, by the file's first bytes."""
    decoders = (_jpeg, _png, _bmp, _gif, _webp)[: 5 if webp else 4]
    branches = [lambda decoder=decoder: decoder(content, channels) for decoder in decoders]
    kind = kind_of(content)
    return tf.switch_case(tf.where(kind < len(decoders), kind, 0), branches)


#: Traced once for each number of channels, for all graphs.
_decoded_in_graph = tf.function(_decoded, autograph=False)


def _gray(rgb):
    """Returns gray levels, `(height, width, 1)`."""
    levels = sum(
        tf.cast(rgb[..., place], tf.int32) * weight for place, weight in enumerate(_GRAY_WEIGHTS)
    )
    levels = tf.bitwise.right_shift(levels + (1 << 15), 16)
    return tf.cast(levels, tf.uint8)[..., None]


def _jpeg(content, channels):
    # The default decoding method is faster, but up to 18 levels off.
    rgb = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    return rgb if channels == 3 else _opaque(rgb)


def _png(content, channels):
    if channels == 3:
        return tf.io.decode_png(content, channels=3)

    def of_few_bits():  # TensorFlow makes these transparent, unless the palette has transparency
        image = tf.io.decode_png(content, channels=0)
        opaque = _opaque(tf.io.decode_png(content, channels=3))
        return tf.cond(tf.shape(image)[-1] == 4, lambda: image, lambda: opaque)

    bits = tf.io.decode_raw(leading_bytes(content, 24, 1), tf.uint8)[0]
    return tf.cond(bits < 8, of_few_bits, lambda: tf.io.decode_png(content, channels=4))


def _gif(content, channels):
    rgb = tf.io.decode_image(first_frame(content), channels=3, expand_animations=False)
    return rgb if channels == 3 else _opaque(rgb)


def _webp(content, channels):
    flags = tf.io.decode_raw(leading_bytes(content, 20, 1), tf.uint8)[0]
    animated = tf.equal(leading_bytes(content, 12, 4), b"VP8X") & (flags & 2 > 0)
    # TensorFlow's decoder writes beyond its memory for animations.
    with asserted(~animated, "It is an animated WebP"):
        image = tf.io.decode_webp(content, channels=0)[0]  # 3 channels, or 4 with transparency
    if channels == 3:
        return image[..., :3]
    return tf.cond(tf.shape(image)[-1] == 4, lambda: image, lambda: _opaque(image))


def _bmp(content, channels):
    """Decodes a BMP; TensorFlow ignores palettes, and does not check how pixels are coded."""
    header = tf.io.decode_raw(leading_bytes(content, 10, 24), tf.int32)
    pixels, size, _, _, bits, compression = tf.unstack(header, num=6)
    bits = tf.bitwise.right_shift(bits, 16)
    usual = tf.equal(leading_bytes(content, 54, 12), b"\0\0\xff\0\0\xff\0\0\xff\0\0\0")
    plain = (compression == 0) | ((compression == 3) & (bits == 32) & usual)
    plain &= (bits == 8) | (bits == 24) | (bits == 32)
    whole = (size >= 40) & (size <= 124) & (pixels >= 14 + size)
    whole &= pixels <= tf.strings.length(content)
    with asserted(
        plain & whole, "It is a BMP that is damaged, compressed or not of 8, 24 or 32 bits"
    ):
        image = tf.io.decode_bmp(content)

    def colors():
        entries = tf.strings.substr(content, 14 + size, pixels - size - 14)
        entries = tf.io.decode_raw(entries, tf.uint8, fixed_length=4 * 256)  # the rest is black
        palette = tf.reshape(entries, [256, 4])[:, 2::-1]
        return tf.gather(palette, tf.cast(image[..., 0], tf.int32))

    rgb = tf.cond(bits == 8, colors, lambda: image[..., :3])
    return rgb if channels == 3 else _opaque(rgb)


def asserted(ok, reason):
    """Context manager for operations that run only if `ok`."""
    if not tf.executing_eagerly():
        return tf.control_dependencies([tf.debugging.Assert(ok, [reason])])
    if not ok:
        text = reason.numpy().decode() if tf.is_tensor(reason) else reason
        raise tf.errors.InvalidArgumentError(None, None, text)
    return contextlib.nullcontext()


def _opaque(rgb):
    """Adds a fourth channel without transparency."""
    alpha = tf.fill(tf.concat([tf.shape(rgb)[:2], [1]], 0), tf.constant(255, tf.uint8))
    return tf.concat([rgb, alpha], -1)
