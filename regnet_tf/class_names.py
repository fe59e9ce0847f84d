"""Names of classes: ImageNet's, and those of predicted classes."""

import functools
import importlib.resources
import json
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from regnet_tf._checks import check, check_int
from regnet_tf._errors import printable
from regnet_tf.facts import facts_of


def decode_predictions(
    preds: Any, top: int = 5, model: keras.Model | None = None
) -> list[list[tuple[str, str, float]]]:
    """Returns the classes with the highest scores.

    Args:
        preds: scores, an array or tensor `(batch, classes)`.
        top: number of classes to return for each image, or fewer if the model has fewer.
        model: the classifier that gave the scores, for the names of its classes; default: a
            classifier of ImageNet's 1000 classes.

    Returns:
        For each image a list of `(class_name, words, score)`, the highest score first. ImageNet's
        classes are named as in `keras.applications`: ("n01484850", "great_white_shark", 0.9). Other
        classes have their name twice.

    Raises:
        ValueError: for another shape, if `top` is out of range, or for a model that does not know
            the names of its classes.

    Examples:
        >>> scores = np.zeros((1, 1000))
        >>> scores[0, 2] = 0.9
        >>> regnet_tf.decode_predictions(scores, top=1)
        [[('n01484850', 'great_white_shark', 0.9)]]
    """
    preds = ops.convert_to_numpy(preds) if ops.is_tensor(preds) else np.asarray(preds)
    names = imagenet_synsets() if model is None else known_class_names(model)
    ok = preds.ndim == 2 and preds.shape[1] == len(names)
    whose, hint = "the model's scores", ""
    if model is None:
        whose, hint = "ImageNet's scores", "; for others pass `model`, the network that gave them"
    check("preds", f"shape {preds.shape}", ok, f"{whose}, of shape (batch, {len(names)}){hint}")
    check_int("top", top, minimum=1)
    if model is None:
        check("top", top, top <= len(names), f"at most {len(names)}")
    best = np.argsort(-preds.astype("float64"), axis=1, kind="stable")[:, :top]
    return [
        [(names[i], _keras_name(names[i]), float(scores[i])) for i in row]
        for row, scores in zip(best, preds, strict=True)
    ]


def _keras_name(class_name):
    """Returns a synset's words as `keras.applications` joins them, and any other name as it is."""
    words = readable(class_name)
    return words if words == class_name else words.replace(" ", "_")


def known_class_names(model: keras.Model) -> tuple[str, ...]:
    """Returns the names of a classifier's classes.

    Raises:
        ValueError: if the model does not know them.
    """
    names = facts_of(model).class_names
    if names is None:
        raise ValueError(
            "`model` must know the names of its classes. Pass `class_names` where you build it, or"
            ' set `model.get_layer("head").class_names`.'
            f" Received: the model {model.name!r} without class names"
        )
    return names


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """Returns ImageNet's 1000 classes in label order: `("n01440764", "tench, Tinca tinca")`."""
    file = importlib.resources.files("regnet_tf") / "data" / "imagenet_classes.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    split = (line.partition(" ") for line in lines if not line.startswith("#"))
    return tuple((synset, words) for synset, _, words in split)


def imagenet_synsets() -> tuple[str, ...]:
    """Returns the synsets of ImageNet's 1000 classes in label order."""
    return tuple(synset for synset, _ in imagenet_classes())


@functools.cache
def imagenet_subset(name: str) -> tuple[str, ...] | None:
    """Returns the synsets of a data set with some of ImageNet's classes, in label order.

    Args:
        name: name of the data set in tensorflow-datasets, such as "imagenet_a".

    Returns:
        The synsets; None for any other data set.
    """
    file = importlib.resources.files("regnet_tf") / "data" / "imagenet_subsets.json"
    synsets = json.loads(file.read_text(encoding="utf-8")).get(name)
    return None if synsets is None else tuple(synsets)


def readable(class_name: str) -> str:
    """Returns the first words of an ImageNet synset, and any other name as it is.

    Examples:
        >>> readable("n01484850"), readable("a, b")
        ('great white shark', 'a, b')
    """
    words = _synset_words().get(class_name)
    return class_name if words is None else words.split(",")[0]


def in_words(class_names: Iterable[str]) -> tuple[str, ...]:
    """Returns names of classes as people read them, each in one line."""
    return tuple(printable(" ".join(readable(name).split())) for name in class_names)


@functools.cache
def _synset_words() -> dict[str, str]:
    return dict(imagenet_classes())
