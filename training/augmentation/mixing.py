"""Mixup and cutmix: each image of a batch is mixed with the one before it.

Keras' layers of these names draw a weight for each image, and `CutMix` draws even the parameter of
the distribution it draws the weights from. Published recipes have one weight for a batch, as here.
"""

import tensorflow as tf


def mixup(images, labels, seed, alpha):
    """Weighted means of images and of their labels.

    From "mixup: Beyond Empirical Risk Minimization" (Zhang et al., 2017). As torchvision has it,
    the weight is one for the batch, and partners are neighbours: batches come shuffled.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot.
        seed: int64 `(2,)`; alone decides the weight.
        alpha: above 0; the weight is drawn from Beta(alpha, alpha).

    Returns:
        `(images, labels)` of the same shapes.
    """
    weight = _beta(seed, alpha)
    return _weighted(images, weight), _weighted(labels, weight)


def cutmix(images, labels, seed, alpha):
    """Images with a box of another image in each, and labels weighted by the areas.

    From "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features"
    (Yun et al., 2019). As torchvision has it, the box is one for the batch, its middle is anywhere,
    and what reaches beyond the image is cut off.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot.
        seed: int64 `(2,)`; alone decides the box.
        alpha: above 0; the share of the image that is kept, but for what is cut off, is drawn from
            Beta(alpha, alpha).

    Returns:
        `(images, labels)` of the same shapes.
    """
    size_seed, place_seed = tf.unstack(tf.random.split(seed))
    shape = tf.shape(images)[1:3]
    sides = tf.cast(shape, tf.float32)
    half = tf.cast(0.5 * tf.sqrt(1.0 - _beta(size_seed, alpha)) * sides, tf.int32)
    middle = tf.cast(tf.random.stateless_uniform([2], place_seed) * sides, tf.int32)
    low, high = tf.maximum(middle - half, 0), tf.minimum(middle + half, shape)

    size = high - low
    box = tf.pad(tf.ones(size), tf.stack([low, shape - high], axis=1))[None, :, :, None]
    # A `tf.where` would take several times as long.
    mixed = images * (1 - box) + _partners(images) * box
    share = tf.cast(tf.reduce_prod(size), tf.float32) / tf.reduce_prod(sides)
    return mixed, _weighted(labels, 1.0 - share)


def mix(images, labels, seed, mixup_alpha, cutmix_alpha):
    """`mixup` or `cutmix`, each half of the time where a recipe has both; so timm and torchvision.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot.
        seed: int64 `(2,)`; alone decides.
        mixup_alpha: parameter of `mixup`; 0 for none.
        cutmix_alpha: parameter of `cutmix`; 0 for none.

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
    """A random number from Beta(alpha, alpha), float32 of shape ()."""
    # A small alpha makes numbers too small for float32.
    x, y = tf.unstack(tf.random.stateless_gamma([2], seed, alpha, dtype=tf.float64))
    return tf.cast(tf.math.divide_no_nan(x, x + y), tf.float32)


def _partners(batch):
    return tf.roll(batch, shift=1, axis=0)


def _weighted(batch, weight):
    """`weight` of each element and the rest of the one before it."""
    return weight * batch + (1.0 - weight) * _partners(batch)
