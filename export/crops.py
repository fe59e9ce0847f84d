"""Encoded image files as crops for a network, inside a graph."""

import tensorflow as tf

from regnet_tf._decoding import decode as decode_image
from regnet_tf._headers import size_of

_IMAGES_AT_ONCE = 16


def crops_of(image_bytes, preprocessing):
    """Decodes and crops a batch of files; an error names the files that cannot be decoded.

    Args:
        image_bytes: contents of image files, a string tensor `(batch,)`.
        preprocessing: a `regnet_tf.Preprocessing`.

    Returns:
        Levels of 0 to 255, `(batch, size, size, channels)`: uint8, or float32 if the interpolation
        is "pycls".

    WebP is left out: TensorFlow before 2.20 lacks the operation, and would not load the graph.

    A `tf.data.Dataset` decodes several files at a time and skips files that fail. A loop would stop
    at the first bad file without naming it.
    """
    shape = preprocessing.image_size, preprocessing.image_size, preprocessing.channels
    form = preprocessing.channels, preprocessing.exif_orientation, preprocessing.max_pixels
    dtype = tf.float32 if preprocessing.interpolation == "pycls" else tf.uint8

    def decoded(file):
        image = decode_image(file, *form, "encoded bytes", webp=False)
        return preprocessing.resize_and_crop(image)

    def crop(index, file):
        size = size_of(file)
        fits = tf.reduce_prod(size) <= preprocessing.max_pixels
        return index, size, tf.cond(fits, lambda: decoded(file), lambda: tf.zeros(shape, dtype))

    count = tf.size(image_bytes, tf.int64)
    files = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate()
    crops = files.map(crop, num_parallel_calls=_IMAGES_AT_ONCE).ignore_errors()
    batch = crops.batch(tf.maximum(count, 1))
    nothing = tf.zeros(0, tf.int64), tf.zeros((0, 2), tf.int64), tf.zeros((0, *shape), dtype)
    batch = batch.concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    indices, sizes, images = batch.with_options(options).get_single_element()
    with tf.control_dependencies(_refused(indices, sizes, count, preprocessing.max_pixels)):
        return tf.ensure_shape(tf.identity(images), (None, *shape))


def _refused(indices, sizes, count, max_pixels):
    """Returns assertions that all files of a batch are images, and none of them is too large.

    Args:
        indices: places of the decoded files in the batch, int64 `(decoded,)`.
        sizes: heights and widths of these files, int64 `(decoded, 2)`.
        count: number of files in the batch, int64.
        max_pixels: largest number of pixels in a file.
    """
    decoded = tf.scatter_nd(indices[:, None], tf.ones_like(indices), [count])
    failed = tf.where(decoded == 0)[:, 0]
    damaged = tf.strings.format(
        "No whole image file: image {} (counted from 0) of a batch of {}", (failed, count)
    )
    large = tf.where(tf.reduce_prod(sizes, 1) > max_pixels)[:, 0]
    first = tf.concat([tf.gather(sizes, large), tf.zeros((1, 2), tf.int64)], 0)[0]
    too_large = tf.strings.format(
        f"More than {max_pixels:,} pixels: image {{}} (counted from 0) of a batch of {{}}; the"
        " first of them has {} x {}",
        (tf.gather(indices, large), count, first[1], first[0]),
    )
    whole = tf.debugging.Assert(tf.size(failed) == 0, [damaged])
    with tf.control_dependencies([whole]):
        return [tf.debugging.Assert(tf.size(large) == 0, [too_large])]
