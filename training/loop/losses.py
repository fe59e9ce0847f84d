"""Losses of training, and the weights of classes."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from regnet_tf.preprocessing import MAX_PIXELS

from ..data.description import class_counts
from ..data.maps import decode_map
from ..data.parallel import parallel_map
from ..data.splits import Split
from ..recipes.parts import Loss

#: Function from labels and probabilities of a batch to the mean loss.
LossFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_loss(
    loss: Loss, target: str, class_weights: Sequence[float] | None = None
) -> LossFunction:
    """Returns the loss function of a recipe.

    Args:
        loss: the `Loss`.
        target: `target` of the data set: "class", "classes" or "pixels".
        class_weights: weight of each class, see `balanced_weights`; None for no weights.

    Returns:
        A function of float labels `(..., classes)`, as `training.data.batches` makes them, and of
        probabilities of the same shape. It returns a scalar.
    """
    weights = None if class_weights is None else np.asarray(class_weights)

    def cross_entropy(labels, probabilities):
        smooth = _smoothed(labels, loss.label_smoothing)
        weighted, counts = smooth, labels
        if weights is not None:
            scale = tf.cast(weights, labels.dtype)
            weighted, counts = smooth * scale, labels * scale
        # The operation for logits needs labels with the sum 1. Ignored pixels have the sum 0.
        sums = tf.reduce_sum(weighted, -1)
        distribution = tf.math.divide_no_nan(weighted, sums[..., None])
        losses = sums * keras.losses.categorical_crossentropy(distribution, probabilities)
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.reduce_sum(counts))

    def binary_cross_entropy(labels, probabilities):
        several = target == "classes"
        smooth = _smoothed(labels, loss.label_smoothing, 0.5 if several else None)
        # One class more, as Keras means the losses over the last axis.
        losses = keras.losses.binary_crossentropy(smooth[..., None], probabilities[..., None])
        if weights is not None:
            losses *= tf.cast(weights, losses.dtype)
        if several:
            return tf.reduce_mean(losses)
        counted = tf.reduce_sum(labels, -1)  # 0 for ignored pixels
        return tf.math.divide_no_nan(
            tf.reduce_sum(tf.reduce_mean(losses, -1) * counted), tf.reduce_sum(counted)
        )

    return cross_entropy if loss.name == "cross_entropy" else binary_cross_entropy


def right_share(target: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a function of labels and probabilities: the share of right predictions in a batch.

    A prediction is the class of an image or pixel. With several classes for an image, it is whether
    one class applies, by a probability above 0.5.

    This uses TensorFlow's argmax. Keras' argmax handles negative zeros separately, which takes
    longer than the loss for the pixels of a map.
    """

    def of_classes(labels, probabilities):
        return tf.reduce_mean(tf.cast(tf.equal(labels > 0.5, probabilities > 0.5), tf.float32))

    def of_one_class(labels, probabilities):
        right = tf.equal(tf.argmax(labels, -1), tf.argmax(probabilities, -1))
        if target == "class":
            return tf.reduce_mean(tf.cast(right, tf.float32))
        counted = tf.reduce_sum(labels, -1)
        right = tf.reduce_sum(tf.cast(right, tf.float32) * counted)
        return tf.math.divide_no_nan(right, tf.reduce_sum(counted))

    return of_classes if target == "classes" else of_one_class


def balanced_weights(split: Split, classes: int, max_pixels: int = MAX_PIXELS) -> list[float]:
    """Returns the weight of each class as scikit-learn's `compute_class_weight("balanced")`.

    The weight is `labels / (classes * labels of the class)`. A class without labels has weight 0.

    Args:
        split: the training split. Ignored pixels do not count.
        classes: number of classes.
        max_pixels: largest number of pixels in the file of a mask.
    """
    counts = _counts(split, classes, max_pixels)
    total, weights = counts.sum(), np.zeros(classes)
    np.divide(total, classes * counts, out=weights, where=counts > 0)
    return [float(weight) for weight in weights]


def _smoothed(labels, smoothing, level=None):
    """Returns labels moved towards a level; by default each label's sum over all classes.

    As timm and PyTorch do: an ignored pixel, whose labels are 0, keeps its zeros.
    """
    if not smoothing:
        return labels
    if level is None:
        level = tf.reduce_mean(labels, -1, keepdims=True)
    return labels * (1 - smoothing) + smoothing * level


def _counts(split, classes, max_pixels):
    """Returns the number of labels of each class, float64 `(classes,)`."""
    known = class_counts(split, classes)
    if known is not None:
        return known.astype("float64")

    def count(image, label):
        return _bins(label, split.target, classes, max_pixels)

    return sum(parallel_map(split.examples(), count).as_numpy_iterator(), np.zeros(classes))


def _bins(label, target, classes, max_pixels):
    """Returns the number of labels of each class of an example."""
    if target == "classes":
        return tf.cast(label, tf.float64)
    if label.dtype == tf.string:
        label = decode_map(label, max_pixels)
    label = tf.reshape(tf.cast(label, tf.int32), [-1])
    counted = tf.boolean_mask(label, label < classes)
    return tf.cast(tf.math.bincount(counted, minlength=classes), tf.float64)
