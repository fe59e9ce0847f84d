"""Resizes and crops images with TensorFlow, equal to Pillow in every pixel.

Pillow resamples along one axis, rounds to 8 bits, then resamples along the other. Its weights are
rounded to 22 fractional bits. Sums of bytes times these weights are exact in float64 in any order,
so a matrix product gives Pillow's integers. Only the pixels that the crop needs are computed.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf


def as_images(images, channels):
    """Returns one uint8 image or a batch as a tensor.

    In a graph, only what is known before it runs is checked.

    Raises:
        ValueError: for another dtype, rank or number of channels, or no pixels.
    """
    if not tf.is_tensor(images):
        images = np.asarray(images)
    shape, dtype = tf.TensorShape(images.shape), images.dtype.name
    ok = shape.rank in (3, 4) and shape[-1] in (channels, None) and 0 not in shape[-3:-1]
    if not ok or dtype != "uint8":
        kind = "RGB, " if channels == 3 else ""
        raise ValueError(
            f"An image must be {kind}a uint8 array of shape (height, width, {channels}), or (batch,"
            f" height, width, {channels}) for several. Received: {dtype} of shape {shape}"
        )
    with tf.device("/CPU:0"):
        return tf.ensure_shape(images, [None] * (shape.rank - 1) + [channels])


_WEIGHT_BITS = 22
# Neighbouring outputs share one window of inputs, so that products of small dense matrices do the
# work. No other number of outputs was faster than 8, for 0.2 megapixels and for 12.
_BLOCK = 8
# Large images are resampled in strips of about so many float64 numbers, which bounds the memory.
_STRIP = 1 << 22


def _triangle(x):
    return tf.maximum(1.0 - tf.abs(x), 0.0)


def _cubic(x):
    # Keys' kernel with a = -0.5. The order of operations is Pillow's, so the last bit agrees.
    x, a = tf.abs(x), -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, tf.zeros_like(x)))


class _Kernel(NamedTuple):
    """An interpolation: its function, its radius, and whether it works as in Pillow.

    Pillow widens the kernel to shrink an image (antialiasing), and rounds to 8 bits.
    """

    function: Callable
    radius: float
    pillow: bool


_KERNELS = {
    "bilinear": _Kernel(_triangle, 1.0, True),
    "bicubic": _Kernel(_cubic, 2.0, True),
    "pycls": _Kernel(_triangle, 1.0, False),
}


@functools.lru_cache(maxsize=64)
def cropper(shorter_side, image_size, interpolation, channels):
    """Returns a function that resizes an image and crops the central square.

    Eagerly, one graph serves images of all sizes. A graph that knows the size of its images, as of
    those in memory, has the weights as constants.

    Args:
        shorter_side: length of the shorter side after resizing. The longer side keeps the aspect
            ratio, rounded down. None to resize both sides to `image_size`.
        image_size: side of the square. A resized image that is smaller is padded with zeros.
        interpolation: one of `regnet_tf.preprocessing.INTERPOLATIONS`.
        channels: number of channels. Each is resized by itself.

    Returns:
        A function from `(height, width, channels)` uint8, height and width above 0, to
        `(image_size, image_size, channels)`; uint8, or unrounded float32 for "pycls". Its
        operations stay on the CPU. There, matrix products are exact for integers up to 2**53.
    """
    kernel = _KERNELS[interpolation]

    def resize_and_crop(image):
        with tf.device("/CPU:0"):
            if image.shape.is_fully_defined():
                plan = _known_plan(*image.shape[:2], shorter_side, image_size, kernel)
            else:
                plan = _plan(tf.shape(image, tf.int64)[:2], shorter_side, image_size, kernel)
            (top, bottom), (left, right) = plan.rows, plan.columns
            x = tf.transpose(image[top:bottom, left:right], plan.turn)
            y = _in_strips(x, plan.first, image_size, channels, kernel)
            y = _resample(tf.transpose(y, [1, 0, 2]), plan.second, image_size, kernel)
            y = tf.transpose(tf.transpose(y, [1, 2, 0]), plan.turn)
            y = tf.reshape(y, [image_size, image_size, channels])
            return y if kernel.pillow else tf.cast(y, tf.float32)

    signature = [tf.TensorSpec([None, None, channels], tf.uint8)]
    of_any_size = tf.function(resize_and_crop, input_signature=signature, autograph=False)

    @tf.autograph.experimental.do_not_convert
    def crop(image):
        known = not tf.executing_eagerly() and image.shape.is_fully_defined()
        return resize_and_crop(image) if known else of_any_size(image)

    return crop


def _rows_are_first(surplus):
    """Whether Pillow computes the rows of the result first.

    This is the rule of Pillow 13 and later. Older versions compute the columns first, except for
    extreme shapes. The order differs only for images more than twice as high as wide, and it shows
    in the rounding. `surplus` is the number of (rows, columns) to remove.
    """
    return (surplus[0] >= 0) & (surplus[0] > 2 * surplus[1])


class _Axis(NamedTuple):
    """Maps the image's samples `first` to `stop` along one axis to the crop's samples."""

    first: tf.Tensor
    stop: tf.Tensor
    places: tf.Tensor  # (blocks, window): the inputs of each block, counted from `first`
    weights: tf.Tensor  # (blocks, _BLOCK, window)


class _Plan(NamedTuple):
    """How an image of some size is resampled."""

    rows: list[tf.Tensor]  # begin and end of those that the crop needs
    columns: list[tf.Tensor]
    turn: tf.Tensor  # permutation; it exchanges rows and columns where rows are resampled first
    first: _Axis  # of the columns, or of the rows where they are exchanged
    second: _Axis  # of the others


def _plan(size, shorter_side, image_size, kernel):
    """Returns the `_Plan` for an image of `size`, an int64 tensor `(height, width)`."""
    resized = tf.constant([image_size, image_size], tf.int64)
    if shorter_side is not None:
        resized = size * shorter_side // tf.reduce_min(size)
    turn = tf.where(_rows_are_first(size - resized), [1, 0, 2], [0, 1, 2])
    size, resized = tf.gather(size, turn[:2]), tf.gather(resized, turn[:2])
    second, first = (_axis(size[n], resized[n], image_size, kernel) for n in (0, 1))
    ends = [(second.first, second.stop), (first.first, first.stop)]
    rows, columns = map(tf.unstack, tf.unstack(tf.gather(ends, turn[:2])))
    return _Plan(rows, columns, turn, first, second)


@functools.lru_cache(maxsize=64)
def _known_plan(height, width, shorter_side, image_size, kernel):
    """Returns the `_Plan` for images of one size as numpy arrays, also while a graph is traced."""
    with tf.init_scope():
        size = tf.constant([height, width], tf.int64)
        return tf.nest.map_structure(np.asarray, _plan(size, shorter_side, image_size, kernel))


def _axis(in_size, out_size, crop, kernel):
    """Returns the `_Axis` for the central `crop` samples of `in_size` resized to `out_size`."""
    index = _offset(out_size - crop, kernel) + tf.range(_whole_blocks(crop), dtype=tf.int64)
    exists = tf.reshape((index >= 0) & (index < out_size), [-1, _BLOCK, 1])
    index = tf.cast(tf.clip_by_value(index, 0, out_size - 1), tf.float64)
    scale = tf.cast(in_size, tf.float64) / tf.cast(out_size, tf.float64)
    stretch = tf.maximum(scale, 1.0) if kernel.pillow else tf.ones_like(scale)
    center = tf.reshape((index + 0.5) * scale, [-1, _BLOCK, 1])
    support = kernel.radius * stretch
    low = tf.maximum(tf.cast(center - support + 0.5, tf.int64), 0)
    high = tf.minimum(tf.cast(center + support + 0.5, tf.int64), in_size)

    starts = low[:, 0, 0]
    window = tf.reduce_max(high[:, -1, 0] - starts)
    starts = tf.minimum(starts, in_size - window)
    position = starts[:, None, None] + tf.range(window)
    distance = tf.cast(position, tf.float64) - center + 0.5
    weights = kernel.function(distance * (1.0 / stretch))  # (blocks, _BLOCK, window)
    weights = tf.where((position >= low) & (position < high), weights, tf.zeros_like(weights))
    weights /= tf.reduce_sum(weights, axis=-1, keepdims=True)
    if kernel.pillow:
        weights = tf.sign(weights) * tf.floor(tf.abs(weights) * 2.0**_WEIGHT_BITS + 0.5)
    weights = tf.where(exists, weights, tf.zeros_like(weights))
    return _Axis(starts[0], starts[-1] + window, position[:, 0] - starts[0], weights)


def _whole_blocks(count):
    return -(-count // _BLOCK) * _BLOCK


def _offset(surplus, kernel):
    """Returns where the crop begins in a resized side that is `surplus` longer than the crop.

    A negative `surplus` means padding.
    """
    half = tf.cast(surplus, tf.float64) / 2.0
    up = tf.math.ceil(half)  # pycls, and padding: the odd pixel goes last
    offset = tf.where(surplus < 0, up, tf.round(half)) if kernel.pillow else up
    return tf.cast(offset, tf.int64)


def _in_strips(x, axis, crop, channels, kernel):
    """Resamples an image along its second axis in strips, which bounds the memory.

    Args:
        x: `(lines, size, channels)`.
        axis: the `_Axis` of `size`.
        crop: number of resampled values.
        channels: number of channels.
        kernel: the `_Kernel`.

    Returns:
        `(lines, channels, crop)`.
    """

    def resampled(start, stop):
        strip = _resample(tf.transpose(x[start:stop], [2, 1, 0]), axis, crop, kernel)
        return tf.transpose(strip, [2, 0, 1])

    known = not tf.is_tensor(axis.weights)
    count = x.shape[0] if known else tf.shape(x, tf.int64)[0]
    size = axis.weights.size if known else tf.size(axis.weights, tf.int64)
    lines = _STRIP // (channels * size // _BLOCK)
    lines = np.clip(lines, 1, count) if known else tf.clip_by_value(lines, 1, count)
    strips = (count + lines - 1) // lines
    if known and strips == 1:
        return resampled(0, count)

    def add(number, done):
        start = number * lines
        part = resampled(start, tf.minimum(start + lines, count))
        return number + 1, done.write(tf.cast(number, tf.int32), part)

    done = tf.TensorArray(
        tf.uint8 if kernel.pillow else tf.float64,
        tf.cast(strips, tf.int32),
        infer_shape=False,
        element_shape=[None, channels, crop],
    )
    _, done = tf.while_loop(
        lambda number, done: number < strips,
        add,
        (tf.constant(0, tf.int64), done),
        parallel_iterations=1,
    )
    return done.concat()


def _resample(x, axis, crop, kernel):
    """Resamples `(channels, size, other)` along `size`: uint8 as Pillow rounds, or float64."""
    taps = tf.gather(x, axis.places, axis=1)
    # (blocks, _BLOCK, window) x (channels, blocks, window, other)
    x = tf.matmul(axis.weights, tf.cast(taps, tf.float64))
    x = tf.reshape(x, [tf.shape(x)[0], _whole_blocks(crop), tf.shape(x)[3]])[:, :crop]
    if kernel.pillow:
        half = 1 << (_WEIGHT_BITS - 1)
        x = tf.bitwise.right_shift(tf.cast(x, tf.int32) + half, _WEIGHT_BITS)
        x = tf.cast(tf.minimum(tf.maximum(x, 0), 255), tf.uint8)
    return x
