"""Crops for training: a random crop or the whole image, resized to the network's size."""

import tensorflow as tf

from regnet_tf._boxes import SIDES
from regnet_tf._checks import check_choice
from regnet_tf._decoding import with_size
from regnet_tf.preprocessing import INTERPOLATIONS, MAX_PIXELS

from .boxes import Box, random_box
from .branches import case
from .decoding import decoded

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


def random_resized_crop(
    image,
    seed,
    image_size,
    area=AREA,
    ratio=RATIO,
    interpolation="bilinear",
    channels=3,
    exif_orientation=False,
    max_pixels=MAX_PIXELS,
):
    """Crops an image at random area, shape and position (see `crop_box`); resizes to a square.

    Args:
        image: uint8 `(height, width, channels)`, or an encoded file, a string scalar. Of an RGB
            JPEG, little more than the crop is decoded.
        seed: int64 `(2,)`; determines the crop.
        image_size: side of the result in pixels.
        area: `(least, most)` share of the image's area.
        ratio: `(least, most)` width divided by height.
        interpolation: see `resize`.
        channels: number of channels of the result, see `decoded`.
        exif_orientation: whether to turn an encoded file as its EXIF metadata says.
        max_pixels: largest number of pixels in an encoded file.

    Returns:
        float32 `(image_size, image_size, channels)`, levels from 0 to 255, not rounded.

    Raises:
        ValueError: if `interpolation` is unknown. At run time, TensorFlow raises its own error if
            the bytes are not an image.
    """
    form = (channels, exif_orientation, max_pixels)

    def of_whole(image, seed):
        whole = decoded(image, *form)
        box = crop_box(tf.shape(whole)[:2], seed, area, ratio)
        part = whole[box.top : box.top + box.height, box.left : box.left + box.width]
        part = tf.ensure_shape(part, [None, None, whole.shape[-1]])
        return resize(part, image_size, interpolation)

    def of_part(image, seed):
        shape = tf.io.extract_jpeg_shape(image)[:2]
        image = with_size(image, tf.cast(shape, tf.int64), max_pixels)
        part, columns = _decoded_box(image, shape, crop_box(shape, seed, area, ratio))
        return resize(part, image_size, interpolation, columns)

    if image.dtype != tf.string or channels != 3 or exif_orientation:
        return of_whole(image, seed)
    return case(tf.io.is_jpeg(image), [of_whole, of_part], image, seed)


def random_map_crop(pixels, seed, image_size, area=AREA, ratio=RATIO):
    """Crops a map of classes as `random_resized_crop` does with its image, by the nearest pixels.

    Args:
        pixels: uint8 `(height, width)`.
        seed: as for the image.
        image_size: side of the result in pixels.
        area: as for the image.
        ratio: as for the image.

    Returns:
        uint8 `(image_size, image_size)`.
    """
    box = crop_box(tf.shape(pixels), seed, area, ratio)
    part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    return resize_map(part, image_size)


def crop_box(image_shape, seed, area=AREA, ratio=RATIO):
    """Returns a random box of an image, as in torchvision's `RandomResizedCrop` and timm.

    Of ten random boxes, the first one that fits is used. If none fits, the largest centered box
    with an allowed ratio is used. These are "Inception" crops, from "Going Deeper with
    Convolutions" (Szegedy et al., 2014), section 6. pycls differs: it draws the ratio uniformly,
    not its logarithm, and falls back to its test crop.

    Args:
        image_shape: `(height, width)`, an int32 tensor of shape `(2,)`, in pixels.
        seed: int64 `(2,)`; determines the box.
        area: `(least, most)` share of the image's area; uniform.
        ratio: `(least, most)` width divided by height; its logarithm is uniform.

    Returns:
        A `Box` of at least one pixel.
    """
    fits, box = random_box(image_shape, seed, area, ratio)
    fallback = _middle(image_shape, ratio)
    return Box(*(tf.where(fits, *pair) for pair in zip(box, fallback, strict=True)))


def whole_image(
    image,
    image_size,
    interpolation="bilinear",
    channels=3,
    exif_orientation=False,
    max_pixels=MAX_PIXELS,
):
    """Resizes the whole image to a square.

    Args:
        image: uint8 `(height, width, channels)`, or an encoded file, a string scalar.
        image_size: side of the result in pixels.
        interpolation: see `resize`.
        channels: number of channels of the result, see `decoded`.
        exif_orientation: whether to turn an encoded file as its EXIF metadata says.
        max_pixels: largest number of pixels in an encoded file.

    Returns:
        float32 `(image_size, image_size, channels)`, levels from 0 to 255, not rounded.

    Raises:
        ValueError: if `interpolation` is unknown. At run time, TensorFlow raises its own error if
            the bytes are not an image.
    """
    whole = decoded(image, channels, exif_orientation, max_pixels)
    return resize(whole, image_size, interpolation)


def random_flip(image, seed):
    """Flips an image horizontally with probability 0.5.

    Args:
        image: `(height, width, channels)`.
        seed: int64 `(2,)`; determines whether to flip.

    Returns:
        Tensor of the same shape and dtype.
    """
    return tf.image.stateless_random_flip_left_right(image, seed)


def random_flip_boxes(boxes, seed):
    """Flips boxes where `random_flip` flips their image.

    Args:
        boxes: float32 `(boxes, 5)`, as `training.data.boxes.padded` makes them for an image.
        seed: int64 `(2,)`; that of the image.

    Returns:
        Tensor of the same shape and dtype. Rows without a box, whose class is negative, stay as
        they are.
    """
    flipped = random_flip(tf.constant([[[False], [True]]]), seed)[0, 0]
    top, left, bottom, right, classes = tf.unstack(boxes, axis=-1)
    mirrored = tf.stack([top, 1 - right, bottom, 1 - left, classes], -1)
    return tf.where(flipped & (boxes[:, SIDES:] >= 0), mirrored, boxes)


def resize(image, image_size, interpolation, columns=None):
    """Resizes an image, or some of its columns, to a square.

    Args:
        image: uint8 `(height, width, channels)`.
        image_size: side of the result in pixels.
        interpolation: as in `regnet_tf.Preprocessing`. "bilinear" and "bicubic" are antialiased
            and differ from Pillow by at most one level. "pycls" is bilinear without antialiasing,
            which takes a quarter of the time.
        columns: `(first, stop)`; None for all. Cheaper than to pass only these.

    Returns:
        float32 `(image_size, image_size, channels)`, levels from 0 to 255, not rounded.

    Raises:
        ValueError: if `interpolation` is unknown.
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    first, stop = columns or (0, tf.shape(image)[1])
    if interpolation == "pycls":
        return tf.image.resize(image[:, first:stop], (image_size, image_size))
    channels = image.shape[-1]
    # TensorFlow's kernel is fast for pixels of many channels, so a pixel here is a whole row, and
    # then a whole column.
    rows = tf.reshape(image, [-1, tf.shape(image)[1] * channels])
    x = _transposed(_resized_line(rows, image_size, interpolation))
    x = tf.reshape(x[first * channels : stop * channels], [stop - first, channels * image_size])
    x = _resized_line(x, image_size, interpolation)
    x = _transposed(tf.reshape(x, [image_size * channels, image_size]))
    x = tf.reshape(x, [image_size, image_size, channels])
    return tf.clip_by_value(x, 0.0, 255.0) if interpolation == "bicubic" else x


def _resized_line(pixels, size, interpolation):
    """Resizes a line of pixels `(length, channels)` to `(size, channels)`, antialiased."""
    scale = size / tf.cast(tf.shape(pixels)[0], tf.float32)
    # The kernel would hand each pixel of a vertical line to a pool of threads.
    line = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None, None],
        size=[1, size],
        scale=tf.stack([1.0, scale]),
        translation=[0.0, 0.0],
        kernel_type="keyscubic" if interpolation == "bicubic" else "triangle",
        antialias=True,
    )
    return line[0, 0]


def _transposed(x):
    """Transposes a float32 matrix. oneDNN takes twice as long as TensorFlow does for integers."""
    return tf.bitcast(tf.transpose(tf.bitcast(x, tf.int32)), tf.float32)


def resize_map(pixels, image_size):
    """Resizes a map of classes `(height, width)` to a square by the nearest pixels."""
    size = (image_size, image_size)
    return tf.image.resize(pixels[..., None], size, "nearest")[..., 0]


def _decoded_box(image_bytes, shape, box):
    """Decodes a box of a JPEG of shape `(height, width)`.

    Returns:
        `(part, columns)`: the part that was decoded, uint8 `(height, width, 3)`, and the columns of
        the box in it, `(first, stop)`.
    """
    # Most JPEGs store colors at half the resolution. Decode one more pixel on both sides, so that
    # colors are interpolated as in the whole image.
    left = tf.maximum(box.left - 1, 0)
    right = tf.minimum(box.left + box.width + 1, shape[1])
    # The default `dct_method` is no faster and differs from Pillow's.
    part = tf.image.decode_and_crop_jpeg(
        image_bytes,
        tf.stack([box.top, left, box.height, right - left]),
        channels=3,
        dct_method="INTEGER_ACCURATE",
    )
    first = box.left - left
    return tf.ensure_shape(part, [None, None, 3]), (first, first + box.width)


def _middle(shape, ratio):
    """Returns the largest centered box of an image with an allowed ratio."""
    height, width = shape[0], shape[1]
    high, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    box_height = tf.minimum(height, tf.cast(tf.round(wide / ratio[0]), tf.int32))
    box_width = tf.minimum(width, tf.cast(tf.round(high * ratio[1]), tf.int32))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)
