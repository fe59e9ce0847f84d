"""Classification: one class for each image."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._predictors import Predictor

from .. import figures
from ..recipes.parts import Images, Network
from . import notes, scores
from .classifier import Classifier, build_classifier
from .samples import name_of, tested
from .task import Evaluation

_LISTED = 5  # predictions of an image in the table


@dataclasses.dataclass(frozen=True)
class Classification(Classifier):
    """Names the class of an image. The network's outputs are probabilities `(batch, classes)`.

    In the final test an image may have several right classes, as in ImageNet-ReaL. Its true class
    is then the right one with the highest probability.

    Args:
        independent: whether the outputs are sigmoids, for binary cross-entropy, instead of a
            softmax.
    """

    independent: bool = False
    metrics: ClassVar[tuple[str, ...]] = (
        "loss",
        "accuracy",
        "top5_accuracy",
        "balanced_accuracy",
        "macro_f1",
    )
    score: ClassVar[str] = "accuracy"

    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a RegNet with a head."""
        return build_classifier(
            network, images, class_names, "sigmoid" if self.independent else "softmax"
        )

    def measure(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns `(3 + 3 * classes, batch)`.

        The rows are the cross-entropy without smoothing, the top-1 and the top-5 hits, and for each
        class whether it is true, predicted, and both.
        """
        classes = probabilities.shape[-1]
        true = tf.one_hot(labels, classes)
        predicted = tf.one_hot(tf.argmax(probabilities, -1), classes)
        if self.independent:
            losses = keras.losses.binary_crossentropy(true, probabilities)
        else:
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        hits = [tf.cast(tf.math.in_top_k(labels, probabilities, k), tf.float32) for k in (1, 5)]
        counts = tf.concat([true, predicted, true * predicted], -1)
        return tf.concat([tf.stack([losses, *hits]), tf.transpose(counts)], 0)

    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns "loss", "accuracy", "top5_accuracy", "balanced_accuracy" and "macro_f1"."""
        true, predicted, hits = np.reshape(means[3:], (3, -1))
        balanced = scores.mean_of_known(scores.recalls(hits, true))
        macro_f1 = scores.mean_of_known(scores.f1_scores(hits, true, predicted))
        return dict(zip(self.metrics, (*map(float, means[:3]), balanced, macro_f1), strict=True))

    def evaluate(
        self,
        predictor: Predictor,
        batches: Iterable,
        paths: Sequence[str] | None,
        class_names: Sequence[str],
        title: str,
        grad_cam: bool = False,
    ) -> Evaluation:
        """Returns `results`, with all figures and tables. See `Task.evaluate`."""
        labels, all_scores, examples, worst = tested(predictor, batches, _shown)
        labels = _true_class(labels, all_scores)
        confusion = scores.confusion_matrix(labels, all_scores.argmax(-1), len(class_names))
        outcome = results(labels, all_scores, class_names)
        sheet = figures.Sheet(predictor, class_names, paths)
        mistakes = f"{title}: the most confident mistakes"
        pictures = {
            "confusion.png": figures.confusion(confusion, class_names, title),
            "classes.png": figures.classes(
                outcome["recall"], outcome["support"], title, "recall", "test images"
            ),
            "predictions.png": sheet.draw(examples, f"{title}: predictions for test images"),
            "mistakes.png": sheet.draw(worst, mistakes, grad_cam),
        }
        tables: dict[str, list[Sequence[Any]]] = {
            "predictions.csv": prediction_rows(labels, all_scores, class_names, paths),
            "classes.csv": _class_rows(confusion, class_names),
            "confusion.csv": confusion_rows(confusion, class_names, "images"),
        }
        return Evaluation(outcome, pictures, tables)

    def headline(self, results: dict) -> str:
        """Returns the accuracy, and the balanced one of an imbalanced data set."""
        balanced = ""
        if notes.is_imbalanced(np.array(list(results["support"].values()))):
            balanced = f", balanced accuracy {results['balanced_accuracy']:.2%}"
        return (
            f"Test accuracy {results['accuracy']:.2%} ({results['correct']} of"
            f" {results['test_images']} images){balanced}"
        )


def _shown(image, label, scores, index):
    guess = int(scores.argmax())
    return figures.Shown(image, int(_true_class(label, scores)), guess, scores[guess], index)


def _true_class(labels, scores):
    """Returns the true classes, of several right ones those with the highest scores.

    So a prediction is right if it is among the right classes, and one of the first five is right
    if any of them is.
    """
    if np.ndim(labels) < np.ndim(scores):
        return labels
    return np.where(np.asarray(labels) > 0, scores, -np.inf).argmax(-1)


def results(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> dict:
    """Returns the results of a test.

    Args:
        labels: true classes `(count,)`.
        probabilities: `(count, classes)`.
        class_names: names of the classes.

    Returns:
        Dict with "accuracy", "top5_accuracy" (None for 5 or fewer classes), "balanced_accuracy" and
        "macro_f1" (from 0 to 1); "correct" and "test_images"; "recall" and "support" of each class
        by name (the recall is None without test images); "rare_classes", those with few test
        images; and "notes", sentences about results that look better than they are.
    """
    classes = len(class_names)
    confusion = scores.confusion_matrix(labels, probabilities.argmax(-1), classes)
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    recalls = scores.recalls(hits, true)
    correct, count = int(hits.sum()), len(labels)
    top5 = float((_ranks(probabilities, labels) < 5).mean()) if classes > 5 else None
    return {
        "accuracy": correct / count,
        "top5_accuracy": top5,
        "balanced_accuracy": scores.mean_of_known(recalls),
        "macro_f1": scores.mean_of_known(scores.f1_scores(hits, true, predicted)),
        "correct": correct,
        "test_images": count,
        "recall": scores.by_name(class_names, recalls),
        "support": dict(zip(class_names, true.tolist(), strict=True)),
        "rare_classes": notes.rare_classes(true, class_names),
        "notes": notes.remarks(confusion, class_names),
    }


def _ranks(probabilities, labels):
    """Returns the rank of each label by score, from 0. In a tie, the lower index ranks higher."""
    of_label = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    return ((probabilities > of_label) | ((probabilities == of_label) & earlier)).sum(-1)


def prediction_rows(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    paths: Sequence[str] | None,
) -> list[Sequence[Any]]:
    """Returns the table of predictions: image, truth, and the most probable classes."""
    count = min(_LISTED, len(class_names))
    best = np.argsort(-probabilities, -1, kind="stable")[:, :count]
    rows: list[Sequence[Any]] = [("image", "truth", *ranked_columns(count))]
    for index, (label, places) in enumerate(zip(labels, best, strict=True)):
        pairs = ((class_names[n], f"{probabilities[index, n]:.6f}") for n in places)
        ranked = (one for pair in pairs for one in pair)
        rows.append((name_of(paths, index), class_names[label], *ranked))
    return rows


def ranked_columns(count: int) -> list[str]:
    """Returns the names of the columns of ranked predictions and their probabilities."""
    ends = ("", *(f"_{number}" for number in range(2, count + 1)))
    return [f"{name}{end}" for end in ends for name in ("prediction", "probability")]


def _class_rows(confusion, class_names):
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    recalls, f1_scores = scores.recalls(hits, true), scores.f1_scores(hits, true, predicted)
    precisions = scores.recalls(hits, predicted)
    rows = [("class", "images", "predicted", "recall", "precision", "f1", "most_often_taken_for")]
    for place, name in enumerate(class_names):
        if true[place] == predicted[place] == 0:
            continue
        wrong = confusion[place] * (np.arange(len(class_names)) != place)
        other = class_names[wrong.argmax()] if wrong.any() else ""
        shares = (shown(values[place]) for values in (recalls, precisions, f1_scores))
        rows.append((name, true[place], predicted[place], *shares, other))
    return rows


def confusion_rows(
    confusion: np.ndarray, class_names: Sequence[str], unit: str
) -> list[Sequence[Any]]:
    """Returns the table of a confusion matrix: a row for each pair of classes that occurs."""
    pairs = zip(*np.nonzero(confusion), strict=True)
    rows = [(class_names[t], class_names[p], int(confusion[t, p])) for t, p in pairs]
    return [("class", "taken_for", unit), *rows]


def shown(value: float | None) -> str:
    """Returns a share with four digits; nothing for None and NaN."""
    return "" if value is None or np.isnan(value) else f"{value:.4f}"
