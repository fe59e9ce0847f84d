"""This library's networks with the layers of Keras."""

from unittest import mock

import keras
import numpy as np
import pytest

from regnet_tf import RegNetConfig, StageConfig, build_regnet
from regnet_tf._stock import stock_layers, stock_normalization

CONFIG = RegNetConfig(explicit_stages=(StageConfig(16, 1, 8),), stem_width=8)
LAYERS = 5  # stem, three of the block, shortcut


@pytest.mark.parametrize(
    ("stock", "convolutions"), [(stock_layers, LAYERS), (stock_normalization, 0)]
)
def test_stock_layers_compute_the_same(stock, convolutions):
    model = build_regnet(CONFIG, classes=3)
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype("float32")
    ours = model(images, training=False)
    norm = keras.layers.BatchNormalization
    with (
        mock.patch.object(keras.ops, "conv", side_effect=keras.ops.conv) as convolve,
        mock.patch.object(norm, "call", autospec=True, side_effect=norm.call) as normalize,
    ):
        np.testing.assert_array_equal(model(images, training=False), ours)
        assert convolve.call_count == normalize.call_count == 0
        with stock():
            theirs = model(images, training=False)
    assert (convolve.call_count, normalize.call_count) == (convolutions, LAYERS)
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)
