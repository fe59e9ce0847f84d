"""Shears, shifts and rotations of an image, with bilinear interpolation as in Pillow.

Images are uint8 `(height, width, 3)`. `fill`, float32 `(3,)`, is the RGB color outside the image.
Results differ from Pillow's `Image.transform` and `Image.rotate` by at most one level, except for
single pixels at the very edge.

TensorFlow's `ImageProjectiveTransformV3` takes twice as long for shears and shifts. It also blends
with the fill at the edge and has a single fill level for all channels.
"""

import math

import tensorflow as tf


def shear_x(image, factor, fill):
    """Moves row y to the left by `factor * y` pixels (torchvision calls this an angle)."""
    return _move(image, factor * _middles(image, 0), 1, fill)


def shear_y(image, factor, fill):
    """Moves column x up by `factor * x` pixels."""
    return _move(image, factor * _middles(image, 1), 0, fill)


def translate_x(image, pixels, fill):
    """Moves the image to the right by a number of pixels, which may be fractional."""
    return _shift(image, pixels, 1, fill)


def translate_y(image, pixels, fill):
    """Moves the image down by a number of pixels, which may be fractional."""
    return _shift(image, pixels, 0, fill)


def rotate(image, degrees, fill):
    """Rotates the image counterclockwise around its center."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    high, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    angle = tf.cast(degrees, tf.float32) * (math.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    y = _middles(image, 0)[:, None] - high / 2

    def sources(x):
        """Returns the source coordinates of these columns' pixels, measured from the corner."""
        x = x - wide / 2
        return cosine * x + (wide / 2 - sine * y), sine * x + (high / 2 + cosine * y)

    def split(point, size):
        """Returns the last pixel whose center is before the point, and the distance from it."""
        point = tf.clip_by_value(point - 0.5, 0.0, size - 1)
        pixel = tf.floor(point)
        return pixel, point - pixel

    x = _middles(image, 1)
    u, v = sources(x)
    inside = (u >= 0) & (u < wide) & (v >= 0) & (v < high)
    left, top = (tf.cast(split(*pair)[0], tf.int32) for pair in ((u, wide), (v, high)))
    index = tf.where(inside, top * width + left, height * width)
    # Recompute the coordinates for each channel, as repeating values is slow in TensorFlow.
    u, v = sources(tf.repeat(x, 3))
    _, right_share = split(u, wide)
    _, lower_share = split(v, high)

    look_up = _look_up(image, fill)
    upper, lower = (
        _between(look_up(at), look_up(at + 1), right_share) for at in (index, index + width)
    )
    return tf.reshape(_truncated(_between(upper, lower, lower_share)), tf.shape(image))


def _shift(image, pixels, axis, fill):
    """Moves all lines along an axis by the same number of pixels."""
    offset = -tf.cast(pixels, tf.float32)
    size = tf.shape(image)[axis]
    nearest = tf.clip_by_value(_floor(offset + 0.5), -size, size)
    before, after = tf.maximum(-nearest, 0), tf.maximum(nearest, 0)  # pixels of the fill
    # Beyond the center of an edge pixel, the edge pixel replaces its missing neighbour.
    edges = [_part(image, 0, 1, axis), image, _part(image, size - 1, size, axis)]
    padded = tf.concat(edges, axis)
    start = before + tf.clip_by_value(_floor(offset), -size - 1, size) + 1

    def pixels_from(start):
        return tf.cast(_part(padded, start, start + size - before - after, axis), tf.float32)

    moved = _between(pixels_from(start), pixels_from(start + 1), offset - tf.floor(offset))
    around = [_filled(image, count, axis, fill) for count in (before, after)]
    moved = tf.concat([around[0], _truncated(moved), around[1]], axis)
    return tf.ensure_shape(moved, image.shape)


def _part(image, start, stop, axis):
    return image[:, start:stop] if axis else image[start:stop]


def _filled(image, count, axis, fill):
    """Returns `count` lines of the fill, across an axis of the image."""
    shape = tf.shape(image)
    height, width = (shape[0], count) if axis else (count, shape[1])
    row = tf.tile(tf.cast(fill, tf.uint8), width[None])
    return tf.reshape(tf.tile(row, height[None]), [height, width, 3])


def _move(image, offset, axis, fill):
    """Shifts each line along an axis; each pixel comes from `offset` pixels further along."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    size = tf.shape(image)[axis]
    nearest = tf.floor(offset + 0.5)
    # First interpolate within each line, then look up whole pixels: look-ups take the longest.
    share = offset - nearest
    share = share[:, None] if axis else tf.repeat(share, 3)[None]
    # An edge pixel replaces its missing neighbour.
    before = tf.concat([_part(image, 0, 1, axis), _part(image, 0, size - 1, axis)], axis)
    after = tf.concat([_part(image, 1, size, axis), _part(image, size - 1, size, axis)], axis)
    levels, before, after = (tf.reshape(part, [height, -1]) for part in (image, before, after))
    neighbours = tf.cast(tf.where(share > 0, after, before), tf.float32)
    levels = _between(tf.cast(levels, tf.float32), neighbours, tf.abs(share))
    pixels = tf.concat([tf.reshape(_truncated(levels), [-1, 3]), tf.cast(fill, tf.uint8)[None]], 0)

    steps = tf.cast(nearest, tf.int32)
    rows, columns = tf.range(height)[:, None], tf.range(width)[None]
    place = columns + steps[:, None] if axis else rows + steps[None]
    index = rows * width + place if axis else place * width + columns
    inside = (place >= 0) & (place < size)
    return tf.gather(pixels, tf.where(inside, index, height * width))


def _look_up(image, fill):
    """Returns a function from pixel indices to levels, `(height, 3 * width)`.

    Indices count the pixels row by row. The image's pixels are followed by pixels of the fill,
    enough to interpolate one pixel.
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    fills = tf.broadcast_to(tf.cast(fill, tf.float32), [width + 2, 3])
    pixels = tf.concat([tf.cast(tf.reshape(image, [-1, 3]), tf.float32), fills], axis=0)
    return lambda index: tf.reshape(tf.gather(pixels, index), [height, 3 * width])


def _between(first, second, share):
    return first + share * (second - first)


def _truncated(levels):
    # Pillow truncates. The small number corrects rounding errors just below an integer.
    return tf.cast(levels + 2.0**-8, tf.uint8)


def _middles(image, axis):
    """Returns the centers of the pixels along an axis, starting with 0.5."""
    return tf.range(tf.cast(tf.shape(image)[axis], tf.float32)) + 0.5


def _floor(x):
    return tf.cast(tf.floor(x), tf.int32)
