"""What a network knows about itself: configuration, preprocessing, names of its classes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from regnet_tf.layers import ClassNames, Stem
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.variants import RegNetConfig


class Facts(NamedTuple):
    """What a network knows about itself; None for what it does not know.

    Attributes:
        config: its `RegNetConfig`.
        preprocessing: the `Preprocessing` from a photograph to its input.
        class_names: name of each output of a classifier, as the data set names its classes.
            ImageNet's classes have their synsets ("n01440764").
    """

    config: RegNetConfig | None = None
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None


def facts_of(model: keras.Model) -> Facts:
    """Returns what a network knows about itself.

    The layers of a network carry these facts: `Stem`, and `Head` or `PixelClassifier`. Saved,
    cloned, fused and renamed models keep them. Other models on the same layers have them, too.

    Args:
        model: a `keras.Model` with the layers of one RegNet.

    Returns:
        A `Facts`. If the model has a fixed input size, its preprocessing has this image size. If
        the model was built with `include_preprocessing`, its preprocessing leaves levels of 0 to
        255. Your own layers before the stem do not count.
    """
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    layers = list(_layers(model))
    stems = [layer for layer in layers if isinstance(layer, Stem)]
    named = [layer for layer in layers if isinstance(layer, ClassNames)]
    preprocessing = _only(stem.preprocessing for stem in stems)
    if preprocessing is not None and inputs:
        preprocessing = _at_size(preprocessing, inputs[0].shape[1])
    if preprocessing is not None and any(layer.name == "preprocessing" for layer in layers):
        preprocessing = preprocessing.replace(mean=(0, 0, 0), std=(1 / 255,) * 3)
    class_names = _only(layer.class_names for layer in named)
    if class_names is not None and outputs and len(class_names) != outputs[0].shape[-1]:
        class_names = None  # another layer follows the head
    return Facts(_only(stem.network for stem in stems), preprocessing, class_names)


def _layers(model: Any) -> Iterator[Any]:
    """Yields all layers of a model, also those of models within it."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(layer) if isinstance(layer, keras.Model) else ()


def _only(values: Iterator[Any]) -> Any:
    """Returns the value that all of the known ones share; None if they differ."""
    different = {value for value in values if value is not None}
    return different.pop() if len(different) == 1 else None


def _at_size(preprocessing: Preprocessing, size: int | None) -> Preprocessing:
    """Returns the preprocessing for a fixed input size, with the same part of the image."""
    if size in (None, preprocessing.image_size):
        return preprocessing
    fraction = preprocessing.crop_fraction
    if preprocessing.resize_size is not None:
        fraction = preprocessing.image_size / preprocessing.resize_size
    return preprocessing.replace(image_size=size, crop_fraction=fraction, resize_size=None)
