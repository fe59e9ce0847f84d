"""Multi-label classification: any number of classes for each image."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._predictors import THRESHOLD, Predictor

from .. import figures
from ..recipes.parts import Images, Network
from . import scores
from .classification import confusion_rows, shown
from .classifier import Classifier, build_classifier
from .notes import rare_classes
from .samples import name_of, tested
from .task import Evaluation

# Thresholds for the average precision of an epoch: logits from -16 to 16, the range of sigmoids in
# float32.
_BINS, _LOGITS = 256, 16.0


@dataclasses.dataclass(frozen=True)
class MultiLabel(Classifier):
    """Names all classes of an image. The outputs are independent probabilities of all classes.

    A class is predicted where its probability is above one half.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "loss",
        "accuracy",
        "mean_average_precision",
        "micro_f1",
        "macro_f1",
    )
    score: ClassVar[str] = "mean_average_precision"

    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a RegNet with a head of sigmoids."""
        return build_classifier(network, images, class_names, "sigmoid")

    def measure(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns `(2 + classes * (3 + 2 * bins), batch)`.

        The rows are the mean binary cross-entropy and the share of right answers over the classes;
        for each class whether it is true, predicted, and both; and for each class and bin of logits
        whether the image is a positive one in it, and whether it is in it.
        """
        true = tf.cast(labels, tf.float32)
        predicted = tf.cast(probabilities > THRESHOLD, tf.float32)
        losses = keras.losses.binary_crossentropy(true, probabilities)
        right = tf.reduce_mean(tf.cast(tf.equal(true, predicted), tf.float32), -1)
        logits = tf.math.log(probabilities) - tf.math.log1p(-probabilities)
        logits = tf.clip_by_value(logits, -_LOGITS, _LOGITS)  # also of the infinite ones
        place = tf.cast((_LOGITS - logits) * ((_BINS - 1) / (2 * _LOGITS)), tf.int32)
        totals = tf.one_hot(place, _BINS)  # N C B, the highest logits first
        counts = [true, predicted, true * predicted]
        flat = (-1, probabilities.shape[-1] * _BINS)
        counts += [tf.reshape(one, flat) for one in (totals * true[..., None], totals)]
        return tf.concat([tf.stack([losses, right]), tf.transpose(tf.concat(counts, -1))], 0)

    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns the `metrics` by name.

        The average precision of an epoch has the thresholds of the bins, which are 1/8 apart in
        logits. The final test's is exact.
        """
        loss, accuracy, *counts = map(float, means)
        classes = len(counts) // (3 + 2 * _BINS)
        true, predicted, hits = np.reshape(counts[: 3 * classes], (3, classes))
        bins = np.reshape(counts[3 * classes :], (2, classes, _BINS))
        precisions = scores.average_precisions_of_counts(*bins)
        values = (
            loss,
            accuracy,
            scores.mean_of_known(precisions),
            *_f1(hits, true, predicted),
        )
        return dict(zip(self.metrics, values, strict=True))

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

        The confusion matrix counts, for the images of a class, the other classes that are predicted
        and not true. A mistake is a class that is wrongly predicted or missed.
        """
        labels, probabilities, examples, worst = tested(predictor, batches, _shown)
        has = labels > THRESHOLD
        outcome = results(has, probabilities, class_names)
        sheet = figures.Sheet(predictor, class_names, paths)
        mistakes = f"{title}: the most confident mistakes"
        predicted = probabilities > THRESHOLD
        confusion = _confusion(has, predicted)
        pictures = {
            "confusion.png": figures.confusion(
                confusion, class_names, f"{title}: classes wrongly named", has.sum(0)
            ),
            "classes.png": figures.classes(
                outcome["average_precision"],
                outcome["support"],
                title,
                "average precision",
                "test images",
            ),
            "predictions.png": sheet.draw(examples, f"{title}: predictions"),
            "mistakes.png": sheet.draw(worst, mistakes, grad_cam),
        }
        tables: dict[str, list[Sequence[Any]]] = {
            "predictions.csv": _prediction_rows(has, probabilities, class_names, paths),
            "classes.csv": _class_rows(has, predicted, outcome["average_precision"]),
            "confusion.csv": confusion_rows(confusion, class_names, "images"),
        }
        return Evaluation(outcome, pictures, tables)

    def headline(self, results: dict) -> str:
        """Returns mean average precision and F1."""
        return (
            f"Test mean average precision {results['mean_average_precision']:.4f}, micro F1"
            f" {results['micro_f1']:.4f}, macro F1 {results['macro_f1']:.4f}"
            f" ({results['test_images']} images)"
        )


def _shown(image, label, scores, index):
    return figures.ShownSet(image, label > THRESHOLD, scores, index)


def results(has: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> dict:
    """Returns the results of a test.

    Args:
        has: whether each image has each class, `(images, classes)`.
        probabilities: of the same shape.
        class_names: names of the classes.

    Returns:
        Dict with "mean_average_precision", "micro_f1", "macro_f1" and "accuracy" (the share of
        right answers over images and classes), from 0 to 1; "test_images"; "average_precision",
        "f1" and "support" of each class by name; "rare_classes"; and "notes".
    """
    predicted = probabilities > THRESHOLD
    hits, true, called = (has & predicted).sum(0), has.sum(0), predicted.sum(0)
    precisions = scores.average_precisions(has, probabilities)
    micro, macro = _f1(hits, true, called)
    nothing = [] if called.any() else ["It names no class for any image."]
    return {
        "mean_average_precision": scores.mean_of_known(precisions),
        "micro_f1": micro,
        "macro_f1": macro,
        "accuracy": float((has == predicted).mean()),
        "test_images": len(has),
        "average_precision": scores.by_name(class_names, precisions),
        "f1": scores.by_name(class_names, scores.f1_scores(hits, true, called)),
        "support": dict(zip(class_names, true.tolist(), strict=True)),
        "rare_classes": rare_classes(true, class_names),
        "notes": nothing,
    }


def _f1(hits, true, predicted):
    """Returns micro and macro F1."""
    sums = (np.sum([one]) for one in (hits, true, predicted))
    macro = scores.mean_of_known(scores.f1_scores(hits, true, predicted))
    return scores.mean_of_known(scores.f1_scores(*sums)), macro


def _confusion(has, predicted):
    """Returns counts `(true class, predicted class)`; off the diagonal of wrong classes alone."""
    true = has.astype("int64")
    wrong = true.T @ (predicted & ~has)
    np.fill_diagonal(wrong, (has & predicted).sum(0))
    return wrong


def _prediction_rows(has, probabilities, class_names, paths):
    rows: list[Sequence[Any]] = [("image", "truth", "prediction", "probability")]
    for index, (true, values) in enumerate(zip(has, probabilities, strict=True)):
        named = [n for n in np.argsort(-values, kind="stable") if values[n] > THRESHOLD]
        rows.append(
            (
                name_of(paths, index),
                ";".join(class_names[n] for n in np.flatnonzero(true)),
                ";".join(class_names[n] for n in named),
                ";".join(f"{values[n]:.6f}" for n in named),
            )
        )
    return rows


def _class_rows(has, predicted, average_precisions):
    """Returns the table of classes, from the average precision of each by name."""
    hits, true, called = (has & predicted).sum(0), has.sum(0), predicted.sum(0)
    values = (
        [*average_precisions.values()],
        scores.recalls(hits, true),
        scores.recalls(hits, called),
        scores.f1_scores(hits, true, called),
    )
    rows = [("class", "images", "predicted", "average_precision", "recall", "precision", "f1")]
    for place, name in enumerate(average_precisions):
        rows.append((name, true[place], called[place], *(shown(one[place]) for one in values)))
    return rows
