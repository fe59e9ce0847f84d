"""Decoders on feature maps: a feature pyramid, and two decoders for semantic segmentation.

Their inputs are the dicts of feature maps that `backbone` models return, `{"P2": ..., "P5": ...}`.
Levels are ordered from fine to coarse. A coarser level has equal or lower resolution. Shape
comments: N images, H rows, W columns, F output channels.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import MAX_WIDTH, check, check_choice, check_int, check_number
from regnet_tf._composite import Composite
from regnet_tf.layers import ClassNames
from regnet_tf.layers.convolution import add_conv
from regnet_tf.options import ACTIVATIONS, NORMALIZATIONS

_register = keras.saving.register_keras_serializable(package="regnet_tf")

DECODERS = ("fpn", "unet")


class _Decoder(Composite):
    """Base class of the decoders, with the options of their convolutions."""

    def __init__(self, activation="relu", normalization="batch", synchronized=False, **kwargs):
        super().__init__(**kwargs)
        check_choice("activation", activation, (None, *ACTIVATIONS))
        check_choice("normalization", normalization, (None, *NORMALIZATIONS))
        self.activation = activation
        self.normalization = normalization
        self.synchronized = synchronized
        self.supports_jit = regnet_ops.supports_jit()

    def _conv(self, name, filters, kernel_size, activation):
        return add_conv(
            self, name=name, filters=filters, kernel_size=kernel_size, activation=activation
        )

    def get_config(self):
        return {
            **super().get_config(),
            "activation": self.activation,
            "normalization": self.normalization,
            "synchronized": self.synchronized,
        }


@_register
class FeaturePyramid(_Decoder):
    """Feature pyramid network: adds coarse feature maps to the finer ones (Lin et al. 2017).

    A 1x1 convolution brings each level to the same width. From the coarsest level on, each map is
    resized to the next finer level, without interpolation, and added to it. A 3x3 convolution
    finishes each level. Equal to torchvision's `FeaturePyramidNetwork`, also for odd sizes.

    Args:
        width: number of output channels of all levels.
        coarser_levels: number of levels to add beyond the coarsest one, for detectors. Each takes
            every second pixel of the level before.
        activation: activation after each convolution; None in the paper.
        normalization: see `ConvNorm`; None (a bias) in the paper.
        **kwargs: `synchronized`, see `ConvNorm`.

    Input: dict of maps `(batch, height, width, channels)`.
    Output: dict of the same levels, and the added ones, `(batch, height, width, width)`.

    Examples:
        >>> maps = {"P2": keras.ops.ones((1, 16, 16, 8)), "P3": keras.ops.ones((1, 8, 8, 16))}
        >>> pyramid = regnet_tf.FeaturePyramid(width=4, coarser_levels=1)(maps)
        >>> {level: tuple(x.shape) for level, x in pyramid.items()}
        {'P2': (1, 16, 16, 4), 'P3': (1, 8, 8, 4), 'P4': (1, 4, 4, 4)}
    """

    def __init__(self, width=256, coarser_levels=0, activation=None, normalization=None, **kwargs):
        super().__init__(activation, normalization, **kwargs)
        check_int("width", width, minimum=1, maximum=MAX_WIDTH)
        check_int("coarser_levels", coarser_levels, minimum=0, maximum=16)
        self.width = width
        self.coarser_levels = coarser_levels

    def build(self, input_shape):
        self.lateral, self.smooth = {}, {}
        for level in _levels(input_shape):
            lateral = self._conv(f"lateral_{level}", self.width, 1, self.activation)
            smooth = self._conv(f"smooth_{level}", self.width, 3, self.activation)
            lateral.build(input_shape[level])
            smooth.build((*input_shape[level][:-1], self.width))
            self.lateral[level], self.smooth[level] = lateral, smooth

    def call(self, inputs, training=None):
        maps, coarser = {}, None
        for level in reversed(_levels(inputs)):
            x = self.lateral[level](inputs[level], training=training)  # N H W F
            if coarser is not None:
                x = x + regnet_ops.resize_nearest(coarser, _size(x))
            coarser = x
            maps[level] = self.smooth[level](x, training=training)  # N H W F
        maps = {level: maps[level] for level in _levels(inputs)}
        x = maps[_levels(maps)[-1]]
        for level in self._added(inputs):
            maps[level] = x = x[:, ::2, ::2]  # N H/2 W/2 F
        return maps

    def _added(self, maps):
        """Names of the levels added beyond the coarsest one."""
        last = _number(_levels(maps)[-1])
        return [f"P{last + step}" for step in range(1, self.coarser_levels + 1)]

    def compute_output_shape(self, input_shape):
        shapes = {level: (*input_shape[level][:-1], self.width) for level in _levels(input_shape)}
        batch, *size, width = shapes[_levels(shapes)[-1]]
        for level in self._added(input_shape):
            size = [side and -(-side // 2) for side in size]
            shapes[level] = (batch, *size, width)
        return shapes

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "coarser_levels": self.coarser_levels,
        }


@_register
class FPNDecoder(_Decoder):
    """Merges the levels of a feature pyramid into one map (Panoptic FPN, Kirillov et al. 2019).

    Each level is brought to the resolution of the finest level, one level at a time. Each step is a
    3x3 convolution and bilinear resizing. The finest level has a convolution only. The results are
    added. The paper calls it the semantic segmentation branch.

    Args:
        width: number of output channels.
        **kwargs: `activation`, `normalization` and `synchronized`, see `ConvNorm`; the paper has
            "relu" and "group".

    Input: dict of maps `(batch, height, width, channels)`.
    Output shape: `(batch, height, width, width)`, of the finest level.

    Examples:
        >>> maps = {"P2": keras.ops.ones((1, 16, 16, 8)), "P3": keras.ops.ones((1, 8, 8, 8))}
        >>> regnet_tf.FPNDecoder(width=4)(maps).shape
        TensorShape([1, 16, 16, 4])
    """

    def __init__(self, width=128, **kwargs):
        super().__init__(**kwargs)
        check_int("width", width, minimum=1, maximum=MAX_WIDTH)
        self.width = width

    def build(self, input_shape):
        self.convs = {}  # Keras saves layers in a dict, but not those in a list in a dict
        for level, names in self._names(input_shape).items():
            shape = input_shape[level]
            for name in names:
                self.convs[name] = self._conv(name, self.width, 3, self.activation)
                self.convs[name].build(shape)
                shape = (*shape[:-1], self.width)

    def _names(self, maps):
        """Names of the convolutions of each level: one for each finer level, at least one."""
        steps = {level: max(place, 1) for place, level in enumerate(_levels(maps))}
        return {
            level: [f"{level}_conv_{step}" for step in range(1, count + 1)]
            for level, count in steps.items()
        }

    def call(self, inputs, training=None):
        levels = _levels(inputs)
        total = 0
        for place, (level, names) in enumerate(self._names(inputs).items()):
            x, finer = inputs[level], reversed(levels[:place])
            for name, target in itertools.zip_longest(names, finer):
                x = self.convs[name](x, training=training)
                if target is not None:
                    x = regnet_ops.resize_bilinear(x, _size(inputs[target]))
            total = total + x  # N H W F
        return total

    def compute_output_shape(self, input_shape):
        return (*input_shape[_levels(input_shape)[0]][:-1], self.width)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@_register
class UNetDecoder(_Decoder):
    """U-Net decoder: from the coarsest level to the finest (Ronneberger et al. 2015).

    It works level by level. The current map is resized to the next finer level, without
    interpolation, and concatenated with it. Two 3x3 convolutions follow. Equal to the decoder of
    segmentation_models' PyTorch library.

    Args:
        widths: output channels at each level except the coarsest, from coarse to fine.
        **kwargs: `activation`, `normalization` and `synchronized`, see `ConvNorm`.

    Input: dict of maps `(batch, height, width, channels)`.
    Output shape: `(batch, height, width, widths[-1])`, of the finest level.

    Examples:
        >>> maps = {"P2": keras.ops.ones((1, 16, 16, 8)), "P3": keras.ops.ones((1, 8, 8, 16))}
        >>> regnet_tf.UNetDecoder(widths=[4])(maps).shape
        TensorShape([1, 16, 16, 4])
    """

    def __init__(self, widths=(256, 128, 64), **kwargs):
        super().__init__(**kwargs)
        check("widths", widths, len(widths) > 0, "a sequence of numbers of channels")
        for width in widths:
            check_int("widths", width, minimum=1, maximum=MAX_WIDTH)
        self.widths = tuple(widths)

    def build(self, input_shape):
        *finer, coarsest = _levels(input_shape)
        one_each = len(self.widths) == len(finer)
        check("widths", self.widths, one_each, f"{len(finer)} numbers for {len(finer) + 1} levels")
        channels, self.convs = input_shape[coarsest][-1], {}
        for level, width in zip(reversed(finer), self.widths, strict=True):
            *before, skip = input_shape[level]
            for number, inputs in ((1, channels + skip), (2, width)):
                name = f"{level}_conv_{number}"
                self.convs[name] = self._conv(name, width, 3, self.activation)
                self.convs[name].build((*before, inputs))
            channels = width

    def call(self, inputs, training=None):
        *finer, coarsest = _levels(inputs)
        x = inputs[coarsest]
        for level in reversed(finer):
            x = regnet_ops.resize_nearest(x, _size(inputs[level]))
            x = ops.concatenate([x, ops.cast(inputs[level], x.dtype)], axis=-1)
            for number in (1, 2):
                x = self.convs[f"{level}_conv_{number}"](x, training=training)  # N H W F
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[_levels(input_shape)[0]][:-1], self.widths[-1])

    def get_config(self):
        return {**super().get_config(), "widths": self.widths}


@_register
class PixelClassifier(ClassNames, Composite):
    """Classifies pixels: a 1x1 convolution in float32, resized to the image.

    Args:
        classes: number of outputs.
        activation: "softmax" for probabilities, None for logits.
        class_names: name of each output, or None if unknown.

    Input: a pair: the map `(batch, height, width, channels)`, and the images, for the output size.
    Output shape: `(batch, image height, image width, classes)`, float32.

    Examples:
        >>> features, images = keras.ops.ones((1, 16, 16, 8)), keras.ops.ones((1, 64, 64, 3))
        >>> regnet_tf.PixelClassifier(classes=21)([features, images]).shape
        TensorShape([1, 64, 64, 21])
    """

    def __init__(self, classes, activation="softmax", class_names=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        check_int("classes", classes, minimum=1, maximum=MAX_WIDTH)
        self.classes = classes
        self.class_names = class_names
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.dense = self.sublayer(
            keras.layers.Dense,
            name="dense",
            units=self.classes,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        )
        self.dense.build(input_shape[0])

    def call(self, inputs):
        x, images = inputs
        logits = regnet_ops.resize_bilinear(self.dense(x), _size(images))  # N H W F
        return self.activation(logits)

    def compute_output_shape(self, input_shape):
        _, images = input_shape
        return (*images[:-1], self.classes)

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "activation": keras.activations.serialize(self.activation),
            "class_names": self.class_names and list(self.class_names),
        }


def segmentation_model(
    backbone: keras.Model,
    classes: int,
    *,
    decoder: str = "fpn",
    width: int = 128,
    dropout: float = 0.0,
    activation: str | None = "softmax",
    class_names: Sequence[str] | None = None,
    normalization: str | None = "batch",
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Builds a network that predicts the class of every pixel.

    Feed images scaled to 0 to 1 and normalized by mean and standard deviation: `preprocess_input`
    and `preprocessing_for(model)` do both. If the backbone has `include_preprocessing=True`, feed
    levels of 0 to 255.

    Args:
        backbone: a model made by `regnet_tf.backbone`, with two or more levels.
        classes: number of classes.
        decoder: "fpn" for a `FeaturePyramid` and a `FPNDecoder`; "unet" for a `UNetDecoder`.
        width: number of channels in the decoder. All levels of the feature pyramid have this width.
            In the U-Net, the finest level has it, and it doubles at each coarser level.
        dropout: probability of dropping a feature of the decoder's map in training.
        activation: "softmax" for probabilities, None for logits.
        class_names: names of the classes, or None if unknown. They are part of the saved model.
        normalization: normalization of the decoder's convolutions, see `ConvNorm`. The convolutions
            of the feature pyramid always have a bias instead.
        synchronized: see `ConvNorm`.
        name: name of the model; default: the names of the backbone and the decoder, joined.

    Returns:
        A functional `keras.Model` from the backbone's images to float32 `(batch, height, width,
        classes)`, at the images' resolution.

    Raises:
        ValueError: if an argument is out of range; the message names it.

    Examples:
        >>> backbone = regnet_tf.backbone(tiny, outputs=(2, 3, 4), input_shape=(64, 64, 3))
        >>> regnet_tf.segmentation_model(backbone, classes=21, decoder="unet", width=8).output_shape
        (None, 64, 64, 21)
    """
    maps: Any = getattr(backbone, "output", None)
    ok = isinstance(maps, dict) and len(maps) > 1
    check("backbone", backbone, ok, "a model of `regnet_tf.backbone`, of two or more levels")
    check_choice("decoder", decoder, DECODERS)
    check_int("width", width, minimum=1, maximum=MAX_WIDTH)
    check_number("dropout", dropout, minimum=0, below=1)
    policy = backbone.dtype_policy
    options = {"normalization": normalization, "synchronized": synchronized, "dtype": policy}
    if decoder == "fpn":
        maps = FeaturePyramid(width, name="pyramid", dtype=policy)(maps)
        x = FPNDecoder(width, name="decoder", **options)(maps)
    else:
        widths = [width * 2**step for step in reversed(range(len(maps) - 1))]
        x = UNetDecoder(widths, name="decoder", **options)(maps)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout", dtype=policy)(x)
    images = backbone.inputs[0]
    x = PixelClassifier(classes, activation, class_names, name="classifier")([x, images])
    model = keras.Model(images, x, name=name or f"{backbone.name}_{decoder}")
    model.dtype_policy = backbone.dtype_policy
    return model


def _levels(maps):
    """Names of the levels, from fine to coarse."""
    ok = isinstance(maps, dict) and len(maps) > 0
    check("inputs", type(maps).__name__, ok, 'a dict of feature maps, {"P2": ..., "P5": ...}')
    return sorted(maps, key=_number)


def _number(level):
    return int(level.removeprefix("P"))


def _size(x):
    """Returns height and width, as integers if the graph knows them."""
    return tuple(ops.shape(x)[1:3])
