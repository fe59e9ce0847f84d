"""Folding normalization into kernels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import with_statistics

import regnet_tf
from regnet_tf import RegNetConfig, StageConfig, build_regnet, fuse
from regnet_tf._internals import all_layers, saved_model_message
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


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_any_number_of_channels(channels):
    model = with_statistics(build_regnet(CONFIG, input_shape=(32, 32, channels), dropout=0.2))
    images = np.random.default_rng(3).normal(size=(2, 32, 32, channels)).astype("float32")
    assert difference(model, fuse(model), images) < 1e-5


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


# Layers and operations that are not this library's.

layers = keras.layers
WORDS = tf.constant([["a", "z"], ["c", "b"]])
NUMBERS = np.array([[0.1], [2.0]], "float32")


def trunk_on(x, **arguments):
    arguments = {"pooling": "avg", **arguments}
    return build_regnet(CONFIG, include_top=False, input_tensor=x, **arguments).output


def adapted(layer, data):
    layer.adapt(data)
    return layer


def augmented(x):
    for layer in (
        layers.RandomFlip(seed=1),
        layers.RandomRotation(0.1, seed=2),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
        layers.GaussianNoise(0.1),
        layers.Rescaling(1 / 127.5, -1),
    ):
        x = layer(x)
    return layers.Dense(3)(layers.Dropout(0.5)(trunk_on(x)))


def two_heads(x):
    features = trunk_on(x)
    return keras.ops.concatenate([layers.Dense(2)(features), layers.Dense(3)(features)], axis=-1)


def recurrent(x):
    features = trunk_on(x, pooling=None)
    lstm = layers.Bidirectional(layers.LSTM(5, dropout=0.1, recurrent_dropout=0.1))
    return lstm(layers.Reshape((-1, 32))(features))


def normalized(x):
    return trunk_on(adapted(layers.Normalization(), IMAGES * 3 + 1)(x))


def normalized_inside(x):
    trunk = build_regnet(CONFIG, include_top=False, pooling="avg")
    normalization = adapted(layers.Normalization(), IMAGES * 3 + 1)
    inner = keras.Sequential([keras.Input((32, 32, 3)), normalization, layers.Dropout(0.1), trunk])
    features = layers.Reshape((2, -1))(inner(x))
    return layers.MultiHeadAttention(2, 4, dropout=0.1)(features, features)


def trunk_on_each_image(x):
    trunk = build_regnet(CONFIG, include_top=False, pooling="avg")
    each = layers.TimeDistributed(trunk)(layers.Reshape((1, 32, 32, 3))(x))
    return layers.Flatten()(each) + trunk_on(x)


@pytest.mark.parametrize(
    "function",
    [
        augmented,
        two_heads,
        recurrent,
        normalized,
        normalized_inside,
        trunk_on_each_image,
        lambda x: trunk_on(x / 255),
        lambda x: trunk_on(regnet_tf.preprocess_input(x)),
        lambda x: trunk_on(layers.BatchNormalization()(x)),
    ],
)
def test_other_layers_and_operations(function):
    images = keras.Input((32, 32, 3))
    check_fused(with_statistics(keras.Model(images, function(images))), IMAGES)


@pytest.mark.parametrize(
    ("layer", "data", "extra", "dtype"),
    [
        (layers.StringLookup(output_mode="multi_hot"), [["a", "b"], ["c", "b"]], WORDS, "string"),
        (layers.TextVectorization(output_mode="count"), ["a b c", "d"], WORDS[:, 0], "string"),
        (
            layers.Discretization(num_bins=4),
            np.linspace(-1, 3, 50),
            NUMBERS,
            "float32",
        ),
    ],
)
def test_adapted_layers_on_other_inputs(layer, data, extra, dtype):
    layer.adapt(np.array(data))
    images, other = keras.Input((32, 32, 3)), keras.Input(extra.shape[1:], dtype=dtype)
    joined = layers.Concatenate()([trunk_on(images), layer(other)])
    model = with_statistics(keras.Model([images, other], layers.Dense(3)(joined)))
    inputs = [tf.constant(IMAGES), tf.constant(extra)]
    check_fused(model, inputs)
    check_fused(model, inputs, dtype="float32")


def check_fused(model, inputs, dtype=None):
    """Checks a fused network's outputs, and that the given network is as it was before."""
    expected = model(inputs, training=False)
    state = [keras.ops.convert_to_numpy(one) for one in model.variables]
    flags = [layer.trainable for layer in all_layers(model)]
    fused = fuse(model, dtype)
    for old, new in zip(state, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    assert [layer.trainable for layer in all_layers(model)] == flags and all(flags)
    assert not {id(one) for one in model.variables} & {id(one) for one in fused.variables}
    assert len(norms(fused)) < len(norms(model)) and not fused.trainable_variables
    largest = np.abs(expected).max()
    for outputs in (fused(inputs, training=False), fused(inputs)):
        assert np.abs(outputs - expected).max() < 1e-5 * largest


def test_random_states_stay():
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, augmented(images))
    model(IMAGES, training=True)  # moves them
    fused = fuse(model)
    pairs = [[one for one in net.variables if "seed" in one.path] for net in (model, fused)]
    assert len(pairs[0]) == len(pairs[1]) > 0
    for old, new in zip(*pairs, strict=True):
        np.testing.assert_array_equal(old, new)


def test_layers_used_twice_are_used_twice():
    """Also by a model within the model."""
    images = keras.Input((32, 32, 3))
    dense, features = layers.Dense(32), trunk_on(images)
    inner = keras.Sequential([keras.Input((32,)), dense])
    model = keras.Model(images, inner(features) + dense(dense(features)))
    fused = fuse(model)
    kernels = [one for one in fused.weights if one.path.endswith("/kernel")]
    assert len(kernels) == 1 + 4 + 4 + 3 + 1  # stem, three blocks, the dense layer
    assert difference(model, fused) < 1e-5


def test_augmentation_leaves_an_exported_graph(tmp_path):
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, augmented(images))
    fuse(model).export(tmp_path, verbose=False)
    message = saved_model_message()
    message.ParseFromString((tmp_path / "saved_model.pb").read_bytes())
    (graph,) = message.meta_graphs
    kinds = {node.op for one in graph.graph_def.library.function for node in one.node_def}
    assert "Conv2D" in kinds
    assert not [kind for kind in kinds if "Random" in kind or "Image" in kind]
    exported = tf.saved_model.load(tmp_path)
    np.testing.assert_allclose(exported.serve(IMAGES), model(IMAGES, training=False), atol=1e-5)


def test_only_floats_get_another_dtype():
    images, words = keras.Input((32, 32, 3)), keras.Input((2,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Model([images, words], [trunk_on(images), lookup(words)])
    fused = fuse(model, dtype="float64")
    assert fused.get_layer("stem").compute_dtype == "float64"
    assert fused.get_layer(lookup.name).dtype_policy == lookup.dtype_policy


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
