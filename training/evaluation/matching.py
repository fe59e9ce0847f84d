"""Matches the classes of a data set with those of a network, by name."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from regnet_tf._boxes import SIDES
from regnet_tf._errors import UserError
from regnet_tf._predictors import Predictor

from ..data import DataSet
from ..tasks import Classification, Detection, MultiLabel, Segmentation, Task

_NAMES = 3  # of each side in an error
_NAMED = {"pixels": "pixels", "boxes": "boxes"}  # by the target of a data set; else images
_WORDS = {"images": "whole images", "pixels": "every pixel", "boxes": "boxes"}


def task_for(predictor: Predictor, data: DataSet) -> Task:
    """Returns the task that a network and a data set have in common.

    Raises:
        UserError: if they name the classes of different things: images, pixels or boxes.
    """
    ours, theirs = predictor.named, _NAMED.get(data.target, "images")
    if ours != theirs:
        raise UserError(
            f"{predictor.name} names the class of {_WORDS[ours]}, and {data.name} that of"
            f" {_WORDS[theirs]}."
        )
    if ours == "boxes":
        return Detection(predictor.known_preprocessing.image_size)
    if ours == "pixels":
        return Segmentation()
    if data.target == "classes" and not data.any_class:
        return MultiLabel()
    return Classification(independent=predictor.independent)


def match_classes(class_names: Sequence[str], predictor: Predictor) -> np.ndarray:
    """Returns the network's output for each class of a data set. Only names count.

    Args:
        class_names: class names of the data set, some or all of the network's.
        predictor: a `Predictor`.

    Raises:
        UserError: if the network does not know the names of its classes, or not all of these.
    """
    offer = "--labels FILE gives the network's names in the order of its outputs, one a line."
    outputs = predictor.class_names
    if outputs is None:
        raise UserError(
            f"{predictor.name} does not know the names of its {predictor.classes} classes. The data"
            f" set's {len(class_names)} are {_first(class_names)}. {offer}"
        )
    places = {name: place for place, name in enumerate(outputs)}
    unknown = [name for name in class_names if name not in places]
    if unknown:
        raise UserError(
            f"Classes are matched by name. {predictor.name} has {len(outputs)}: {_first(outputs)}."
            f" The data set has {len(class_names)}: {_first(class_names)}."
            f" Unknown to the network: {_first(unknown)}. {offer}"
        )
    return np.array([places[name] for name in class_names])


def matched(
    predictor: Predictor, data: DataSet, batches: tf.data.Dataset
) -> tuple[Predictor, tf.data.Dataset]:
    """Returns a network and batches whose labels are the network's outputs.

    For several classes an image, and for data sets with `only_its_classes`, only the outputs of
    the data set's classes are kept.

    Args:
        predictor: a `Predictor`.
        data: a data set with some or all of its classes.
        batches: `(images, labels)` batches of the data set.

    Raises:
        UserError: as in `match_classes`.
    """
    places = match_classes(data.class_names, predictor)
    ordered = (places == np.arange(len(places))).all()
    if data.target == "boxes":
        return predictor, batches if ordered else batches.map(_renumbered(places))
    if data.target == "classes" or data.only_its_classes:
        same = ordered and len(places) == predictor.classes
        return predictor if same else predictor.selected(places), batches
    if ordered:
        return predictor, batches
    # Numbers of no class, such as 255 for an ignored pixel, stay as they are.
    table = np.full(max(256, len(places)), 255, "int64")
    table[: len(places)] = places
    return predictor, batches.map(lambda images, labels: (images, tf.gather(table, labels)))


def _renumbered(places):
    """Returns a function of a batch of boxes that gives their classes the network's numbers."""
    table = tf.constant([*places, -1], tf.float32)  # the class of no box is -1, the last place

    def renumber(images, labels):
        classes = tf.cast(labels[..., SIDES:], tf.int32) % len(table)
        return images, tf.concat([labels[..., :SIDES], tf.gather(table, classes)], -1)

    return renumber


def about_selected(predictor: Predictor, data: DataSet) -> list[str]:
    """Returns a sentence about the classes that were not compared, in a list; [] for none."""
    count = len(data.class_names)
    if not data.only_its_classes or count == predictor.classes:
        return []
    of = f"{count:,} of {predictor.classes:,}"
    return [f"Only the scores of the data set's {of} classes were compared."]


def _first(names):
    shown = ", ".join(map(repr, names[:_NAMES]))
    return f"{shown} and {len(names) - _NAMES} more" if len(names) > _NAMES else shown
