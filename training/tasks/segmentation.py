"""Segmentation: one class for each pixel."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf._predictors import Predictor

from .. import figures
from ..recipes.parts import Decoder, Images, Network
from . import scores
from .classification import confusion_rows, shown
from .classifier import with_drop_path
from .samples import Foremost, name_of, scored
from .task import Evaluation, Task

_SHOWN = 24  # number of test images in a figure


@dataclasses.dataclass(frozen=True)
class Segmentation(Task):
    """Names the class of every pixel. The outputs are `(batch, height, width, classes)`.

    Pixels whose label is no class, such as 255, are ignored: they count nowhere.

    Args:
        decoder: the `Decoder` of the recipe; None if only to evaluate.
    """

    decoder: Decoder | None = None
    metrics: ClassVar[tuple[str, ...]] = ("loss", "mean_iou", "accuracy")
    score: ClassVar[str] = "mean_iou"

    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a RegNet with the decoder instead of the head."""
        if self.decoder is None:
            raise ValueError("`decoder` must be given. Received: decoder=None")
        levels = range(1, 2 + len(network.config.stages))
        backbone = regnet_tf.backbone(
            with_drop_path(network),
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
        """Returns the sum of the cross-entropy and the confusion matrix, `(1 + classes**2, batch)`.

        Both are over the pixels that are not ignored.
        """
        classes = probabilities.shape[-1]
        counted = _is_counted(labels, classes)
        losses = keras.losses.sparse_categorical_crossentropy(
            tf.where(counted, labels, tf.zeros_like(labels)), probabilities
        )
        losses = tf.reduce_sum(tf.where(counted, losses, tf.zeros_like(losses)), (1, 2))
        true = tf.one_hot(labels, classes)  # N H W T, zeros where ignored
        predicted = tf.one_hot(tf.argmax(probabilities, -1), classes)  # N H W P
        counts = tf.einsum("nhwt,nhwp->tpn", true, predicted)
        return tf.concat([losses[None], tf.reshape(counts, (classes**2, -1))], 0)

    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns "loss", "mean_iou" and "accuracy", the share of right pixels."""
        loss, *counts = means
        classes = round(len(counts) ** 0.5)
        loss = float(loss) / max(float(np.sum(counts)), 1e-12)  # per pixel
        return {"loss": loss, **_scores(np.reshape(counts, (classes, classes)))}

    def evaluate(
        self,
        predictor: Predictor,
        batches: Iterable,
        paths: Sequence[str] | None,
        class_names: Sequence[str],
        title: str,
        grad_cam: bool = False,
    ) -> Evaluation:
        """Returns `results`, with all figures and tables. See `Task.evaluate`.

        The mistakes are the images with the fewest right pixels. There are no heat maps.
        """
        classes = len(class_names)
        confusion = np.zeros((classes, classes), "int64")
        first: list[figures.Scene] = []
        worst = Foremost(_SHOWN)
        rows: list[Sequence[Any]] = [("image", "pixels", "accuracy", "mean_iou")]
        index = 0
        for images, labels, batch_scores in scored(predictor, batches):
            for image, true, predicted in zip(images, labels, batch_scores.argmax(-1), strict=True):
                counted = _is_counted(true, classes)
                own = scores.confusion_matrix(true[counted], predicted[counted], classes)
                confusion += own
                of_image = _scores(own)
                scene = figures.Scene(image, true, predicted, index)
                if len(first) < _SHOWN:
                    first.append(scene)
                if of_image["accuracy"] < 1:
                    worst.offer(-of_image["accuracy"], index, scene)
                shares = (f"{of_image[name]:.4f}" for name in ("accuracy", "mean_iou"))
                rows.append((name_of(paths, index), int(own.sum()), *shares))
                index += 1
        outcome = results(confusion, class_names) | {"test_images": index}
        sheet = figures.Sheet(predictor, class_names, paths)
        pictures = {
            "confusion.png": figures.confusion(confusion, class_names, f"{title}: pixels"),
            "classes.png": figures.classes(
                outcome["iou"], outcome["support"], title, "intersection over union", "pixels"
            ),
            "predictions.png": sheet.draw_scenes(first, f"{title}: test images"),
            "mistakes.png": sheet.draw_scenes(worst.items(), f"{title}: fewest pixels right"),
        }
        tables = {
            "predictions.csv": rows,
            "classes.csv": _class_rows(confusion, class_names),
            "confusion.csv": confusion_rows(confusion, class_names, "pixels"),
        }
        return Evaluation(outcome, pictures, tables)

    def headline(self, results: dict) -> str:
        """Returns mean IoU and pixel accuracy."""
        return (
            f"Test mean IoU {results['mean_iou']:.4f} ({results['accuracy']:.2%} of"
            f" {results['pixels']:,} pixels right)"
        )


def results(confusion: np.ndarray, class_names: Sequence[str]) -> dict:
    """Returns mean IoU, pixel accuracy, IoU and number of pixels of each class, and of all.

    Scores are from 0 to 1; the IoU of a class without pixels is None.
    """
    found = np.diag(confusion) > 0
    there = confusion.sum(1) > 0
    lonely = []
    if found.sum() == 1 and there.sum() > 1:
        only = int(found.argmax())
        lonely = [f'It has found no pixel of another class than "{class_names[only]}".']
    return {
        **_scores(confusion),
        "iou": scores.by_name(class_names, scores.intersection_over_union(confusion)),
        "support": dict(zip(class_names, confusion.sum(1).tolist(), strict=True)),
        "pixels": int(confusion.sum()),
        "notes": lonely,
    }


def _is_counted(labels, classes):
    return (labels >= 0) & (labels < classes)


def _scores(confusion):
    """Returns mean IoU and pixel accuracy."""
    iou = scores.intersection_over_union(confusion)
    right = np.trace(confusion) / max(confusion.sum(), 1e-12)
    return {"mean_iou": scores.mean_of_known(iou), "accuracy": float(right)}


def _class_rows(confusion, class_names):
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    values = (
        scores.intersection_over_union(confusion),
        scores.recalls(hits, true),
        scores.recalls(hits, predicted),
    )
    rows = [("class", "pixels", "predicted", "iou", "recall", "precision")]
    for place, name in enumerate(class_names):
        rows.append((name, true[place], predicted[place], *(shown(one[place]) for one in values)))
    return rows
