"""Segmentation: one class for each pixel."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf import RegNetConfig

from .. import figures
from ..recipes.parts import Decoder, Images, Network
from .task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 24  # number of test images in the figure of predictions


@dataclasses.dataclass(frozen=True)
class Segmentation(Task):
    """Names the class of every pixel. The outputs are `(batch, height, width, classes)`.

    Args:
        decoder: the `Decoder` of the recipe.
    """

    decoder: Decoder
    metrics: ClassVar[tuple[str, ...]] = ("loss", "mean_iou", "accuracy")
    score: ClassVar[str] = "mean_iou"

    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a RegNet with the decoder instead of the head."""
        levels = range(1, 2 + len(network.config.stages))
        backbone = regnet_tf.backbone(
            network.config,
            outputs=[level for level in levels if level >= self.decoder.finest_level],
            input_shape=images.input_shape,
            preprocessing=images.preprocessing,
            synchronized=network.synchronized,
            dtype=network.precision,
        )
        return regnet_tf.segmentation_model(
            backbone,
            len(class_names),
            decoder=self.decoder.name,
            width=self.decoder.width,
            class_names=class_names,
            synchronized=network.synchronized,
        )

    def measure(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns cross-entropy and confusion matrix, `(1 + classes**2, batch)`."""
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        classes = probabilities.shape[-1]
        true = tf.one_hot(labels, classes)  # N H W T
        predicted = tf.one_hot(tf.argmax(probabilities, -1), classes)  # N H W P
        counts = tf.einsum("nhwt,nhwp->tpn", true, predicted)
        counts = tf.reshape(counts, (classes**2, -1))
        return tf.concat([tf.reduce_mean(losses, (1, 2))[None], counts], 0)

    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns "loss", "mean_iou" and "accuracy", the share of right pixels."""
        loss, *counts = means
        classes = round(len(counts) ** 0.5)
        return {"loss": float(loss), **_scores(np.reshape(counts, (classes, classes)))}

    def cost(self, model: keras.Model, config: RegNetConfig, image_size: int) -> dict[str, int]:
        """Returns the number of trainable "parameters"."""
        return {"parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables)}

    def evaluate(
        self, model: keras.Model, batches: tf.data.Dataset, class_names: Sequence[str], title: str
    ) -> tuple[dict, "dict[str, Figure]"]:
        """Returns `results`, a confusion matrix of pixels and a sheet of predicted maps."""
        classes = len(class_names)
        confusion = np.zeros((classes, classes), "int64")
        shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for images, labels in batches:
            labels, predicted = labels.numpy(), model.predict_on_batch(images).argmax(-1)
            np.add.at(confusion, (labels, predicted), 1)
            if len(shown) < _SHOWN:
                shown += zip(images.numpy(), labels, predicted, strict=True)
        pictures = {
            "confusion.png": figures.confusion_of_pixels(confusion, class_names, title),
            "predictions.png": figures.segmentations(shown[:_SHOWN], class_names, title),
        }
        return results(confusion, class_names), pictures

    def summary(self, results: dict) -> str:
        """Returns mean IoU and pixel accuracy in one line."""
        return (
            f"Test mean IoU {results['mean_iou']:.4f} ({results['accuracy']:.2%} of"
            f" {results['pixels']:,} pixels right)"
        )


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of each class.

    Args:
        confusion: pixel counts `(true class, predicted class)`.

    Returns:
        `(classes,)`, NaN for a class without pixels.
    """
    both = np.diag(confusion).astype(float)
    either = confusion.sum(0) + confusion.sum(1) - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


def results(confusion: np.ndarray, class_names: Sequence[str]) -> dict:
    """Returns mean IoU, pixel accuracy, IoU of each class, and the number of pixels.

    Scores are from 0 to 1; the IoU of a class without pixels is None.
    """
    ious = zip(class_names, intersection_over_union(confusion), strict=True)
    return {
        **_scores(confusion),
        "iou": {name: None if np.isnan(iou) else float(iou) for name, iou in ious},
        "pixels": int(confusion.sum()),
    }


def _scores(confusion):
    """Returns mean IoU and pixel accuracy."""
    return {
        "mean_iou": float(np.nanmean(intersection_over_union(confusion))),
        "accuracy": float(np.trace(confusion) / confusion.sum()),
    }
