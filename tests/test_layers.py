"""Each layer by itself: configuration, shapes, variables, gradients, dtypes, errors."""

import inspect
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import (
    BatchNorm,
    ConvNorm,
    DropPath,
    EvoNorm,
    Head,
    SqueezeExcite,
    Stage,
    Stem,
    XBlock,
    YBlock,
)
from regnet_tf._internals import sublayers
from regnet_tf.layers.blocks import AveragePooling
from regnet_tf.options import ACTIVATIONS

# Per layer: arguments other than the defaults, input shape, output shape.
LAYERS = {
    "ConvNorm": (
        ConvNorm,
        dict(filters=12, kernel_size=3, stride=2, groups=3, activation="relu", synchronized=True),
        (4, 9, 7, 6),
        (4, 5, 4, 12),
    ),
    "ConvNorm dilated": (
        ConvNorm,
        dict(filters=32, kernel_size=3, dilation=2, activation="silu", normalization="group"),
        (4, 9, 7, 6),
        (4, 9, 7, 32),
    ),
    "BatchNorm": (BatchNorm, dict(momentum=0.8, epsilon=1e-3), (4, 9, 7, 6), (4, 9, 7, 6)),
    "SqueezeExcite": (
        SqueezeExcite,
        dict(squeeze_width=5, activation="silu"),
        (4, 9, 7, 6),
        (4, 9, 7, 6),
    ),
    "DropPath": (DropPath, dict(rate=0.25, seed=3), (4, 9, 7, 6), (4, 9, 7, 6)),
    "XBlock": (
        XBlock,
        dict(width=8, group_width=4, stride=2, bottleneck_ratio=0.5, drop_path_rate=0.2),
        (4, 9, 7, 6),
        (4, 5, 4, 8),
    ),
    "XBlock dilated": (
        XBlock,
        dict(width=6, group_width=2, dilation=2, activation="gelu", synchronized=True),
        (4, 9, 7, 6),
        (4, 9, 7, 6),
    ),
    "XBlock with group normalization": (
        XBlock,
        dict(width=16, group_width=8, normalization="group"),
        (4, 9, 7, 6),
        (4, 9, 7, 16),
    ),
    "YBlock": (
        YBlock,
        dict(width=8, group_width=4, stride=2, se_ratio=0.5, activation="silu"),
        (4, 9, 7, 12),
        (4, 5, 4, 8),
    ),
    "Stage": (
        Stage,
        dict(width=8, depth=2, group_width=4, stride=2, drop_path_rates=[0.0, 0.1]),
        (4, 9, 7, 6),
        (4, 5, 4, 8),
    ),
    "Stage with gates": (
        Stage,
        dict(
            width=8, depth=3, group_width=2, stride=1, bottleneck_ratio=0.25, se_ratio=0.5,
            activation="silu", synchronized=True,
        ),
        (4, 9, 7, 6),
        (4, 9, 7, 8),
    ),
    "Stage that dilates": (
        Stage,
        dict(width=8, depth=2, group_width=4, dilation=2, replace_stride_with_dilation=True),
        (4, 9, 7, 6),
        (4, 9, 7, 8),
    ),
    "Stem": (
        Stem,
        dict(width=16, stride=1, activation="elu", normalization="group"),
        (4, 9, 7, 3),
        (4, 9, 7, 16),
    ),
    "Head": (Head, dict(classes=5, activation="softmax"), (4, 8), (4, 5)),
}  # fmt: skip

each_layer = pytest.mark.parametrize(
    "cls, arguments, input_shape, output_shape", LAYERS.values(), ids=LAYERS
)


def normal(*shape, seed=0, dtype="float32"):
    array = np.random.default_rng(seed).standard_normal(shape)
    return tf.constant(array, dtype)


# What holds for all of them.


@each_layer
def test_config_round_trip(cls, arguments, input_shape, output_shape):
    layer = cls(**arguments, name="one", dtype="mixed_bfloat16")
    config = json.loads(json.dumps(layer.get_config()))
    assert {argument: config[argument] for argument in arguments} == arguments
    again = cls.from_config(config)
    assert again.get_config() == layer.get_config()
    assert again.dtype_policy == layer.dtype_policy and again.name == "one"
    serialized = keras.saving.serialize_keras_object(layer)
    assert type(keras.saving.deserialize_keras_object(serialized)) is cls


@each_layer
def test_config_rebuilds_the_function(cls, arguments, input_shape, output_shape):
    x = normal(*input_shape)
    layer = cls(**arguments)
    expected = layer(x)
    again = cls.from_config(layer.get_config())
    again.build(input_shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(x), expected, rtol=1e-6)


@each_layer
def test_shapes(cls, arguments, input_shape, output_shape):
    layer = cls(**arguments)
    assert layer.compute_output_shape(input_shape) == output_shape
    assert layer(keras.Input(batch_shape=input_shape)).shape == output_shape
    assert tuple(layer(normal(*input_shape)).shape) == output_shape


@each_layer
def test_unknown_sizes(cls, arguments, input_shape, output_shape):
    """Whatever is not channels may be unknown until the network runs."""
    layer = cls(**arguments)
    free_in = (*(None for _ in input_shape[:-1]), input_shape[-1])
    free_out = (*(None for _ in output_shape[:-1]), output_shape[-1])
    assert layer.compute_output_shape(free_in) == free_out
    images = keras.Input(batch_shape=free_in)
    assert layer(images).shape == free_out
    model = keras.Model(images, layer(images))
    assert model.predict(normal(*input_shape), verbose=0).shape == output_shape


@each_layer
def test_step_changes_every_trainable_variable(cls, arguments, input_shape, output_shape):
    layer = cls(**arguments)
    x = normal(*input_shape)
    layer.build(input_shape)
    before = [variable.numpy() for variable in layer.variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) * normal(*output_shape, seed=1))
    variables = layer.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    keras.optimizers.SGD(0.1).apply(gradients, variables)
    for variable, old in zip(layer.variables, before, strict=True):
        assert np.isfinite(variable).all(), variable.path
        assert (np.asarray(variable) != old).any(), variable.path  # moving statistics and seeds too


@each_layer
def test_function_equals_eager(cls, arguments, input_shape, output_shape):
    layer, x = cls(**arguments), normal(*input_shape)
    expected = layer(x)
    np.testing.assert_allclose(tf.function(layer)(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.short_floats
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@each_layer
def test_mixed_precision(cls, arguments, input_shape, output_shape, policy):
    layer = cls(**arguments, dtype=policy)
    short = policy.removeprefix("mixed_")
    x = normal(*input_shape)
    assert layer(keras.Input(batch_shape=input_shape)).dtype == short
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
        loss = tf.reduce_mean(tf.cast(y, "float32") ** 2)
    assert y.dtype == layer(x).dtype == short
    floats = [variable for variable in layer.variables if "seed" not in variable.path]
    assert {variable.dtype for variable in floats} <= {"float32"}
    gradients = tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        assert gradient.dtype == "float32" and np.isfinite(gradient).all(), variable.path
    exact = cls.from_config({**layer.get_config(), "dtype": "float32"})
    exact.build(input_shape)
    exact.set_weights(layer.get_weights())
    difference = np.abs(tf.cast(layer(x), "float32") - exact(x))
    assert difference.max() < 0.03 * np.abs(exact(x)).max()


def test_float64():
    """TensorFlow's fused normalization has no double floats."""
    layer = YBlock(8, 4, stride=2, dtype="float64")
    x = normal(2, 9, 7, 6, dtype="float64")
    y = layer(x, training=True)
    single = YBlock(8, 4, stride=2, dtype="float32")
    single.build(x.shape)
    single.set_weights(layer.get_weights())
    assert y.dtype == "float64"
    assert {variable.dtype for variable in layer.variables} == {"float64"}
    np.testing.assert_allclose(single(tf.cast(x, "float32")), layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="XLA is for GPUs")
@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
@each_layer
def test_refuses_xla_on_a_processor(cls, arguments, input_shape, output_shape):
    """Where it costs a factor of 20; layers without a convolution do not care."""
    inputs = keras.Input(batch_shape=input_shape)
    model = keras.Model(inputs, cls(**arguments)(inputs))
    model.compile("sgd", "mse", jit_compile=True)
    assert model.jit_compile is (cls in (SqueezeExcite, DropPath, Head))


# Names of variables: the weight map.

NORM = ["norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"]


def conv_norm(name):
    return [f"{name}/{variable}" for variable in ["kernel", *NORM]]


def block(name, gated=False, shortcut=False):
    convs = ["conv_1", "conv_2", "conv_3", *(["shortcut"] if shortcut else [])]
    paths = [path for conv in convs for path in conv_norm(f"{name}/{conv}")]
    gate = [f"{name}/se/{part}" for part in ("reduce", "expand")] if gated else []
    return paths + [f"{part}/{variable}" for part in gate for variable in ("kernel", "bias")]


@pytest.mark.parametrize(
    "make, name, expected",
    [
        (lambda name: ConvNorm(8, name=name), "conv", conv_norm("conv")),
        (
            lambda name: ConvNorm(16, normalization="group", name=name),
            "conv",
            ["conv/kernel", "conv/norm/gamma", "conv/norm/beta"],
        ),
        (lambda name: XBlock(6, 2, name=name), "block", block("block")),
        (lambda name: XBlock(8, 2, name=name), "block", block("block", shortcut=True)),
        (lambda name: XBlock(6, 2, stride=2, name=name), "block", block("block", shortcut=True)),
        (lambda name: YBlock(6, 2, name=name), "block", block("block", gated=True)),
        (
            lambda name: Stage(8, 2, 4, se_ratio=0.25, name=name),
            "stage_2",
            block("stage_2/block_1", gated=True, shortcut=True)
            + block("stage_2/block_2", gated=True),
        ),
        (lambda name: Stem(name=name), "stem", conv_norm("stem/conv")),
        (lambda name: Head(5, name=name), "head", ["head/kernel", "head/bias"]),
    ],
)
def test_variable_paths(make, name, expected):
    layer = make(name)
    layer(keras.Input((6,) if isinstance(layer, Head) else (8, 8, 6)))
    assert sorted(variable.path for variable in layer.variables) == sorted(expected)


def test_variable_shapes():
    layer = YBlock(24, 4, stride=2, bottleneck_ratio=0.5, se_ratio=0.25, name="block")
    layer.build((None, 8, 8, 16))
    shapes = {variable.path: tuple(variable.shape) for variable in layer.variables}
    assert shapes["block/conv_1/kernel"] == (1, 1, 16, 12)
    assert shapes["block/conv_2/kernel"] == (3, 3, 4, 12)
    assert shapes["block/se/reduce/kernel"] == (12, 4)  # a quarter of the block's input, 16
    assert shapes["block/se/expand/kernel"] == (4, 12)
    assert shapes["block/conv_3/kernel"] == (1, 1, 12, 24)
    assert shapes["block/shortcut/kernel"] == (1, 1, 16, 24)


def test_squeeze_widths_of_a_published_network(golden_variants):
    row = golden_variants["timm"]["regnety_004"]
    columns = row["stage_widths"], row["stage_depths"], row["stage_se_widths_first_and_rest"]
    width_in = row["cfg"]["stem_width"]
    for width, depth, squeezes in zip(*columns, strict=True):
        layer = Stage(width, depth, 8, se_ratio=0.25)
        layer.build((None, 8, 8, width_in))
        kernels = [one for one in layer.variables if one.path.endswith("se/reduce/kernel")]
        expected = [squeezes[0], *[squeezes[-1]] * (depth - 1)]
        assert [kernel.shape[1] for kernel in kernels] == expected
        width_in = width


# Values.


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def randomize(layer, seed=0):
    """Weights, biases and moving statistics of which none is 0 or 1."""
    generator = np.random.default_rng(seed)
    for variable in layer.variables:
        positive = variable.path.endswith(("gamma", "moving_variance"))
        draw = generator.uniform(0.5, 1.5, variable.shape)
        variable.assign(draw if positive else generator.standard_normal(variable.shape) / 2)
    return {variable.path: variable.numpy() for variable in layer.variables}


def inference_norm(x, weights, path, epsilon=1e-5):
    mean, variance = weights[f"{path}/moving_mean"], weights[f"{path}/moving_variance"]
    normed = (x - mean) / np.sqrt(variance + epsilon)
    return normed * weights[f"{path}/gamma"] + weights[f"{path}/beta"]


def one_by_one(x, weights, path, stride=1):
    x = x[:, ::stride, ::stride] @ weights[f"{path}/kernel"][0, 0]
    return inference_norm(x, weights, f"{path}/norm")


def test_x_block_values():
    """Stride 2 on single pixels, where the 3x3 convolution sees its middle alone."""
    layer = XBlock(8, 4, stride=2, name="block")
    layer.build((None, 1, 1, 6))
    weights = randomize(layer)
    x = normal(3, 1, 1, 6).numpy()
    y = relu(one_by_one(x, weights, "block/conv_1"))
    middle = weights["block/conv_2/kernel"][1, 1]  # 4 -> 8 channels in two groups
    y = np.concatenate([y[..., :4] @ middle[:, :4], y[..., 4:] @ middle[:, 4:]], -1)
    y = relu(inference_norm(y, weights, "block/conv_2/norm"))
    y = one_by_one(y, weights, "block/conv_3")
    expected = relu(y + one_by_one(x, weights, "block/shortcut"))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_y_block_gates_between_the_last_convolutions():
    layer = YBlock(6, 6, name="block")
    layer.build((None, 1, 1, 6))
    weights = randomize(layer)
    x = normal(3, 1, 1, 6).numpy()
    y = relu(one_by_one(x, weights, "block/conv_1"))
    y = y @ weights["block/conv_2/kernel"][1, 1]
    y = relu(inference_norm(y, weights, "block/conv_2/norm"))
    gate = relu(y @ weights["block/se/reduce/kernel"] + weights["block/se/reduce/bias"])
    gate = sigmoid(gate @ weights["block/se/expand/kernel"] + weights["block/se/expand/bias"])
    expected = relu(x + one_by_one(y * gate, weights, "block/conv_3"))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_squeeze_excite_takes_means_of_whole_images():
    layer = SqueezeExcite(3, name="se")
    layer.build((None, 4, 5, 6))
    weights = randomize(layer)
    x = normal(2, 4, 5, 6).numpy()
    gate = relu(x.mean((1, 2)) @ weights["se/reduce/kernel"] + weights["se/reduce/bias"])
    gate = sigmoid(gate @ weights["se/expand/kernel"] + weights["se/expand/bias"])
    np.testing.assert_allclose(layer(x), x * gate[:, None, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_activation_comes_last(activation):
    layer = ConvNorm(8, activation=activation, name="conv")
    x = normal(2, 4, 4, 6)
    layer(x)
    y = one_by_one(x.numpy(), randomize(layer), "conv")
    expected = y if activation is None else getattr(keras.activations, activation)(y)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_group_normalization_takes_16_channels_a_group():
    layer = ConvNorm(32, normalization="group")
    x = normal(2, 4, 4, 6)
    y = layer(x).numpy()
    conv = (x.numpy() @ layer.kernel.numpy()[0, 0]).reshape(2, 16, 2, 16)
    mean, variance = conv.mean((1, 3), keepdims=True), conv.var((1, 3), keepdims=True)
    expected = ((conv - mean) / np.sqrt(variance + 1e-5)).reshape(y.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_head_without_what_keras_3_12_does_not_know():
    """Keras 3.13 and later write the settings of a quantization, also where there is none."""
    assert "quantization_config" not in Head(5).get_config()


def test_head_is_affine():
    layer = Head(5, name="head")
    layer.build((None, 8))
    weights = randomize(layer)
    x = normal(3, 8).numpy()
    expected = x @ weights["head/kernel"] + weights["head/bias"]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_head_works_in_float32_by_default():
    layer = Head(5)
    assert layer.dtype_policy.name == "float32"
    assert layer(normal(3, 8, dtype="bfloat16")).dtype == "float32"


# Initial values.


def initial(layer, channels):
    layer.build((None, channels) if isinstance(layer, Head) else (None, 8, 8, channels))
    return {variable.path: variable.numpy() for variable in layer.variables}


def check_normal(array, stddev):
    """Zero mean, this standard deviation, and tails, by 5 sigma of what a sample shows."""
    error = stddev / array.size**0.5
    assert abs(array.mean()) < 5 * error
    assert abs(array.std() - stddev) < 5 * error / 2**0.5
    assert (np.abs(array) > 2.5 * stddev).mean() == pytest.approx(0.0124, rel=0.3)  # not cut off


def test_initial_kernels():
    weights = initial(YBlock(256, 32, stride=2, se_ratio=0.5, name="b"), 128)
    check_normal(weights["b/conv_1/kernel"], (2 / 256) ** 0.5)
    check_normal(weights["b/conv_2/kernel"], (2 / (9 * 256)) ** 0.5)
    check_normal(weights["b/conv_3/kernel"], (2 / 256) ** 0.5)
    check_normal(weights["b/shortcut/kernel"], (2 / 256) ** 0.5)
    check_normal(weights["b/se/reduce/kernel"], (2 / 64) ** 0.5)
    check_normal(weights["b/se/expand/kernel"], (2 / 256) ** 0.5)


def test_initial_stem_and_head():
    check_normal(initial(Stem(512, name="s"), 16)["s/conv/kernel"], (2 / (9 * 512)) ** 0.5)
    check_normal(initial(Head(200, name="h"), 256)["h/kernel"], 0.01)


def test_initial_vectors():
    constants = {"gamma": 1, "beta": 0, "bias": 0, "moving_mean": 0, "moving_variance": 1}
    weights = initial(YBlock(8, 4, name="b"), 4) | initial(Head(5, name="h"), 8)
    vectors = {path: array for path, array in weights.items() if array.ndim == 1}
    assert len(vectors) == 4 * 4 + 2 + 1
    for path, array in vectors.items():
        assert (array == constants[path.split("/")[-1]]).all(), path


# Batch normalization as a layer.


def test_batch_norm_moves_its_statistics_as_pytorch_does():
    layer = BatchNorm()
    x = normal(4, 3, 5, 6) * 2 + 1
    for _ in range(2):
        layer(x, training=True)
    mean = x.numpy().mean((0, 1, 2))
    variance = x.numpy().var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.moving_mean, 0.19 * mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.81 + 0.19 * variance, rtol=1e-4)


def test_batch_norm_takes_other_momentum_and_epsilon():
    layer = BatchNorm(momentum=0.5, epsilon=3.0)
    x = normal(4, 3, 5, 6)
    np.testing.assert_allclose(layer(x), x / 2, rtol=1e-5)  # variance 1 + 3
    layer(x, training=True)
    np.testing.assert_allclose(
        layer.moving_mean, x.numpy().mean((0, 1, 2)) / 2, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("scale, center", [(True, False), (False, True), (False, False)])
def test_batch_norm_without_scale_or_center(scale, center):
    layer = BatchNorm(scale=scale, center=center, name="n")
    x = normal(4, 3, 5, 6) * 2 + 1
    y = layer(x, training=True)
    assert len(layer.trainable_variables) == scale + center
    expected = (x - x.numpy().mean((0, 1, 2))) / np.sqrt(x.numpy().var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_frozen_batch_norm_runs_in_inference_mode():
    layer, x = BatchNorm(name="norm"), normal(4, 3, 5, 6)
    layer.build(x.shape)
    weights = randomize(layer)
    layer.trainable = False
    expected = inference_norm(x.numpy(), weights, "norm")
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-4, atol=1e-5)
    for variable in layer.variables:
        np.testing.assert_array_equal(variable, weights[variable.path])
    assert layer.trainable_variables == []
    layer.trainable = True
    assert np.abs(layer(x, training=True) - expected).max() > 0.1


def test_freezing_a_stage_freezes_its_normalization():
    layer, x = Stage(8, 2, 4, se_ratio=0.25), normal(4, 8, 8, 6)
    expected = layer(x)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-6)
    np.testing.assert_array_equal(layer.blocks[0].conv_1.norm.moving_mean, np.zeros(8))


# Stochastic depth.


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    layer = DropPath(0.25, seed=0)
    x = tf.ones((4000, 2, 3, 2))
    y = layer(x, training=True).numpy()
    images = y[:, 0, 0, 0]
    np.testing.assert_array_equal(y, np.broadcast_to(images[:, None, None, None], y.shape))
    np.testing.assert_allclose(np.unique(images), [0, 4 / 3], rtol=1e-6)
    assert (images == 0).mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 4000) ** 0.5)


def test_drop_path_draws_anew():
    layer, x = DropPath(0.5, seed=0), tf.ones((64, 1))
    assert (layer(x, training=True).numpy() != layer(x, training=True).numpy()).any()
    again = DropPath(0.5, seed=0)
    np.testing.assert_array_equal(DropPath(0.5, seed=0)(x, training=True), again(x, training=True))


@pytest.mark.parametrize("rate, training", [(0.9, False), (0.9, None), (0.0, True)])
def test_drop_path_leaves_images_alone(rate, training):
    x = normal(64, 2, 2, 3)
    np.testing.assert_array_equal(DropPath(rate)(x, training=training), x)


def test_drop_path_drops_the_residual_and_not_the_shortcut():
    layer = XBlock(6, 2, drop_path_rate=0.5)
    x = tf.nn.relu(normal(64, 3, 3, 6))  # which the block's last ReLU leaves alone
    y = layer(x, training=True).numpy()
    alone = (y == x.numpy()).all((1, 2, 3))
    assert 16 <= alone.sum() <= 48
    assert (layer(x).numpy() != x.numpy()).any((1, 2, 3)).all()


def test_stage_gives_each_block_its_rate():
    layer = Stage(8, 3, 4, drop_path_rates=[0.0, 0.1, 0.2])
    layer.build((None, 8, 8, 8))
    assert [block.drop_path_rate for block in layer.blocks] == [0.0, 0.1, 0.2]
    assert [block.drop_path and block.drop_path.rate for block in layer.blocks] == [None, 0.1, 0.2]


def test_only_the_first_block_of_a_stage_strides():
    layer = Stage(8, 3, 4, stride=2)
    shapes = [layer.blocks[0].compute_output_shape((1, 9, 9, 4))]
    shapes += [block.compute_output_shape(shapes[0]) for block in layer.blocks[1:]]
    assert shapes == [(1, 5, 5, 8)] * 3


@pytest.mark.parametrize("replaced, stride, dilations", [(False, 2, [2] * 3), (True, 1, [2, 4, 4])])
def test_dilation_of_a_stage(replaced, stride, dilations):
    layer = Stage(8, 3, 4, stride=2, dilation=2, replace_stride_with_dilation=replaced)
    layer.build((None, 9, 9, 8))
    assert layer.stride == stride and [block.dilation for block in layer.blocks] == dilations
    first = layer.blocks[0]
    assert [first.conv_2.stride, first.shortcut.stride] == [stride, stride]
    assert [block.shortcut for block in layer.blocks[1:]] == [None, None]


# Errors.

HAS_RENORM = "renorm" in inspect.signature(keras.layers.BatchNormalization).parameters


@pytest.mark.parametrize(
    "make, argument, value, allowed",
    [
        (lambda: ConvNorm(0), "filters", 0, "at least 1"),
        (lambda: ConvNorm(8.0), "filters", 8.0, "an integer"),
        (lambda: ConvNorm(8, 2), "kernel_size", 2, "odd"),
        (lambda: ConvNorm(8, -1), "kernel_size", -1, "positive"),
        (lambda: ConvNorm(8, groups=0), "groups", 0, "at least 1"),
        (lambda: ConvNorm(8, groups=3), "groups", 3, "a divisor of filters=8"),
        (lambda: ConvNorm(8, activation="rely"), "activation", "rely", "relu"),
        (lambda: ConvNorm(8, normalization="layer"), "normalization", "layer", "batch.*group"),
        (lambda: ConvNorm(8, normalization="group"), "filters", 8, "a multiple of 16"),
        (lambda: BatchNorm(axis=1), "axis", 1, "-1"),
        pytest.param(
            lambda: BatchNorm(renorm=True), "renorm", True, "False",
            marks=pytest.mark.skipif(not HAS_RENORM, reason="this Keras has no renorm"),
        ),
        (lambda: SqueezeExcite(0), "squeeze_width", 0, "at least 1"),
        (lambda: DropPath(1.0), "rate", 1.0, "below 1"),
        (lambda: DropPath(-0.5), "rate", -0.5, "at least 0"),
        (lambda: XBlock(0, 1), "width", 0, "at least 1"),
        (lambda: XBlock(8, 3), "group_width", 3, "a divisor of the inner width 8"),
        (lambda: XBlock(8, 8, 3), "stride", 3, "1 or 2"),
        (lambda: XBlock(8, 8, bottleneck_ratio=0), "bottleneck_ratio", 0, "above 0"),
        (lambda: YBlock(8, 8, se_ratio=0), "se_ratio", 0, "above 0"),
        (lambda: Stage(8, 0, 8), "depth", 0, "at least 1"),
        (lambda: Stage(8, 2, 8, se_ratio=-1), "se_ratio", -1, "at least 0"),
        (
            lambda: Stage(8, 2, 8, drop_path_rates=[0.1]),
            "drop_path_rates",
            [0.1],
            "2 rates, one for each block",
        ),
        (lambda: Stem(0), "filters", 0, "at least 1"),
        (lambda: Head(0), "classes", 0, "at least 1"),
    ],
)  # fmt: skip
def test_errors(make, argument, value, allowed):
    message = f"`{argument}` must be .*{allowed}.*Received: {argument}={re.escape(repr(value))}"
    with pytest.raises(ValueError, match=message):
        make()


def test_groups_must_divide_the_input_channels():
    with pytest.raises(ValueError, match="`groups` must be a divisor of the 7 input channels"):
        ConvNorm(8, groups=2).build((None, 4, 4, 7))


@pytest.mark.parametrize("groups, stride, dilation", [(1, 2, 1), (2, 1, 1), (2, 1, 2)])
def test_folded_normalization_is_exact(monkeypatch, groups, stride, dilation):
    """Outputs and all gradients, as of the convolution and what normalizes it; frozen, too."""
    layer = ConvNorm(8, 3, stride, groups, dilation, activation="relu")
    layer.build((None, 7, 6, 4))
    rng = np.random.default_rng(0)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    x = tf.constant(rng.standard_normal((2, 7, 6, 4)), "float32")

    def outputs_and_gradients(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(y**2)
        sources = [x, layer.kernel.value, layer.norm.gamma.value, layer.norm.beta.value]
        return [y, *tape.gradient(loss, sources, unconnected_gradients="zero")]

    folded = outputs_and_gradients(training=False)
    layer.norm.trainable = False
    frozen = outputs_and_gradients(training=True)
    layer.norm.trainable = True
    monkeypatch.setattr(ConvNorm, "_folds", lambda *_: False)
    apart = outputs_and_gradients(training=False)
    for one, other, expected in zip(folded, frozen, apart, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(one, expected, rtol=0, atol=2e-6 * scale)
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * scale)


# Options of RegNetV and RegNetZ. Golden logits of published networks are in test_porting.py.


def test_evonorm_by_hand():
    layer = EvoNorm()
    x = 3 * np.asarray(normal(2, 3, 5, 32))
    layer.build(x.shape)
    gamma, beta, v = (np.asarray(normal(32)) for _ in range(3))
    for variable, value in ((layer.gamma, gamma), (layer.beta, beta), (layer.v, v)):
        variable.assign(value)
    wide = x.astype("float64")
    deviations = np.sqrt(wide.reshape(2, 15, 2, 16).var((1, 3), keepdims=True) + 1e-3)
    activated = wide / (1 + np.exp(-wide * v))
    expected = (activated.reshape(2, 15, 2, 16) / deviations).reshape(x.shape) * gamma + beta
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    with pytest.raises(ValueError, match="groups of 16 channels"):
        EvoNorm().build((1, 4, 4, 24))


@pytest.mark.parametrize("stride, last", [(2, 7.0), (1, 7 / 4)])
def test_average_pooling_at_odd_sides(stride, last):
    """As timm's: the corner has one pixel at stride 2, and three zeros beside it at stride 1."""
    x = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    x[0, -1, -1] = 7
    found = np.asarray(AveragePooling(stride)(x))[0, :, :, 0]
    assert found.shape == ((2, 2) if stride == 2 else (3, 3))
    assert (found[0, 0], found[-1, -1]) == (2.0, last)


@pytest.mark.parametrize(
    "options, names",
    [
        ({"shortcut": "none"}, {"conv_1", "conv_2", "conv_3"}),
        ({"shortcut": "average"}, {"conv_1", "conv_2", "conv_3", "shortcut", "pool"}),
        (
            {"preactivation": True},
            {"norm_1", "conv_1", "conv_2", "norm_3", "conv_3", "shortcut"},
        ),
    ],
)
def test_layers_of_a_block_that_changes_its_shape(options, names):
    block = XBlock(16, 8, stride=2, **options)
    x = normal(2, 5, 5, 8)
    assert block(x).shape == block.compute_output_shape(x.shape) == (2, 3, 3, 16)
    assert {layer.name for layer in sublayers(block)} == names
    copy = XBlock.from_config(block.get_config())
    copy.build(x.shape)
    copy.set_weights(block.get_weights())
    np.testing.assert_array_equal(copy(x), block(x))


def test_a_block_without_shortcut_drops_no_path():
    """There would be nothing left of an image."""
    for stride, dropped in ((2, False), (1, True)):
        block = XBlock(8, 8, stride=stride, shortcut="none", drop_path_rate=0.9)
        block.build((1, 4, 4, 8))
        assert (block.drop_path is not None) == dropped


def test_activation_after_the_sum():
    """Blocks with a linear output or preactivation have negative outputs, others have none."""
    x = normal(4, 4, 4, 8)
    for options, negative in (
        ({}, False),
        ({"linear_output": True}, True),
        ({"preactivation": True}, True),
    ):
        assert (np.asarray(XBlock(8, 8, **options)(x)).min() < 0) == negative


def test_inner_width_from_the_input():
    for bottleneck_in, inner in ((True, 32), (False, 64)):
        block = YBlock(16, 8, bottleneck_ratio=4, bottleneck_in=bottleneck_in, se_quantum=8)
        block.build((1, 4, 4, 8))
        assert block.conv_2.filters == inner
        assert block.gate.squeeze_width == 8  # a quarter of 8, and at least the quantum


def test_stems_of_three_convolutions():
    for stem_type, widths in (("tiered", [6, 8, 16]), ("deep", [16, 16, 16])):
        stem = Stem(16, 4, stem_type)
        assert stem(normal(1, 9, 9, 3)).shape == (1, 3, 3, 16)
        assert [conv.filters for conv in stem.convs] == widths
        assert [conv.stride for conv in stem.convs] == [2, 1, 2]
    with pytest.raises(ValueError, match="`stem_stride` must be 1 or 2"):
        Stem(16, 4)
