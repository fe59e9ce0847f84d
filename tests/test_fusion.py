"""Folding normalization into kernels."""

import keras
import numpy as np
import pytest
from networks import with_statistics

import regnet_tf
from regnet_tf import RegNetConfig, StageConfig, build_regnet, fuse
from regnet_tf._internals import all_layers
from regnet_tf.layers import BatchNorm

STAGES = (StageConfig(16, 1, 8), StageConfig(32, 2, 8))
CONFIG = RegNetConfig(name="tiny", explicit_stages=STAGES, stem_width=16)
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")


def difference(model, other, images=IMAGES):
    """The largest difference of two models' outputs, relative to the first one's largest."""
    expected = model(images, training=False)
    return float(np.abs(expected - other(images, training=False)).max() / np.abs(expected).max())


def norms(model):
    return [layer for layer in all_layers(model) if isinstance(layer, BatchNorm)]


# The larger ones would take minutes, and differ in their numbers alone.
@pytest.mark.parametrize(
    "variant",
    [
        key
        for key, variant in regnet_tf.VARIANTS.items()
        if regnet_tf.complexity(variant.config).multiply_adds < 0.3e9
    ],
)
def test_variants(variant):
    model = with_statistics(
        regnet_tf.build_regnet(variant, input_shape=(64, 64, 3), classifier_activation=None)
    )
    fused = fuse(model)
    assert norms(model) and not norms(fused)
    assert difference(model, fused, np.repeat(np.repeat(IMAGES, 2, 1), 2, 2)) < 1e-5


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({"se_ratio": 0.25}, {}),
        ({"activation": "silu"}, {}),
        ({"drop_path_rate": 0.2}, {}),
        ({"stem_stride": 1}, {}),
        ({}, {"include_top": False}),
        ({}, {"include_top": False, "pooling": "max"}),
        ({}, {"classes": 7, "classifier_activation": "sigmoid"}),
    ],
)
def test_all_else_stays(changes, arguments):
    model = with_statistics(build_regnet(CONFIG.replace(**changes), **arguments))
    fused = fuse(model)
    assert not norms(fused)
    assert fused.name == model.name
    assert fused.output_shape == model.output_shape
    assert [layer.name for layer in fused.layers] == [layer.name for layer in model.layers]
    assert difference(model, fused) < 1e-5


def test_preprocessing_stays():
    model = with_statistics(build_regnet(CONFIG, include_preprocessing=True))
    levels = np.random.default_rng(2).integers(0, 256, (2, 40, 40, 3)).astype("uint8")
    fused = fuse(model)
    assert fused.inputs[0].dtype == "uint8"
    assert difference(model, fused, levels) < 1e-5


def test_group_normalization_stays():
    model = build_regnet(CONFIG.replace(normalization="group"))
    assert difference(model, fuse(model)) == 0


def test_the_original_stays():
    model = with_statistics(build_regnet(CONFIG))
    before = [value.copy() for value in model.get_weights()]
    fused = fuse(model)
    for value in fused.variables:
        value.assign(value * 0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_fused_networks_are_saved(tmp_path):
    fused = fuse(with_statistics(build_regnet(CONFIG)))
    fused.save(tmp_path / "fused.keras")
    assert difference(fused, keras.saving.load_model(tmp_path / "fused.keras")) == 0


def test_a_loaded_network_is_fused(tmp_path):
    model = with_statistics(build_regnet(CONFIG))
    model.save(tmp_path / "model.keras")
    assert difference(model, fuse(keras.saving.load_model(tmp_path / "model.keras"))) < 1e-5


def test_networks_within_networks():
    """As a part of a functional model with a branch, and as a layer of a sequential one."""
    trunk = with_statistics(build_regnet(CONFIG, include_top=False, pooling="avg"))
    branch = keras.layers.Dense(3, name="aside")(trunk.output)
    both = keras.layers.Concatenate()([trunk.output, branch])
    model = keras.Model(trunk.input, keras.layers.Dense(4)(both))
    assert difference(model, fuse(model)) < 1e-5

    outer = keras.Sequential([keras.Input((32, 32, 3)), trunk, keras.layers.Dense(5)])
    fused = fuse(outer)
    assert not norms(fused)
    assert difference(outer, fused) < 1e-5


@pytest.mark.short_floats
def test_float32_of_mixed_precision():
    model = with_statistics(build_regnet(CONFIG, dtype="mixed_bfloat16"))
    assert fuse(model).get_layer("stage_1").compute_dtype == "bfloat16"
    fused = fuse(model, dtype="float32")
    assert fused.get_layer("stage_1").compute_dtype == "float32"
    in_float = build_regnet(CONFIG)
    in_float.set_weights(model.get_weights())
    assert difference(in_float, fused) < 1e-5


@pytest.mark.parametrize(
    "model",
    [
        "a name",
        keras.layers.Dense(3),
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
    ],
)
def test_other_models_are_refused(model):
    with pytest.raises(ValueError, match="`model` must be"):
        fuse(model)
