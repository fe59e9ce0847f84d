"""What a network knows about itself: configuration, preprocessing, names of its classes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from regnet_tf._boxes import number_of_classes
from regnet_tf._checks import check
from regnet_tf._internals import all_layers, maker
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
        normalizes: whether the model itself changes the levels of its images before the stem, such
            as by `include_preprocessing` or by a `Rescaling` layer. Then `preprocessing` leaves
            levels of 0 to 255. For your own layers, this is an assumption.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, class_names=("ant", "bee"))
        >>> facts = regnet_tf.facts_of(model)
        >>> facts.class_names, facts.config.depth, facts.preprocessing, facts.normalizes
        (('ant', 'bee'), 4, None, False)
    """

    config: RegNetConfig | None = None
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    normalizes: bool = False


def facts_of(model: keras.Model) -> Facts:
    """Returns what a network knows about itself.

    The layers of a network carry these facts: `Stem`, and `Head` or `PixelClassifier`. Saved,
    cloned, fused and renamed models keep them. Other models on the same layers have them, too.

    Args:
        model: a `keras.Model` with the layers of one RegNet.

    Returns:
        A `Facts`. If the model has a fixed input size, its preprocessing has this image size. It
        has the number of channels of the model's input.

    Raises:
        ValueError: for anything but a model, such as the path of one.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, class_names=("ant", "bee"))
        >>> copy = keras.models.clone_model(model)
        >>> regnet_tf.facts_of(copy).class_names
        ('ant', 'bee')
    """
    is_model = isinstance(model, keras.Layer)
    check("model", model, is_model, "a keras.Model; `keras.saving.load_model` loads a file")
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    layers = all_layers(model)
    stems = [layer for layer in layers if isinstance(layer, Stem)]
    named = [layer for layer in layers if isinstance(layer, ClassNames)]
    normalizes = bool(stems) and _normalizes(model)
    preprocessing = _only(stem.preprocessing for stem in stems)
    size, channels = inputs[0].shape[1::2] if inputs and len(inputs[0].shape) == 4 else (None, None)
    if preprocessing is None and normalizes and size is not None:
        preprocessing = Preprocessing(image_size=size)
    if preprocessing is not None:
        preprocessing = at_size(preprocessing, size)
        preprocessing = preprocessing.with_channels(channels or preprocessing.channels)
        if normalizes:
            preprocessing = preprocessing.replace(mean=0, std=1 / 255)
    class_names = _only(layer.class_names for layer in named)
    if (
        class_names is not None
        and outputs
        and len(class_names) != number_of_classes(outputs[0].shape)
    ):
        class_names = None  # another layer follows the head
    return Facts(_only(stem.network for stem in stems), preprocessing, class_names, normalizes)


def _only(values: Iterator[Any]) -> Any:
    """Returns the value that all of the known ones share; None if they differ."""
    different = {value for value in values if value is not None}
    return different.pop() if len(different) == 1 else None


def at_size(preprocessing: Preprocessing, size: int | None) -> Preprocessing:
    """Returns the preprocessing for a fixed input size, with the same part of the image."""
    if size in (None, preprocessing.image_size):
        return preprocessing
    fraction = preprocessing.crop_fraction
    if preprocessing.resize_size is not None:
        fraction = preprocessing.image_size / preprocessing.resize_size
    return preprocessing.replace(image_size=size, crop_fraction=fraction, resize_size=None)


def _normalizes(model: keras.Model) -> bool:
    """Returns whether anything before a stem changes the levels of images."""
    if not getattr(model, "outputs", None):  # a subclass of `keras.Model`, without a graph
        kinds = (keras.layers.Rescaling, keras.layers.Normalization)
        return any(isinstance(layer, kinds) for layer in all_layers(model))
    for layer, tensors in _operations(model):
        nested = isinstance(layer, keras.Model)
        stems = all_layers(layer) if nested else [layer]
        if not any(isinstance(part, Stem) for part in stems):
            continue
        if _changes_levels(model, tensors[0]) or (nested and _normalizes(layer)):
            return True
    return False


def _operations(model: keras.Model) -> list[tuple[Any, list[Any]]]:
    """Returns the layers and other operations of a functional model, with their inputs."""
    found: dict[int, tuple[Any, list[Any]]] = {}
    inputs = {id(tensor) for tensor in model.inputs}
    waiting = list(model.outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in inputs or id(tensor) in found:
            continue
        operation, tensors = maker(tensor)
        found[id(tensor)] = operation, tensors
        waiting += tensors
    return list(found.values())


def _changes_levels(model: keras.Model, tensor: Any) -> bool:
    """Returns whether a tensor of a functional model differs in its levels from the model's input.

    Uniform images are sent through the layers in between, in inference mode. Resizing, cropping,
    augmentation and dropout leave them as they are; only the border may be padded.
    """
    if any(tensor is one for one in model.inputs):
        return False
    levels = np.array([0, 128, 255], "float32")
    images = [
        np.ones([len(levels), *(side or 64 for side in one.shape[1:])], one.dtype)
        * levels.reshape([-1] + [1] * (len(one.shape) - 1)).astype(one.dtype)
        for one in model.inputs
    ]
    front = keras.Model(model.inputs, tensor, name="front")
    found = keras.ops.convert_to_numpy(front(images, training=False))
    center = found[:, found.shape[1] // 2, found.shape[2] // 2].astype("float32")
    return not np.allclose(center, levels[:, None], rtol=0, atol=1e-3)
