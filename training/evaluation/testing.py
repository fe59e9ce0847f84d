"""Tests a network of any format on a data set, and writes the results."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from regnet_tf._files import write_csv, write_json
from regnet_tf._predictors import Predictor

from ..data import DataSet
from ..data.batches import test_batches
from ..data.checking import naming_damaged_files
from ..data.splits import Split
from ..figures import write_figure
from ..tasks import FILES as OF_TASKS
from ..tasks import Evaluation
from .matching import about_selected, matched, task_for

#: The files of an evaluation. The first one is written last.
FILES = {"evaluation.json": "scores, setting, speed", **OF_TASKS}


def evaluate(
    predictor: Predictor,
    data: DataSet,
    split: Split,
    batch_size: int = 50,
    grad_cam: bool = False,
    verbose: int = 1,
) -> Evaluation:
    """Tests a network on a split of a data set.

    Args:
        predictor: the network, with a preprocessing and class names.
        data: the data set.
        split: its split.
        batch_size: images per batch.
        grad_cam: whether the sheet of mistakes shows Grad-CAM's heat maps.
        verbose: 1 for a progress bar, 0 for none.

    Returns:
        The `Evaluation` of the task. Its results have "summary", the outcome in one line, and
        "images_per_second", including decoding.

    Raises:
        UserError: if the network does not fit the data set, a score is not finite, or an image is
            damaged.
    """
    task = task_for(predictor, data)
    preprocessing, normalized = predictor.known_preprocessing, predictor.normalized
    batches = test_batches(split, preprocessing, batch_size, normalized=normalized)
    selected = about_selected(predictor, data)
    predictor, batches = matched(predictor, data, batches)
    title, names = f"{predictor.name}, {data.name}", predictor.class_names or ()
    counted = _Counted(batches, split.size, verbose)
    with naming_damaged_files(split, max_pixels=preprocessing.max_pixels):
        found = task.evaluate(predictor, counted, split.paths, names, title, grad_cam)
    results = found.results | {"notes": [*selected, *found.results["notes"]]}
    speed = {"images_per_second": counted.images / counted.seconds}
    summary = {"summary": task.summary(results)}
    return found._replace(results=_of_data_set(results, data) | summary | speed)


class _Counted:
    """Batches with a progress bar and the time that they took.

    Attributes:
        images: number of images.
        seconds: time from the first to the last batch.
    """

    def __init__(self, batches: tf.data.Dataset, count: int, verbose: int) -> None:
        self._batches = batches
        self._bar = keras.utils.Progbar(count, unit_name="image", verbose=verbose)
        self.images, self.seconds = 0, 0.0

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        start = time.perf_counter()
        for images, labels in self._batches:
            yield images, labels
            self.images += len(images)
            self._bar.add(len(images))
        self.seconds = time.perf_counter() - start


def _of_data_set(results: dict, data: DataSet) -> dict:
    """Returns the results with the data set's classes only, where they are by class."""
    return {
        key: {name: value[name] for name in data.class_names if name in value}
        if isinstance(value, dict)
        else value
        for key, value in results.items()
    }


def write_evaluation(folder: Path, found: Evaluation, facts: dict[str, Any]) -> dict:
    """Writes `FILES` to a folder, which is created if missing.

    Args:
        folder: the folder.
        found: return value of `evaluate`.
        facts: further entries of `evaluation.json`.

    Returns:
        The content of `evaluation.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").unlink(missing_ok=True)  # it marks the files as complete
    for name, rows in found.tables.items():
        write_csv(folder / name, rows)
    for name, figure in found.figures.items():
        write_figure(figure, folder / name)
    content = {**facts, **found.results}
    write_json(folder / "evaluation.json", content)
    return content
