"""The segmentation task: network, metrics and figures."""

import keras
import numpy as np
import tensorflow as tf

import regnet_tf

from .. import figures
from ..data.batches import limited_test_batches

#: The metric that selects the best epoch.
SCORE = "mean_iou"
_SHOWN = 24


def build_network(recipe, data):
    """Returns the network of a recipe, with outputs `(batch, height, width, classes)`."""
    levels = range(1, 2 + len(recipe.config.stages))
    backbone = regnet_tf.backbone(
        recipe.config,
        outputs=[level for level in levels if level >= recipe.finest_level],
        input_shape=recipe.input_shape,
        preprocessing=recipe.preprocessing,
        synchronized=recipe.synchronized,
        dtype=recipe.precision,
    )
    return regnet_tf.segmentation_model(
        backbone,
        len(data.class_names),
        decoder=recipe.decoder,
        width=recipe.decoder_width,
        class_names=data.class_names,
        synchronized=recipe.synchronized,
    )


def measure(labels, probabilities):
    """Returns cross-entropy and confusion matrix of each image, `(1 + classes**2, batch)`."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    classes = probabilities.shape[-1]
    true = tf.one_hot(labels, classes)  # N H W T
    predicted = tf.one_hot(tf.argmax(probabilities, -1), classes)  # N H W P
    counts = tf.einsum("nhwt,nhwp->tpn", true, predicted)
    counts = tf.reshape(counts, (classes**2, -1))
    return tf.concat([tf.reduce_mean(losses, (1, 2))[None], counts], 0)


def named(means) -> dict:
    """Returns loss, mean IoU and pixel accuracy from the means of `measure`."""
    loss, *counts = means
    classes = round(len(counts) ** 0.5)
    return {"loss": float(loss), **_scores(np.reshape(counts, (classes, classes)))}


def _scores(confusion):
    """Returns mean IoU and pixel accuracy."""
    return {
        "mean_iou": float(np.nanmean(intersection_over_union(confusion))),
        "accuracy": float(np.trace(confusion) / confusion.sum()),
    }


def intersection_over_union(confusion):
    """Returns the intersection over union of each class.

    Args:
        confusion: pixel counts `(true class, predicted class)`.

    Returns:
        `(classes,)`, NaN for a class without pixels.
    """
    both = np.diag(confusion).astype(float)
    either = confusion.sum(0) + confusion.sum(1) - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


def cost(model, recipe, data):
    """Returns the number of trainable parameters."""
    return {"parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables)}


def evaluate(model, recipe, data):
    """Runs the final test of a network.

    Returns:
        `(results, figures)`: the results for `run.json`, see `results`, and figures by file name.
    """
    classes = len(data.class_names)
    confusion, shown = np.zeros((classes, classes), "int64"), []
    for images, labels in limited_test_batches(recipe, data):
        labels, predicted = labels.numpy(), model.predict_on_batch(images).argmax(-1)
        np.add.at(confusion, (labels, predicted), 1)
        if len(shown) < _SHOWN:
            shown += zip(images.numpy(), labels, predicted, strict=True)
    title = f"{data.name}, {recipe.config.name}"
    pictures = {
        "confusion.png": figures.confusion_of_pixels(confusion, data.class_names, title),
        "predictions.png": figures.segmentations(shown[:_SHOWN], data.class_names, title),
    }
    return results(confusion, data.class_names), pictures


def results(confusion, class_names):
    """Returns mean IoU, pixel accuracy, IoU of each class, and the number of pixels.

    Scores are from 0 to 1; the IoU of a class without pixels is None.
    """
    ious = zip(class_names, intersection_over_union(confusion), strict=True)
    return {
        **_scores(confusion),
        "iou": {name: None if np.isnan(iou) else float(iou) for name, iou in ious},
        "pixels": int(confusion.sum()),
    }


def summary(results) -> str:
    """Returns the results in one line."""
    return (
        f"Test mean IoU {results['mean_iou']:.4f} ({results['accuracy']:.2%} of"
        f" {results['pixels']:,} pixels right)"
    )
