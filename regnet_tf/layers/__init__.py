"""The Keras layers of a RegNet, from a convolution to a stage. All are channels-last."""

from regnet_tf.layers.blocks import DropPath, SqueezeExcite, XBlock, YBlock
from regnet_tf.layers.convolution import Conv, ConvNorm, FinalConv, fan_out_initializer
from regnet_tf.layers.head import ClassNames, Head, checked_class_names
from regnet_tf.layers.normalization import EPSILON, MOMENTUM, BatchNorm, EvoNorm
from regnet_tf.layers.stage import Stage
from regnet_tf.layers.stem import Stem

__all__ = [
    "EPSILON",
    "MOMENTUM",
    "BatchNorm",
    "ClassNames",
    "Conv",
    "ConvNorm",
    "DropPath",
    "EvoNorm",
    "FinalConv",
    "Head",
    "SqueezeExcite",
    "Stage",
    "Stem",
    "XBlock",
    "YBlock",
    "checked_class_names",
    "fan_out_initializer",
]
