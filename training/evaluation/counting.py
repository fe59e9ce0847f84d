"""Evaluates trained networks and writes the results."""

import csv
import time

import keras
import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._files import replacing, write_json
from regnet_tf.class_names import imagenet_synsets
from regnet_tf.preprocessing import Preprocessing

from .. import figures
from ..data.batches import test_batches
from ..data.splits import Split
from .predictors import Predictor

#: The files of `write_evaluation`. The first one is written last.
FILES = {
    "evaluation.json": "accuracy, setting, speed",
    "classes.csv": "accuracy of each class",
    "confusion.csv": "how many images of each class went to which",
    "confusion.png": "the same as a picture",
}


def evaluate(
    predictor: Predictor,
    split: Split,
    preprocessing: Preprocessing,
    batch_size: int = 50,
    labels: np.ndarray | None = None,
    verbose: int = 1,
) -> dict:
    """Evaluates a classifier on a split of a data set.

    Args:
        predictor: a `training.evaluation.predictors.Predictor`.
        split: a split of a `training.data.DataSet`.
        preprocessing: a `regnet_tf.Preprocessing`.
        batch_size: images per batch.
        labels: the network's class for each class of the data set; None if they are the same.
        verbose: 1 for a progress bar, 0 for none.

    Returns:
        Dict with the keys "images"; "top1" and "top5" (percent; "top5" is None for 5 or fewer
        classes); "images_per_second" (including decoding); "confusion" (numpy array of counts,
        `(classes of the data set, classes of the network)`); "top5_correct" (numpy array, a count
        for each class).

    Raises:
        UserError: if the network returns scores that are not finite.
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
            raise UserError(f"{predictor.name} returned scores that are not finite.")
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
    """Returns the rank of each label by score, from 0. In a tie, the lower index ranks higher."""
    of_label = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > of_label) | ((scores == of_label) & earlier)).sum(-1)


def output_names(predictor):
    """Returns the names of a network's classes.

    Args:
        predictor: a `Predictor`. If it does not know its classes, 1000 ones are ImageNet's.

    Returns:
        A tuple of names, or None if unknown.
    """
    synsets = imagenet_synsets()
    if predictor.class_names is None and predictor.classes == len(synsets):
        return synsets
    return predictor.class_names


def match_classes(class_names, classes, outputs=None):
    """Maps the classes of a data set to the classes of a network.

    Args:
        class_names: class names of the data set.
        classes: number of classes of the network.
        outputs: names of the network's classes, see `output_names`; None if unknown.

    Returns:
        Numpy array of indices, or None if they are the same. With as many classes, but other names,
        they count as the same.

    Raises:
        UserError: if the classes cannot be matched.
    """
    if outputs is not None and set(class_names) <= set(outputs):
        places = {name: place for place, name in enumerate(outputs)}
        labels = np.array([places[name] for name in class_names])
        same = len(labels) == classes and (labels == np.arange(classes)).all()
        return None if same else labels
    if len(class_names) == classes:
        return None
    named = "with unknown names" if outputs is None else f"such as {', '.join(outputs[:3])}"
    unknown = [name for name in class_names if name not in (outputs or ())]
    raise UserError(
        f"The network has {classes} classes, {named}. The data set has {len(class_names)}, such as"
        f" {', '.join(unknown[:3])}. Either the numbers or the names must match."
    )


def write_evaluation(folder, result, class_names, labels=None, outputs=None):
    """Writes `FILES` to a folder.

    Args:
        folder: a `Path`; created if missing.
        result: return value of `evaluate`, with any further entries for `evaluation.json`.
        class_names: class names of the data set.
        labels: the network's class for each class of the data set; None if they are the same.
        outputs: names of the network's classes, needed with `labels`.

    Returns:
        The content of `evaluation.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = dict(result)
    confusion, top5_correct = result.pop("confusion"), result.pop("top5_correct")
    if labels is None:
        labels, outputs = np.arange(len(class_names)), class_names
    tables = {
        "classes.csv": _class_rows(confusion, top5_correct, class_names, outputs, labels),
        "confusion.csv": _confusion_rows(confusion, class_names, outputs),
    }
    for name, rows in tables.items():
        with replacing(folder / name) as path, path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    title = f"{result['model']}, {result['data']}: top-1 {result['top1']:.2f} %"
    figure = figures.confusion_of_counts(confusion[:, labels], class_names, title)
    figures.write_figure(figure, folder / "confusion.png")
    write_json(folder / "evaluation.json", result)
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
