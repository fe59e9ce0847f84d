"""The orientation in the EXIF metadata of images, as TensorFlow operations.

JPEG, PNG and WebP files are sequences of chunks, one of which may hold EXIF: a TIFF file without
pixels. Damaged metadata is ignored: what lies beyond the end of the file reads as nothing.
"""

import tensorflow as tf

_EXIF = b"Exif\0\0"
#: Start of the entry, in the byte order of Motorola: tag 0x0112, of type 3 (16 bits), one value.
_ORIENTATION = (1, 0x12, 0, 3, 0, 0, 0, 1)
#: Zeros behind the file, and the bytes that are looked at together.
_WINDOW = 12


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def orientation_of(content):
    """Returns the EXIF orientation of an encoded image, int64: 1 to 8, and 1 if it has none."""
    with tf.device("/CPU:0"):
        data = tf.io.decode_raw(content, tf.uint8)
        data = tf.concat([data, tf.zeros([_WINDOW], tf.uint8)], 0)
        start = tf.strings.substr(content, 0, 4)
        jpeg = tf.equal(tf.strings.substr(content, 0, 2), b"\xff\xd8")
        tiff = tf.case(
            [
                (jpeg, lambda: _find(data, 2, _segment)),
                (tf.equal(start, b"\x89PNG"), lambda: _find(data, 8, _png_chunk)),
                (tf.equal(start, b"RIFF"), lambda: _find(data, 12, _webp_chunk)),
            ],
            default=lambda: tf.constant(-1, tf.int64),
        )
        return tf.cond(tiff < 0, lambda: tf.constant(1, tf.int64), lambda: _read(data, tiff))


def turn(image, orientation):
    """Returns an image, `(height, width, channels)`, turned upright from an EXIF orientation."""

    def is_one_of(*orientations):
        return tf.reduce_any(orientation == tf.constant(orientations, tf.int64))

    def turned():
        turned = tf.cond(
            is_one_of(5, 6, 7, 8), lambda: tf.transpose(image, [1, 0, 2]), lambda: image
        )
        upside_down, mirrored = is_one_of(3, 4, 7, 8), is_one_of(2, 3, 6, 7)
        return tf.reverse(turned, tf.boolean_mask([0, 1], tf.stack([upside_down, mirrored])))

    return tf.cond(is_one_of(1), lambda: image, turned)


def _window(data, at):
    """Returns the bytes from a position on, int64; zeros beyond the end."""
    at = tf.clip_by_value(at, 0, tf.size(data, tf.int64) - _WINDOW)
    return tf.cast(tf.slice(data, [at], [_WINDOW]), tf.int64)


def _number(part, little=False):
    """Reads some bytes as an unsigned integer."""
    part = tf.where(little, part[::-1], part)
    return tf.reduce_sum(part * [1 << 8 * i for i in reversed(range(part.shape[0]))])


def _is(part, text):
    """Returns whether some bytes are a text."""
    return tf.reduce_all(part == list(text))


def _find(data, first, chunk):
    """Returns the position of the TIFF file in an image, or -1.

    Args:
        data: bytes of the image.
        first: position of the first chunk.
        chunk: function from the first bytes of a chunk to whether it holds EXIF, the position of
            the content in it, and the number of bytes to the next chunk.
    """
    size = tf.size(data, tf.int64) - _WINDOW

    def step(at, tiff):
        holds, content, length = chunk(_window(data, at))
        return at + tf.maximum(length, 1), tf.where(holds, at + content, tiff)

    _, tiff = tf.while_loop(
        lambda at, tiff: (tiff < 0) & (at < size),
        step,
        (tf.constant(first, tf.int64), tf.constant(-1, tf.int64)),
    )
    # WebP and PNG files may have the prefix of JPEG, too.
    prefixed = _is(_window(data, tiff)[: len(_EXIF)], _EXIF)
    return tf.where((tiff >= 0) & prefixed, tiff + len(_EXIF), tiff)


def _segment(start):
    """A segment of a JPEG: a marker of 2 bytes, the length of what follows, the content."""
    marker, length = _number(start[:2]), _number(start[2:4])
    holds = (marker == 0xFFE1) & _is(start[4:10], _EXIF)
    padding = marker == 0xFFFF
    last = (marker < 0xFF00) | (marker == 0xFFDA)  # the pixels follow
    length = tf.where(last, tf.int64.max // 2, 2 + length)
    return holds, 4, tf.where(padding, tf.constant(1, tf.int64), length)


def _png_chunk(start):
    """A chunk of a PNG: the content's length, a tag of 4 bytes, the content, a checksum."""
    return _is(start[4:8], b"eXIf"), 8, 12 + _number(start[:4])


def _webp_chunk(start):
    """A chunk of a WebP: a tag of 4 bytes, the content's length, the content padded to 2 bytes."""
    length = _number(start[4:8], little=True)
    return _is(start[:4], b"EXIF"), 8, 8 + length + length % 2


def _read(data, tiff):
    """Returns the orientation in a TIFF file: the last entry of this tag in its first directory."""
    header = _window(data, tiff)
    little = _is(header[:2], b"II")
    known = (little | _is(header[:2], b"MM")) & (_number(header[2:4], little) == 42)
    directory = tiff + _number(header[4:8], little)
    count = _number(_window(data, directory)[:2], little)
    entries = data[:-_WINDOW][directory + 2 : directory + 2 + 12 * count]
    count = tf.size(entries) // 12
    entries = tf.cast(tf.reshape(entries[: 12 * count], [count, 12]), tf.int64)
    order = tf.where(little, [1, 0, 3, 2, 7, 6, 5, 4, 9, 8], list(range(10)))
    entries = tf.gather(entries, order, axis=1)
    found = tf.reduce_all(entries[:, :8] == tf.constant(_ORIENTATION, tf.int64), axis=1) & known
    values = tf.boolean_mask(entries[:, 8] * 256 + entries[:, 9], found)
    value = tf.concat([[1], values], 0)[-1]
    return tf.where((value >= 1) & (value <= 8), value, tf.constant(1, tf.int64))
