"""The classification task: network, metrics and figures."""

import keras
import numpy as np
import tensorflow as tf

import regnet_tf

from .. import figures
from ..data.batches import limited_test_batches

#: The metric that selects the best epoch.
SCORE = "accuracy"


def build_network(recipe, data):
    """Returns the network of a recipe: a `keras.Model` to probabilities `(batch, classes)`."""
    return regnet_tf.build_regnet(
        recipe.config,
        input_shape=recipe.input_shape,
        class_names=data.class_names,
        preprocessing=recipe.preprocessing,
        synchronized=recipe.synchronized,
        dtype=recipe.precision,
    )


def measure(labels, probabilities):
    """Returns cross-entropy without smoothing, top-1 and top-5 hits per image, `(3, batch)`."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    hits = [tf.math.in_top_k(labels, probabilities, k) for k in (1, 5)]
    return tf.stack([losses, *(tf.cast(hit, tf.float32) for hit in hits)])


def named(means) -> dict:
    """Returns the means of `measure` by name."""
    return dict(zip(("loss", "accuracy", "top5_accuracy"), map(float, means), strict=True))


def cost(model, recipe, data):
    """Returns the number of parameters, and of multiply-adds for one image."""
    cost = regnet_tf.complexity(recipe.config, recipe.image_size, classes=len(data.class_names))
    return {"parameters": cost.parameters, "multiply_adds": cost.multiply_adds}


def evaluate(model, recipe, data):
    """Runs the final test of a network.

    Returns:
        `(results, figures)`: the results for `run.json`, see `results`, and figures by file name.
    """
    labels, probabilities = predict(model, limited_test_batches(recipe, data))
    title = f"{data.name}, {recipe.config.name}"
    shown = figures.select_examples(labels, probabilities)
    images = _images_at(limited_test_batches(recipe, data), shown)
    names = data.class_names
    pictures = {
        "confusion.png": figures.confusion(labels, probabilities.argmax(-1), names, title),
        "predictions.png": figures.predictions(
            images, labels[shown], probabilities[shown], names, title
        ),
    }
    return results(labels, probabilities), pictures


def predict(model, batches):
    """Returns a model's probabilities for all images.

    Args:
        model: a classifier.
        batches: `(images, labels)` batches.

    Returns:
        `(labels, probabilities)`, numpy arrays `(count,)` and `(count, classes)`.
    """
    labels, probabilities = [], []
    for images, batch_labels in batches:
        probabilities.append(model.predict_on_batch(images))
        labels.append(batch_labels)
    return np.concatenate(labels), np.concatenate(probabilities)


def results(labels, probabilities):
    """Returns the accuracy from 0 to 1, the number of correct images and of all test images."""
    correct = int(np.sum(labels == probabilities.argmax(-1)))
    return {"accuracy": correct / len(labels), "correct": correct, "test_images": len(labels)}


def summary(results) -> str:
    """Returns the results in one line."""
    return (
        f"Test accuracy {results['accuracy']:.2%} ({results['correct']} of"
        f" {results['test_images']} images)"
    )


def _images_at(batches, indices):
    """Returns the images at these indices, in the order of `indices`."""
    found = {}
    wanted = set(indices)
    for index, (image, _) in enumerate(batches.unbatch()):
        if index in wanted:
            found[index] = image.numpy()
    return [found[index] for index in indices]
