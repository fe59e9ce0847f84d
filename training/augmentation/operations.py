"""Color operations with exactly the results of Pillow's `ImageOps` and `ImageEnhance`.

Images are uint8 `(height, width, 3)`, RGB.
"""

import tensorflow as tf

# Weights of R, G and B in gray, times 65536. Three equal columns give gray in three channels.
_GRAY = [[19595.0] * 3, [38470.0] * 3, [7471.0] * 3]


def brightness(image, factor):
    """Multiplies all levels by `factor`."""
    return _blend(0.0, image, factor)


def color(image, factor):
    """Interpolates, or extrapolates, between gray (`factor` 0) and the image (1)."""
    return _blend(_gray(image), image, factor)


def contrast(image, factor):
    """Interpolates, or extrapolates, between the mean gray (`factor` 0) and the image (1)."""
    gray = tf.cast(_gray(image), tf.int32)[..., 0]
    mean = tf.floor(tf.cast(tf.reduce_sum(gray) / tf.size(gray), tf.float32) + 0.5)
    return _blend(mean, image, factor)


def sharpness(image, factor):
    """Interpolates, or extrapolates, between a blurred image (`factor` 0) and the image (1).

    Edge pixels remain unchanged.
    """
    levels = tf.cast(image, tf.float32)
    rows = levels[:-2] + levels[1:-1] + levels[2:]
    window = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    # The center has weight 5 of 13. So no value ends in exactly .5, where rounding could differ.
    inner = levels[1:-1, 1:-1]
    blurred = tf.floor((window + 4 * inner) / 13 + 0.5)
    return _blend(levels + tf.pad(blurred - inner, [[1, 1], [1, 1], [0, 0]]), image, factor)


def posterize(image, bits):
    """Keeps only the upper `bits` of each level, 0 to 8."""
    lower = tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32)) - 1
    return tf.bitwise.bitwise_and(image, tf.cast(255 - lower, tf.uint8))


def solarize(image, threshold):
    """Inverts all levels of at least `threshold`."""
    above = tf.cast(tf.cast(image, tf.float32) >= threshold, tf.uint8)
    return tf.bitwise.bitwise_xor(image, 255 * above)


def solarize_add(image, addition):
    """Adds `addition`, 0 to 128, to all levels below 128."""
    return image + tf.cast(addition, tf.uint8) * tf.cast(image < 128, tf.uint8)


def invert(image):
    """Inverts all levels: 255 minus the level."""
    return 255 - image


def autocontrast(image):
    """Stretches each channel to the range 0 to 255."""
    low = tf.cast(tf.reduce_min(image, axis=(0, 1)), tf.float64)
    high = tf.cast(tf.reduce_max(image, axis=(0, 1)), tf.float64)
    scale = tf.where(high > low, 255 / tf.maximum(high - low, 1), 1)
    offset = tf.where(high > low, -low * scale, 0)
    rows, repeats = _as_rows(image)
    levels = tf.cast(rows, tf.float64) * tf.tile(scale, repeats) + tf.tile(offset, repeats)
    return tf.reshape(_as_levels(levels), tf.shape(image))


def equalize(image):
    """Equalizes the histogram of each channel."""
    rows, repeats = _as_rows(image)
    index = tf.cast(rows, tf.int32) + tf.tile([0, 256, 512], repeats)
    counts = tf.math.bincount(tf.reshape(index, [-1]), minlength=768, maxlength=768)
    counts = tf.reshape(counts, [3, 256])
    brightest = tf.cast(tf.reduce_max(image, axis=(0, 1)), tf.int32)
    others = tf.reduce_sum(counts, axis=1) - tf.gather(counts, brightest, batch_dims=1)
    step = others[:, None] // 255
    below = tf.cumsum(counts, axis=1, exclusive=True)
    levels = (step // 2 + below) // tf.maximum(step, 1)
    levels = tf.where(step > 0, tf.minimum(levels, 255), tf.range(256))
    levels = tf.gather(tf.reshape(tf.cast(levels, tf.uint8), [-1]), index)
    return tf.reshape(levels, tf.shape(image))


def _as_rows(image):
    """Returns the image as rows, `(height, 3 * width)`, and `[width]`.

    TensorFlow is several times slower at adding three numbers to all pixels.
    """
    width = tf.shape(image)[1]
    return tf.reshape(image, [-1, 3 * width]), width[None]


def _gray(image):
    """Converts an image to gray, float32 `(height, width, 3)` with integer values."""
    # All values are integers below 2**24, so float32 sums are exact in any order.
    levels = tf.reshape(tf.cast(image, tf.float32), [-1, 3])
    gray = tf.floor((tf.matmul(levels, _GRAY) + 32768.0) / 65536.0)
    return tf.reshape(gray, tf.shape(image))


def _blend(first, second, share):
    """Blends `first` with a share of `second`; the share may be below 0 or above 1."""
    share = tf.cast(share, tf.float32)
    return _as_levels(first + share * (tf.cast(second, tf.float32) - first))


def _as_levels(x):
    """Clips to 0 to 255 and truncates to uint8, as Pillow does."""
    return tf.cast(tf.clip_by_value(x, 0, 255), tf.uint8)
