"""This library's networks with the layers of Keras, to compare the two."""

import contextlib
from unittest import mock

import keras

from regnet_tf import layers, ops


@contextlib.contextmanager
def stock_normalization():
    """Context manager in which networks normalize as Keras' own layer does."""
    with (
        mock.patch.object(layers.BatchNorm, "call", keras.layers.BatchNormalization.call),
        mock.patch.object(layers.ConvNorm, "_folds", lambda *_: False),
    ):
        yield


@contextlib.contextmanager
def stock_layers():
    """Context manager in which networks use Keras' convolution and normalization."""
    with mock.patch.object(ops, "conv2d", ops.conv2d_keras), stock_normalization():
        yield
