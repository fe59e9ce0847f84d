"""The orientation in the EXIF metadata of images, as TensorFlow operations.

JPEG, PNG and WebP files are sequences of chunks, one of which may hold EXIF: a TIFF file without
pixels. Damaged metadata is ignored: what lies beyond the end of the file reads as nothing.
"""

import tensorflow as tf

_EXIF = b"Exif\0\0"
#: Start of the entry, in the byte order of Motorola: tag 0x0112, of type 3 (16 bits), one value.
_ORIENTATION = (1, 0x12, 0, 3, 0, 0, 0, 1)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def orientation_of(content):
    """Returns the EXIF orientation of an encoded image, int64: 1 to 8, and 1 if it has none."""
    with tf.device("/CPU:0"):
        data = tf.io.decode_raw(content, tf.uint8)
        start = tf.strings.substr(content, 0, 4)
        tiff = tf.case(
            [
                (tf.equal(start, b"\x89PNG"), lambda: _find(data, 8, _png_chunk)),
                (tf.equal(start, b"RIFF"), lambda: _find(data, 12, _webp_chunk)),
                (
                    tf.equal(tf.strings.substr(start, 0, 2), b"\xff\xd8"),
                    lambda: _find(data, 2, _segment),
                ),
            ],
            default=lambda: tf.constant(-1, tf.int64),
        )
        return tf.cond(tiff < 0, lambda: tf.constant(1, tf.int64), lambda: _read(data, tiff))


def turn(image, orientation):
    """Returns an image, `(height, width, channels)`, turned upright from an EXIF orientation."""

    def is_one_of(*orientations):
        return tf.reduce_any(orientation == tf.constant(orientations, tf.int64))

    image = tf.cond(is_one_of(5, 6, 7, 8), lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down, mirrored = is_one_of(3, 4, 7, 8), is_one_of(2, 3, 6, 7)
    return tf.reverse(image, tf.boolean_mask([0, 1], tf.stack([upside_down, mirrored])))


def _number(data, at, count, little=False):
    """Reads an unsigned integer of `count` bytes; missing bytes are zeros."""
    part = tf.cast(data[at : at + count], tf.int64)
    part = tf.pad(part, [[0, count - tf.size(part, tf.int64)]])
    part = tf.cond(tf.convert_to_tensor(little), lambda: part, lambda: tf.reverse(part, [0]))
    return tf.reduce_sum(tf.bitwise.left_shift(part, 8 * tf.range(count, dtype=tf.int64)))


def _holds(data, at, text):
    """Returns whether bytes are found at a position."""
    part = data[at : at + len(text)]
    whole = tf.equal(tf.size(part), len(text))
    return tf.cond(whole, lambda: tf.reduce_all(part == list(text)), lambda: tf.constant(False))


def _find(data, first, chunk):
    """Returns the position of the TIFF file in an image, or -1.

    Args:
        data: bytes of the image.
        first: position of the first chunk.
        chunk: function from the data and a chunk's position to the position of the TIFF file in it,
            or -1, and the position of the next chunk.
    """
    size = tf.size(data, tf.int64)

    def step(at, tiff):
        tiff, following = chunk(data, at)
        return tf.maximum(following, at + 1), tiff

    _, tiff = tf.while_loop(
        lambda at, tiff: (tiff < 0) & (at < size),
        step,
        (tf.constant(first, tf.int64), tf.constant(-1, tf.int64)),
    )
    # WebP and PNG files may have the prefix of JPEG, too.
    return tf.where(_holds(data, tiff, _EXIF), tiff + len(_EXIF), tiff)


def _segment(data, at):
    """A segment of a JPEG: a marker of 2 bytes, the length of what follows, the content."""
    marker, length = _number(data, at, 2), _number(data, at + 2, 2)
    holds = (marker == 0xFFE1) & _holds(data, at + 4, _EXIF)
    tiff = tf.where(holds, at + 4, tf.constant(-1, tf.int64))
    padded = marker == 0xFFFF
    ends = (marker < 0xFF00) | (marker == 0xFFDA)  # the pixels follow
    following = tf.where(padded, at + 1, at + 2 + length)
    return tiff, tf.where(ends, tf.size(data, tf.int64), following)


def _png_chunk(data, at):
    """A chunk of a PNG: the content's length, a tag of 4 bytes, the content, a checksum."""
    tiff = tf.where(_holds(data, at + 4, b"eXIf"), at + 8, tf.constant(-1, tf.int64))
    return tiff, at + 12 + _number(data, at, 4)


def _webp_chunk(data, at):
    """A chunk of a WebP: a tag of 4 bytes, the content's length, the content padded to 2 bytes."""
    tiff = tf.where(_holds(data, at, b"EXIF"), at + 8, tf.constant(-1, tf.int64))
    length = _number(data, at + 4, 4, little=True)
    return tiff, at + 8 + length + length % 2


def _read(data, tiff):
    """Returns the orientation in a TIFF file: the last entry of this tag in its first directory."""
    little = _holds(data, tiff, b"II")
    known = little | _holds(data, tiff, b"MM")
    known = known & (_number(data, tiff + 2, 2, little) == 42)
    directory = tiff + _number(data, tiff + 4, 4, little)
    entries = data[directory + 2 : directory + 2 + 12 * _number(data, directory, 2, little)]
    count = tf.size(entries) // 12
    entries = tf.cast(tf.reshape(entries[: 12 * count], [count, 12]), tf.int64)
    order = tf.where(little, tf.constant([1, 0, 3, 2, 7, 6, 5, 4, 9, 8]), tf.range(10))
    entries = tf.gather(entries, order, axis=1)
    found = tf.reduce_all(entries[:, :8] == tf.constant(_ORIENTATION, tf.int64), axis=1) & known
    values = tf.boolean_mask(entries[:, 8] * 256 + entries[:, 9], found)
    value = tf.concat([[1], values], 0)[-1]
    return tf.where((value >= 1) & (value <= 8), value, tf.constant(1, tf.int64))
