"""Classification: one class for each image."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf import RegNetConfig

from .. import figures
from ..recipes.parts import Images, Network
from .task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Classification(Task):
    """Names the class of an image. The network's outputs are probabilities `(batch, classes)`."""

    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "top5_accuracy")
    score: ClassVar[str] = "accuracy"

    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a RegNet with a head."""
        return regnet_tf.build_regnet(
            network.config,
            input_shape=images.input_shape,
            class_names=class_names,
            preprocessing=images.preprocessing,
            synchronized=network.synchronized,
            dtype=network.precision,
        )

    def measure(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns cross-entropy without smoothing, top-1 and top-5 hits, `(3, batch)`."""
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        hits = [tf.math.in_top_k(labels, probabilities, k) for k in (1, 5)]
        return tf.stack([losses, *(tf.cast(hit, tf.float32) for hit in hits)])

    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns "loss", "accuracy" and "top5_accuracy"."""
        return dict(zip(("loss", "accuracy", "top5_accuracy"), map(float, means), strict=True))

    def cost(self, model: keras.Model, config: RegNetConfig, image_size: int) -> dict[str, int]:
        """Returns the number of "parameters", and of "multiply_adds" for one image."""
        cost = regnet_tf.complexity(config, image_size, classes=model.output_shape[-1])
        return {"parameters": cost.parameters, "multiply_adds": cost.multiply_adds}

    def evaluate(
        self, model: keras.Model, batches: tf.data.Dataset, class_names: Sequence[str], title: str
    ) -> tuple[dict, "dict[str, Figure]"]:
        """Returns `results`, a confusion matrix and a sheet of test images with predictions."""
        labels, probabilities = predict(model, batches)
        shown = figures.select_examples(labels, probabilities)
        images = _images_at(batches, shown)
        predicted = probabilities.argmax(-1)
        pictures = {
            "confusion.png": figures.confusion(labels, predicted, class_names, title),
            "predictions.png": figures.predictions(
                images, labels[shown], probabilities[shown], class_names, title
            ),
        }
        return results(labels, probabilities), pictures

    def summary(self, results: dict) -> str:
        """Returns the accuracy in one line."""
        return (
            f"Test accuracy {results['accuracy']:.2%} ({results['correct']} of"
            f" {results['test_images']} images)"
        )


def predict(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
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


def results(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Returns the accuracy from 0 to 1, the number of correct images and of all test images."""
    correct = int(np.sum(labels == probabilities.argmax(-1)))
    return {"accuracy": correct / len(labels), "correct": correct, "test_images": len(labels)}


def _images_at(batches, indices):
    """Returns the images at these indices, in the order of `indices`."""
    found = {}
    wanted = set(indices)
    for index, (image, _) in enumerate(batches.unbatch()):
        if index in wanted:
            found[index] = image.numpy()
    return [found[index] for index in indices]
