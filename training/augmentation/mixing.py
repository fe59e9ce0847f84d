"""Mixup and CutMix: each image of a batch is mixed with the previous one.

Here, as in published recipes, one weight is drawn per batch. Keras' layers of these names draw one
weight per image, and `CutMix` even draws the parameter of the weights' distribution.
"""

import tensorflow as tf


def mixup(images, labels, seed, alpha):
    """Returns weighted means of neighbouring images and of their labels.

    From "mixup: Beyond Empirical Risk Minimization" (Zhang et al., 2017). As in torchvision, one
    weight is drawn per batch. Neighbours can be partners because batches are shuffled.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot.
        seed: int64 `(2,)`; determines the weight.
        alpha: above 0; the weight is drawn from Beta(alpha, alpha).

    Returns:
        `(images, labels)` of the same shapes.
    """
    weight = _beta(seed, alpha)
    return _weighted(images, weight), _weighted(labels, weight)


def cutmix(images, labels, seed, alpha):
    """Pastes a box of another image into each image, and weights the labels by area.

    From "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features"
    (Yun et al., 2019). As in torchvision, one box is drawn per batch. Its center is anywhere in the
    image, and the box is clipped at the image's border.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot.
        seed: int64 `(2,)`; determines the box.
        alpha: above 0; the share of the image to keep, before clipping, is drawn from Beta(alpha,
            alpha).

    Returns:
        `(images, labels)` of the same shapes.
    """
    images = tf.convert_to_tensor(images)
    size_seed, place_seed = tf.unstack(tf.random.split(seed))
    shape = tf.shape(images)[1:3]
    sides = tf.cast(shape, tf.float32)
    half = tf.cast(0.5 * tf.sqrt(1.0 - _beta(size_seed, alpha)) * sides, tf.int32)
    middle = tf.cast(tf.random.stateless_uniform([2], place_seed) * sides, tf.int32)
    low, high = tf.maximum(middle - half, 0), tf.minimum(middle + half, shape)

    # Copies of parts are several times faster than a mask.
    rows = images[:, low[0] : high[0]]
    box = _partners(rows[:, :, low[1] : high[1]])
    rows = tf.concat([rows[:, :, : low[1]], box, rows[:, :, high[1] :]], axis=2)
    mixed = tf.concat([images[:, : low[0]], rows, images[:, high[0] :]], axis=1)
    size = high - low
    share = tf.cast(tf.reduce_prod(size), tf.float32) / tf.reduce_prod(sides)
    return tf.ensure_shape(mixed, images.shape), _weighted(labels, 1.0 - share)


def mix(images, labels, seed, mixup_alpha, cutmix_alpha):
    """Applies `mixup` or `cutmix`; with both, each half of the time, as in timm and torchvision.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot.
        seed: int64 `(2,)`; determines the result.
        mixup_alpha: alpha of `mixup`; 0 for none.
        cutmix_alpha: alpha of `cutmix`; 0 for none.

    Returns:
        `(images, labels)` of the same shapes.
    """
    choice_seed, seed = tf.unstack(tf.random.split(seed))
    choices = [
        lambda function=function, alpha=alpha: function(images, labels, seed, alpha)
        for function, alpha in ((mixup, mixup_alpha), (cutmix, cutmix_alpha))
        if alpha
    ]
    if not choices:
        return images, labels
    if len(choices) == 1:
        return choices[0]()
    return tf.cond(tf.random.stateless_uniform([], choice_seed) < 0.5, *choices)


def _beta(seed, alpha):
    """Returns a random number from Beta(alpha, alpha), float32 of shape ()."""
    # With a small alpha, the gamma variates are too small for float32.
    x, y = tf.unstack(tf.random.stateless_gamma([2], seed, alpha, dtype=tf.float64))
    return tf.cast(tf.math.divide_no_nan(x, x + y), tf.float32)


def _partners(batch):
    return tf.roll(batch, shift=1, axis=0)


def _weighted(batch, weight):
    """Returns the weighted mean of each element, with `weight`, and the previous element."""
    return weight * batch + (1.0 - weight) * _partners(batch)
