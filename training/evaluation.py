"""What a trained network gets right, counted and written down."""

import csv
import json
import time

import keras
import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._files import replacing
from regnet_tf.preprocessing import imagenet_classes

from . import report
from .data.batches import test_batches

#: What `write_evaluation` leaves in its folder; the first one comes last.
FILES = {
    "evaluation.json": "accuracy, setting, speed",
    "classes.csv": "accuracy of each class",
    "confusion.csv": "how many images of each class went to which",
    "confusion.png": "the same as a picture",
}


def evaluate(predictor, split, preprocessing, batch_size=50, labels=None, verbose=1) -> dict:
    """Counts what a network gets right.

    Args:
        predictor: a `training.predictors.Predictor`.
        split: of a `training.data.DataSet`.
        preprocessing: a `regnet_tf.Preprocessing`.
        batch_size: images at a time.
        labels: for each class of the data set the network's class; None where they are the same.
        verbose: 1 for a progress bar, 0 for none.

    Returns:
        Dict: "images", "top1" and "top5" (percent; the latter None for 5 classes and fewer),
        "images_per_second" (decoding included), "confusion" (`(classes of the data set, classes of
        the network)` counts, numpy), "top5_correct" (count of each class, numpy).

    Raises:
        UserError: where the network gives what is no number.
    """
    labels = np.arange(predictor.classes) if labels is None else np.asarray(labels)
    confusion = np.zeros((len(labels), predictor.classes), "int64")
    top5 = np.zeros(len(labels), "int64")
    bar = keras.utils.Progbar(split.size, unit_name="image", verbose=verbose)
    start = time.perf_counter()
    batches = test_batches(split, preprocessing, batch_size, normalized=predictor.normalized)
    for images, true in batches:
        true = true.numpy()
        scores = predictor.scores(images)
        if not np.isfinite(scores).all():
            raise UserError(f"{predictor.name} gives scores that are no numbers.")
        np.add.at(confusion, (true, scores.argmax(-1)), 1)
        np.add.at(top5, true, _rank(scores, labels[true]) < 5)
        bar.add(len(true))
    seconds = time.perf_counter() - start
    count, right = confusion.sum(), confusion[np.arange(len(labels)), labels].sum()
    return {
        "images": int(count),
        "top1": 100 * float(right / count),
        "top5": 100 * float(top5.sum() / count) if predictor.classes > 5 else None,
        "images_per_second": float(count / seconds),
        "confusion": confusion,
        "top5_correct": top5,
    }


def _rank(scores, labels):
    """How many classes come before the label's; of equal scores the first one counts as higher."""
    of_label = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > of_label) | ((scores == of_label) & earlier)).sum(-1)


def match_classes(class_names, classes):
    """For each class of a data set, the class of a network.

    Args:
        class_names: of the data set.
        classes: the number of classes of the network.

    Returns:
        Numpy array of indices, or None where they are the same.

    Raises:
        UserError: where they can not be matched.
    """
    if len(class_names) == classes:
        return None
    synsets = {synset: index for index, (synset, _) in enumerate(imagenet_classes())}
    if classes == len(synsets) and all(name in synsets for name in class_names):
        return np.array([synsets[name] for name in class_names])
    raise UserError(
        f"The network knows {classes} classes, the data set {len(class_names)}, which are not"
        " named by ImageNet's synsets (n01440764 ...)."
    )


def write_evaluation(folder, result, class_names, labels=None):
    """Writes `FILES`.

    Args:
        folder: a `Path`; made if need be.
        result: what `evaluate` returned, with whatever else `evaluation.json` shall say.
        class_names: of the data set.
        labels: for each class of the data set the network's class; None where they are the same.

    Returns:
        The content of `evaluation.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = dict(result)
    confusion, top5_correct = result.pop("confusion"), result.pop("top5_correct")
    outputs = class_names
    if labels is None:
        labels = np.arange(len(class_names))
    else:
        outputs = [synset for synset, _ in imagenet_classes()]
    tables = {
        "classes.csv": _class_rows(confusion, top5_correct, class_names, outputs, labels),
        "confusion.csv": _confusion_rows(confusion, class_names, outputs),
    }
    for name, rows in tables.items():
        with replacing(folder / name) as path, path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    title = f"{result['model']}, {result['data']}: top-1 {result['top1']:.2f} %"
    figure = report.confusion_of_counts(confusion[:, labels], class_names, title)
    with replacing(folder / "confusion.png") as path:
        figure.savefig(path, dpi=report.DPI)
    with replacing(folder / "evaluation.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _class_rows(confusion, top5_correct, class_names, outputs, labels):
    yield "class", "images", "top1", "top5", "most_often_taken_for"
    for row, (name, label) in enumerate(zip(class_names, labels, strict=True)):
        images, right = confusion[row].sum(), confusion[row, label]
        wrong = confusion[row] * (np.arange(len(outputs)) != label)
        other = outputs[wrong.argmax()] if wrong.any() else ""
        shares = (f"{100 * count / max(images, 1):.2f}" for count in (right, top5_correct[row]))
        yield name, images, *shares, other


def _confusion_rows(confusion, class_names, outputs):
    yield "class", "taken_for", "images"
    for row, column in zip(*np.nonzero(confusion), strict=True):
        yield class_names[row], outputs[column], confusion[row, column]
