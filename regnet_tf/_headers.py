"""The size of an image in the header of its file, as TensorFlow operations.

A file of a few bytes may claim any number of pixels. So its header is read before its pixels are
decoded, and exactly as the decoder reads it.
"""

import tensorflow as tf

FORMATS = "JPEG, PNG, BMP, GIF or WebP"

#: Zeros behind a GIF, and the bytes that are looked at together.
_WINDOW = 12
#: Blocks of one length are skipped together, at most this number.
_BLOCKS = 512
#: A GIF whose blocks change their lengths more often is taken as incomplete.
_STEPS = 10_000


def kind_of(content):
    """Returns the format of a file by its first bytes, int32: the place in `FORMATS`.

    A file of another format counts as JPEG.
    """
    start = tf.strings.substr(content, 0, 4)
    found = tf.stack(
        [
            tf.constant(True),
            tf.equal(start, b"\x89PNG"),
            tf.equal(tf.strings.substr(content, 0, 2), b"BM"),
            tf.equal(start, b"GIF8"),
            tf.equal(start, b"RIFF"),
        ]
    )
    return tf.cast(tf.reduce_max(tf.where(found)), tf.int32)


def size_of(content):
    """Returns the height and the width of an encoded image, int64 `(2,)`.

    They are 0 if the header is damaged. For a damaged JPEG, TensorFlow may raise an error.
    """
    return (_size_by_kind if tf.executing_eagerly() else _size_in_graph)(content)


def _size_by_kind(content):
    readers = (_jpeg, _png, _bmp, _gif, _webp)
    branches = [lambda reader=reader: reader(content) for reader in readers]
    return tf.switch_case(kind_of(content), branches)


#: Traced once, for all graphs.
_size_in_graph = tf.function(
    _size_by_kind, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


def first_frame(gif):
    """Returns a GIF with its first frame only.

    The decoder would decode all frames into memory, even if only the first one is requested.
    """
    _, end = _walk(gif)
    return tf.strings.join([tf.strings.substr(gif, 0, end), b";"])


def leading_bytes(content, at, count):
    """Returns some bytes near the start of a file; zeros beyond its end."""
    start = tf.strings.substr(content, 0, at + count)
    return tf.strings.substr(tf.strings.join([start, bytes(at + count)]), at, count)


def _jpeg(content):
    def size():
        return tf.cast(tf.io.extract_jpeg_shape(content)[:2], tf.int64)

    return tf.cond(tf.io.is_jpeg(content), size, lambda: tf.zeros([2], tf.int64))


def _png(content):
    size = _values(content, 16, 8)
    # The decoder accepts other chunks before this one, which must be the first.
    first = tf.equal(leading_bytes(content, 8, 8), b"\0\0\0\rIHDR")
    return _size(_number(size[:3:-1]), _number(size[3::-1]), first)


def _bmp(content):
    values = tf.io.decode_raw(leading_bytes(content, 14, 12), tf.int32)
    header_size, width, height = tf.unstack(tf.abs(tf.cast(values, tf.int64)), num=3)
    return _size(height, width, header_size >= 40)


def _webp(content):
    kind, at = leading_bytes(content, 12, 4), _values(content, 20, 10)
    lossless, lossy, extended = (tf.equal(kind, one) for one in (b"VP8L", b"VP8 ", b"VP8X"))
    # The decoder refuses a file whose canvas has another size than its image.
    height, width = 1 + _number(at[7:10]), 1 + _number(at[4:7])
    bits = _number(at[1:5])
    height = tf.where(lossless, 1 + bits // (1 << 14) % (1 << 14), height)
    width = tf.where(lossless, 1 + bits % (1 << 14), width)
    height = tf.where(lossy, _number(at[8:10]) % (1 << 14), height)
    width = tf.where(lossy, _number(at[6:8]) % (1 << 14), width)
    return _size(height, width, lossless | lossy | extended)


def _gif(content):
    return _walk(content)[0]


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _walk(content):
    """Returns the size of a GIF's first frame, and where the frame ends in the file."""
    length = tf.cast(tf.strings.length(content), tf.int64)
    data = tf.concat([tf.io.decode_raw(content, tf.uint8), tf.zeros([_WINDOW], tf.uint8)], 0)

    def window(at):
        return tf.cast(tf.slice(data, [at], [_WINDOW]), tf.int64)

    def table(flags):
        return tf.where(flags >= 128, 6 * 2 ** (flags % 8), 0)

    def next_part(at, size):
        part = window(at)
        image = tf.equal(part[0], ord(","))
        start = at + tf.where(image, 11 + table(part[9]), 2)
        found = tf.where(image, tf.stack([_number(part[7:9]), _number(part[5:7])]), size)
        known = image | tf.equal(part[0], ord("!"))
        return tf.where(known, start, length), known, found

    def next_blocks(at, size):
        count = tf.cast(data[at], tf.int64)
        same = tf.equal(data[at : at + _BLOCKS * (count + 1) : count + 1], data[at])
        blocks = tf.reduce_sum(tf.math.cumprod(tf.cast(same, tf.int64)))
        more = count > 0
        return at + tf.where(more, blocks * (count + 1), 1), more, size

    def step(at, in_blocks, size):
        return tf.cond(in_blocks, lambda: next_blocks(at, size), lambda: next_part(at, size))

    def goes_on(at, in_blocks, size):
        return (at < length) & (in_blocks | tf.reduce_all(size < 0))

    end, _, size = tf.while_loop(
        goes_on,
        step,
        (
            13 + table(_values(content, 10, 1)[0]),
            tf.constant(False),
            tf.constant([-1, -1], tf.int64),
        ),
        maximum_iterations=_STEPS,
    )
    return tf.maximum(size, 0), tf.cast(tf.minimum(end, length), tf.int32)


def _size(height, width, valid):
    return tf.where(valid, tf.stack([height, width]), 0)


def _values(content, at, count):
    values = tf.io.decode_raw(leading_bytes(content, at, count), tf.uint8)
    return tf.cast(tf.reshape(values, [count]), tf.int64)


def _number(values):
    """Returns bytes as an unsigned integer, the lowest byte first."""
    return tf.reduce_sum(values * [1 << 8 * place for place in range(values.shape[0])])
