"""Networks that return the feature maps of several levels, for detection and segmentation.

Level 1 is the stem, level n + 1 is stage n. With the published strides, level n has stride `2**n`:
one pixel for `2**n` pixels of the image along each axis.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from regnet_tf._checks import check, is_int
from regnet_tf.layers import Stage, Stem
from regnet_tf.models import InputShape, Weights, build_regnet, find_config
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.variants import RegNetConfig


@dataclasses.dataclass(frozen=True)
class FeatureInfo:
    """Properties of a feature map.

    Attributes:
        channels: number of channels.
        stride: input pixels per pixel, along both axes.
        layer: name of the layer that outputs it.

    Examples:
        >>> model = regnet_tf.backbone(tiny, outputs=(2,))
        >>> info = regnet_tf.feature_info(model)["P2"]
        >>> info.channels, info.stride, info.layer
        (16, 4, 'stage_1')
    """

    channels: int
    stride: int
    layer: str


@keras.saving.register_keras_serializable(package="regnet_tf")
class BackboneModel(keras.Model):
    """A functional model that outputs a dict of levels, built by `backbone`."""

    @property
    def pyramid_outputs(self) -> dict[str, keras.KerasTensor]:
        """The outputs by stride, as KerasHub's models read them from their `image_encoder`."""
        return pyramid_outputs(self)


def backbone(
    config: RegNetConfig | str,
    *,
    outputs: Sequence[int] = (2, 3, 4, 5),
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape = None,
    preprocessing: Preprocessing | None = None,
    include_preprocessing: bool = False,
    output_stride: int = 32,
    synchronized: bool = False,
    remat: bool = False,
    dtype: str | keras.DTypePolicy | None = None,
    name: str | None = None,
    **changes: Any,
) -> BackboneModel:
    """Builds a network that returns feature maps, up to the highest chosen level.

    Feed images scaled to 0 to 1 and normalized by mean and standard deviation: `preprocess_input`
    and `preprocessing_for(model)` do both. With `include_preprocessing=True`, feed levels of 0 to
    255.

    Args:
        config: a `RegNetConfig`, a variant's name or a tag, see `build_regnet`.
        outputs: the levels to return, from 1, the stem, to 1 + the number of stages.
        weights: weights of the whole network, see `build_regnet`; the head is skipped.
        output_stride: 32, 16 or 8. With 8 or 16, dilation replaces the strides beyond it, as in
            DeepLab: each first block has the dilation of the stage before. The variables stay the
            same.

    The other arguments are those of `build_regnet`.

    Returns:
        A functional `keras.Model` that outputs a dict with a map for each level, "P2" to "P5" by
        default. The maps have shape `(batch, ceil(height / stride), ceil(width / stride),
        channels)`; `feature_info` gives their strides and channels. Under mixed precision they have
        the policy's compute dtype. The model has `pyramid_outputs`, so it can be the
        `image_encoder` of KerasHub's models.

    Raises:
        ValueError: if an argument is out of range (the message names it), or for weights that do
            not fit.
        OSError: for weights that cannot be downloaded or read.

    Examples:
        >>> model = regnet_tf.backbone(tiny, outputs=(2, 3, 4), output_stride=8)
        >>> maps = model(np.zeros((1, 64, 64, 3)))
        >>> {level: tuple(x.shape) for level, x in maps.items()}
        {'P2': (1, 16, 16, 16), 'P3': (1, 8, 8, 32), 'P4': (1, 8, 8, 64)}
    """
    config, weights = find_config(config, weights, changes, backbone)
    _check_levels(outputs, 1 + len(config.stages))
    network = build_regnet(
        config,
        include_top=False,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        preprocessing=preprocessing,
        include_preprocessing=include_preprocessing,
        output_stride=output_stride,
        synchronized=synchronized,
        remat=remat,
        dtype=dtype,
        name=name,
    )
    levels = feature_layers(network)
    chosen = {f"P{level}": levels[f"P{level}"] for level in outputs}
    model = BackboneModel(network.input, chosen, name=network.name)
    model.dtype_policy = network.dtype_policy
    return model


def _check_levels(outputs, highest):
    ok = isinstance(outputs, (tuple, list, range)) and len(outputs) > 0
    ok = ok and all(is_int(level) and 1 <= level <= highest for level in outputs)
    ok = ok and len(set(outputs)) == len(outputs)
    check("outputs", outputs, ok, f"a sequence of different levels from 1 to {highest}")


def feature_layers(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the feature maps within a network, for models that also return or explain them.

    `keras.Model(model.input, [feature_layers(model)["P4"], model.output])` shares all layers.

    Args:
        model: made by `backbone` or `build_regnet`, or by `fuse` from their models.

    Returns:
        A dict from "P1", "P2" and so on to the symbolic tensors of all levels that the model
        computes.

    Raises:
        ValueError: for a model without a stem and stages.

    Examples:
        >>> classifier = regnet_tf.build_regnet(tiny, classes=10)
        >>> maps = regnet_tf.feature_layers(classifier)
        >>> both = keras.Model(classifier.input, [maps["P4"], classifier.output])
        >>> [tuple(x.shape) for x in both(np.zeros((1, 64, 64, 3)))]
        [(1, 4, 4, 64), (1, 10)]
    """
    return {level: layer.output for level, layer in _levels(model).items()}


def pyramid_outputs(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the feature maps by stride, as KerasHub names them.

    Args:
        model: as for `feature_info`.

    Returns:
        `{"P2": ..., "P5": ...}`: symbolic tensors, the coarsest last. Pn has stride `2**n`. If
        dilation gives several levels the same stride, Pn is the highest of these levels.

    Raises:
        ValueError: for a model without a stem and stages.
    """
    maps = model.output if isinstance(model.output, dict) else feature_layers(model)
    return {
        f"P{info.stride.bit_length() - 1}": maps[level]
        for level, info in _levels_info(model).items()
        if level in maps
    }


def feature_info(model: keras.Model) -> dict[str, FeatureInfo]:
    """Returns channels, stride and layer of each feature map that a model returns.

    Args:
        model: made by `backbone`, or by `fuse` from its models. For a classifier, all levels are
            described.

    Returns:
        A dict from the name of each level, such as "P2", to its `FeatureInfo`.

    Raises:
        ValueError: for a model without a stem and stages.

    Examples:
        >>> regnet_tf.feature_info(regnet_tf.backbone(tiny, outputs=(3, 4)))
        {'P3': FeatureInfo(channels=32, stride=8, layer='stage_2'),
         'P4': FeatureInfo(channels=64, stride=16, layer='stage_3')}
    """
    found = _levels_info(model)
    returned = model.output if isinstance(model.output, dict) else found
    return {level: found[level] for level in returned}


def _levels_info(model):
    """Returns level -> `FeatureInfo`, from the stem on."""
    found, stride = {}, 1
    for level, layer in _levels(model).items():
        stride *= layer.stride
        found[level] = FeatureInfo(layer.output.shape[-1], stride, layer.name)
    return found


def _levels(model):
    """Returns level -> layer, from the stem on."""
    layers = [layer for layer in getattr(model, "layers", ()) if isinstance(layer, (Stem, Stage))]
    ok = bool(layers) and isinstance(layers[0], Stem)
    check("model", model, ok, "a network that `backbone` or `build_regnet` made")
    return {f"P{level}": layer for level, layer in enumerate(layers, start=1)}
