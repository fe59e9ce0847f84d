"""Convolution and batch normalization against numpy, with their gradients."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from regnet_tf import BatchNorm, ConvNorm
from regnet_tf.ops import add_bias, batch_norm_inference, batch_norm_training, conv2d

EPSILON = 1e-5
TOLERANCE = {"float64": 1e-10, "float32": 3e-5, "float16": 1e-2, "bfloat16": 5e-2}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def assert_close(found, expected, dtype):
    """Equal up to rounding, by the largest expected number."""
    found = np.asarray(found, "float64")
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * max(1, np.abs(expected).max())


# Convolution.


def taps(x, kernel, stride, dilation):
    """The part of the padded image under each pixel of the kernel, with that pixel's position."""
    pad = dilation * (kernel.shape[0] // 2)
    height, width = (-(-side // stride) for side in x.shape[1:3])
    for u, v in np.ndindex(kernel.shape[:2]):
        rows = slice(u * dilation, u * dilation + (height - 1) * stride + 1, stride)
        columns = slice(v * dilation, v * dilation + (width - 1) * stride + 1, stride)
        yield u, v, pad, (slice(None), rows, columns)


def by_group(array, groups):
    """Splits the last axis into groups."""
    return array.reshape(*array.shape[:-1], groups, -1)


def reference_conv(x, kernel, stride, dilation):
    groups = x.shape[-1] // kernel.shape[2]
    outputs = 0
    for u, v, pad, window in taps(x, kernel, stride, dilation):
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))[window]
        pixel = by_group(kernel[u, v], groups)  # C / groups, groups, F / groups
        outputs += np.einsum("nhwgc,cgf->nhwgf", by_group(padded, groups), pixel)
    return outputs.reshape(*outputs.shape[:3], -1)


def reference_gradients(x, kernel, upstream, stride, dilation):
    groups = x.shape[-1] // kernel.shape[2]
    upstream = by_group(upstream, groups)
    kernel_gradient = np.zeros_like(kernel)
    for u, v, pad, window in taps(x, kernel, stride, dilation):
        margin = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        if u == v == 0:
            padded, x_gradient = np.pad(x, margin), np.zeros_like(np.pad(x, margin))
        pixel = by_group(kernel[u, v], groups)
        into_kernel = np.einsum("nhwgc,nhwgf->cgf", by_group(padded[window], groups), upstream)
        kernel_gradient[u, v] = into_kernel.reshape(kernel.shape[2:])
        into_x = np.einsum("nhwgf,cgf->nhwgc", upstream, pixel)
        x_gradient[window] += into_x.reshape(x_gradient[window].shape)
    height, width = x.shape[1:3]
    return x_gradient[:, pad : pad + height, pad : pad + width], kernel_gradient


def conv_and_gradients(x, kernel, upstream, stride, dilation, call=conv2d):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = call(x, kernel, stride, dilation)
    return y, *tape.gradient(y, [x, kernel], upstream)


def check_conv(size, kernel_size, groups, stride, dilation, dtype, compiled):
    x = normal(2, *size, 6, seed=1)
    kernel = normal(kernel_size, kernel_size, 6 // groups, 12, seed=2)
    expected = reference_conv(x, kernel, stride, dilation)
    upstream = normal(*expected.shape, seed=3)
    function = functools.partial(conv_and_gradients, stride=stride, dilation=dilation)
    if compiled:  # for images of any size and number
        images = tf.TensorSpec((None, None, None, 6), dtype)
        outputs = tf.TensorSpec((None, None, None, 12), dtype)
        function = tf.function(function, (images, tf.TensorSpec(kernel.shape, dtype), outputs))
    y, *gradients = function(*(tf.constant(array, dtype) for array in (x, kernel, upstream)))
    assert y.dtype == dtype
    assert_close(y, expected, dtype)
    expected = reference_gradients(x, kernel, upstream, stride, dilation)
    for found, gradient in zip(gradients, expected, strict=True):
        assert_close(found, gradient, dtype)


def test_reference_convolution_by_hand():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[0, 1] = 1  # the pixel above
    assert reference_conv(x, kernel, 1, 1)[0, :, :, 0].tolist() == [[0, 0, 0], [0, 1, 2], [3, 4, 5]]
    assert reference_conv(x, kernel, 2, 1)[0, :, :, 0].tolist() == [[0, 0], [3, 5]]
    kernel[0, 1], kernel[2, 2] = 0, 1  # two pixels down and right
    assert reference_conv(x, kernel, 1, 2)[0, :, :, 0].tolist() == [[8, 0, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 2), (1, 3)])
@pytest.mark.parametrize("size", [(8, 6), (7, 9)], ids=["even", "odd"])
def test_convolution(size, stride, dilation, groups, dtype, compiled):
    check_conv(size, 3, groups, stride, dilation, dtype, compiled)


@pytest.mark.parametrize("kernel_size, groups", [(1, 1), (3, 3)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_of_a_graph_that_no_tape_has_seen(kernel_size, groups, dilation):
    x, kernel = normal(2, 8, 6, 6), normal(kernel_size, kernel_size, 6 // groups, 12)
    upstream = normal(2, 8, 6, 12)
    arguments = [tf.constant(array, "float32") for array in (x, kernel, upstream)]
    _, *found = conv_and_gradients(*arguments, 1, dilation, call=tf.function(conv2d))
    expected = reference_gradients(x, kernel, upstream, 1, dilation)
    for one, gradient in zip(found, expected, strict=True):
        assert_close(one, gradient, "float32")


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 5])
def test_convolution_kernel_sizes(kernel_size, stride, groups):
    check_conv((9, 8), kernel_size, groups, stride, 1, "float32", True)


@pytest.mark.short_floats
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_short_floats(stride, groups, dtype):
    check_conv((8, 6), 3, groups, stride, 1, dtype, True)


def test_convolution_of_an_image_smaller_than_the_kernel():
    check_conv((1, 2), 3, 2, 2, 1, "float32", False)
    check_conv((2, 1), 3, 3, 1, 2, "float32", True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_fused_with_what_follows(groups, dtype):
    """Grappler replaces these three by one operation, which not every runtime has for groups."""
    x, kernel, bias = normal(2, 8, 8, 4), normal(3, 3, 4 // groups, 8), normal(8)

    @tf.function
    def fused(x):
        y = conv2d(x, tf.constant(kernel, dtype), 1)
        return tf.nn.relu(add_bias(y, tf.constant(bias, dtype), groups))

    expected = np.maximum(reference_conv(x, kernel, 1, 1) + bias, 0)
    assert_close(fused(tf.constant(x, dtype)), expected, dtype)


# Batch normalization.


def reference_norm(x, gamma, beta, upstream):
    """Outputs, mean, unbiased variance, and gradients to x, gamma and beta, in float64."""
    count = x.size // x.shape[-1]
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    scale = 1 / np.sqrt(variance + EPSILON)
    normed = (x - mean) * scale
    to_gamma, to_beta = (upstream * normed).sum((0, 1, 2)), upstream.sum((0, 1, 2))
    to_x = gamma * scale * (upstream - to_beta / count - normed * to_gamma / count)
    y = normed * gamma + beta
    return y, mean, variance * count / (count - 1), to_x, to_gamma, to_beta


def of_batch(x, gamma, beta, synchronized=False):
    """Normalization, with the batch's statistics in place of moving ones."""
    zeros = tf.zeros_like(gamma)
    return batch_norm_training(x, gamma, beta, zeros, zeros, 0.0, EPSILON, synchronized)


def norm_and_gradients(x, gamma, beta, upstream, synchronized=False, call=of_batch):
    with tf.GradientTape() as tape:
        tape.watch([x, gamma, beta])
        y, mean, variance = call(x, gamma, beta, synchronized)
    return y, mean, variance, *tape.gradient(y, [x, gamma, beta], upstream)


def norm_arguments(images=4, channels=6):
    """x, gamma, beta, and a gradient of the output."""
    x = normal(images, 5, 3, channels, seed=1) * (1 + np.arange(channels) % 6) + 3
    gamma, beta = 1 + normal(channels, seed=2) / 4, normal(channels, seed=3)
    return x, gamma, beta, normal(*x.shape, seed=4)


def tensors(arrays, dtype):
    """x and the upstream gradient as `dtype`; gamma and beta as Keras would keep them."""
    wide = "float64" if dtype == "float64" else "float32"
    x, gamma, beta, upstream = arrays
    return [
        tf.constant(array, kind)
        for array, kind in ((x, dtype), (gamma, wide), (beta, wide), (upstream, dtype))
    ]


@pytest.mark.parametrize("channels", [6, 32], ids=["odd channels", "whole registers"])
@pytest.mark.parametrize("kind", ["eager", "function", "function under a tape"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_training(dtype, kind, channels):
    arguments = norm_arguments(channels=channels)
    function = {
        "eager": norm_and_gradients,
        "function": tf.function(norm_and_gradients),
        "function under a tape": functools.partial(norm_and_gradients, call=tf.function(of_batch)),
    }[kind]
    found = function(*tensors(arguments, dtype))
    for one, expected in zip(found, reference_norm(*arguments), strict=True):
        assert one.dtype == dtype
        assert_close(one, expected, dtype)


@pytest.mark.short_floats
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_norm_keeps_float32_statistics_of_short_floats(dtype):
    arguments = norm_arguments(images=64)
    x, gamma, beta, upstream = tensors(arguments, dtype)
    found = norm_and_gradients(x, gamma, beta, upstream)
    rounded = tf.cast(x, "float64").numpy(), *arguments[1:]
    y, mean, variance, to_x, to_gamma, to_beta = reference_norm(*rounded)
    assert [one.dtype.name for one in found[:4]] == [dtype, "float32", "float32", dtype]
    assert_close(found[1], mean, "float32")
    assert_close(found[2], variance, "float32")
    for one, expected in zip((found[0], *found[3:]), (y, to_x, to_gamma, to_beta), strict=True):
        assert_close(one, expected, dtype)


@pytest.mark.short_floats
def test_batch_norm_of_short_variables():
    """As under the policy "bfloat16", whose variables are short, too."""
    short = [tf.cast(one, "bfloat16") for one in tensors(norm_arguments(images=64), "bfloat16")]
    x, gamma, beta, _ = rounded = [one.numpy().astype("float64") for one in short]
    for one, expected in zip(norm_and_gradients(*short), reference_norm(*rounded), strict=True):
        assert one.dtype == "bfloat16"
        assert_close(one, expected, "bfloat16")
    variance = np.abs(gamma)
    y = batch_norm_inference(*short[:3], short[2], tf.abs(short[1]), EPSILON)
    assert_close(y, (x - beta) / np.sqrt(variance + EPSILON) * gamma + beta, "bfloat16")


@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_graph_optimizer_takes_normalization_before_a_sum(activation):
    """In a training step of a block. What it cannot compute makes TensorFlow drop all it did."""
    conv = ConvNorm(24, activation=activation)
    conv.build((None, 8, 8, 24))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            y = tf.nn.relu(x + conv(x, training=True))
        return tape.gradient(y, conv.trainable_variables)

    context.enable_run_metadata()
    try:
        step(tf.ones((2, 8, 8, 24)))
        graphs = context.context().export_run_metadata().function_graphs
    finally:
        context.disable_run_metadata()
    executed = [node.op for one in graphs for graph in one.partition_graphs for node in graph.node]
    assert "AddV2" in executed
    assert not {"BiasAdd", "StopGradient"}.intersection(executed)


@pytest.mark.parametrize(
    "dtype",
    [
        *("float64", "float32"),
        *(pytest.param(one, marks=pytest.mark.short_floats) for one in ("bfloat16", "float16")),
    ],
)
def test_batch_norm_inference(dtype):
    x, gamma, beta, upstream = arguments = norm_arguments()
    mean, variance = normal(6, seed=5), 0.5 + np.arange(6)
    x_tensor, gamma_tensor, beta_tensor, upstream_tensor = tensors(arguments, dtype)
    statistics = [tf.cast(array, gamma_tensor.dtype) for array in (mean, variance)]
    with tf.GradientTape() as tape:
        tape.watch([x_tensor, gamma_tensor, beta_tensor])
        y = batch_norm_inference(x_tensor, gamma_tensor, beta_tensor, *statistics, EPSILON)
    gradients = tape.gradient(y, [x_tensor, gamma_tensor, beta_tensor], upstream_tensor)

    normed = (x - mean) / np.sqrt(variance + EPSILON)
    assert y.dtype == dtype
    assert_close(y, normed * gamma + beta, dtype)
    expected = (
        upstream * gamma / np.sqrt(variance + EPSILON),
        (upstream * normed).sum((0, 1, 2)),
        upstream.sum((0, 1, 2)),
    )
    for found, gradient in zip(gradients, expected, strict=True):
        assert_close(found, gradient, dtype)


def test_batch_norm_of_one_pixel():
    """No variance to correct: finite, and 0."""
    x = tf.constant(normal(1, 1, 1, 3), "float32")
    beta = tf.constant([1.0, 2.0, 3.0])
    y, mean, variance = of_batch(x, tf.ones(3), beta)
    np.testing.assert_allclose(y[0, 0, 0], beta, atol=1e-5)
    np.testing.assert_allclose(mean, x[0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-6)


@pytest.mark.parametrize("channels", [6, 32], ids=["odd channels", "whole registers"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_of_no_images(dtype, graph, channels):
    """The moving statistics stay; the gradients of gamma and beta are sums of nothing."""

    def step(x):
        gamma, beta = tf.fill([channels], tf.cast(3.0, dtype)), tf.ones(channels, dtype)
        moving = tf.fill([channels], tf.cast(0.7, dtype)), tf.fill([channels], tf.cast(5, dtype))
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            y, *moved = batch_norm_training(x, gamma, beta, *moving, 0.9, EPSILON)
        return y, *moving, *moved, *tape.gradient(y, [x, gamma, beta])

    if graph:
        spec = tf.TensorSpec((None, 4, 5, channels), dtype)
        step = tf.function(step, input_signature=[spec], autograph=False)
    y, mean, variance, moved_mean, moved_variance, to_x, to_gamma, to_beta = step(
        tf.zeros((0, 4, 5, channels), dtype)
    )
    assert y.shape == to_x.shape == (0, 4, 5, channels)
    np.testing.assert_array_equal(moved_mean, mean)
    np.testing.assert_array_equal(moved_variance, variance)
    np.testing.assert_array_equal(to_gamma, np.zeros(channels))
    np.testing.assert_array_equal(to_beta, np.zeros(channels))


def per_replica(strategy, array, split):
    """The images before and after `split`, one part a device."""
    parts = (tf.constant(part, "float32") for part in np.split(array, [split]))
    return strategy.experimental_distribute_values_from_function(lambda _: next(parts))


@pytest.mark.parametrize("split", [2, 1], ids=["equal", "unequal"])
def test_synchronized_batch_norm_is_one_device_with_the_joined_batch(two_devices, split):
    x, gamma, beta, upstream = arguments = norm_arguments()

    @tf.function
    def step(x, upstream):
        scale, shift = tf.constant(gamma, "float32"), tf.constant(beta, "float32")
        return norm_and_gradients(x, scale, shift, upstream, synchronized=True)

    parts = [per_replica(two_devices, array, split) for array in (x, upstream)]
    found = two_devices.run(step, args=tuple(parts))
    y, mean, variance, to_x, to_gamma, to_beta = (
        two_devices.experimental_local_results(one) for one in found
    )
    expected = reference_norm(*arguments)
    for replicas, whole in ((y, expected[0]), (to_x, expected[3])):
        assert_close(np.concatenate(replicas), whole, "float32")
    for replicas, whole in ((mean, expected[1]), (variance, expected[2])):
        for one in replicas:  # each knows all of it
            assert_close(one, whole, "float32")
    for replicas, whole in ((to_gamma, expected[4]), (to_beta, expected[5])):
        assert_close(np.sum(replicas, 0), whole, "float32")


def test_moving_statistics_of_two_devices(two_devices):
    x = norm_arguments()[0]
    with two_devices.scope():
        layer = BatchNorm(synchronized=True)
        layer.build((None, 5, 3, 6))
    step = tf.function(lambda x: layer(x, training=True))
    two_devices.run(step, args=(per_replica(two_devices, x, 2),))
    assert_close(layer.moving_mean, 0.1 * x.mean((0, 1, 2)), "float32")
    assert_close(layer.moving_variance, 0.9 + 0.1 * x.var((0, 1, 2), ddof=1), "float32")


@pytest.mark.parametrize("synchronized", [False, True])
def test_moving_statistics_if_a_device_gets_no_images(two_devices, synchronized):
    """9 images in batches of 4 leave one for the last step."""
    x = norm_arguments(images=9)[0].astype("float32")
    with two_devices.scope():
        inputs = keras.Input(x.shape[1:])
        norm = BatchNorm(synchronized=synchronized)
        outputs = keras.layers.GlobalAveragePooling2D()(norm(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
        model.compile("sgd", "mse")
    history = model.fit(
        tf.data.Dataset.from_tensor_slices((x, np.ones(9))).batch(4), epochs=2, verbose=0
    )
    shares = ([x[:2], x[4:6], x[8:]], [x[2:4], x[6:8]])  # of the two devices
    if synchronized:
        shares = [[x[:4], x[4:8], x[8:]]] * 2
    for device, share in enumerate(shares):
        mean, variance = np.zeros(6), np.ones(6)
        for batch in share * 2:
            mean = 0.9 * mean + 0.1 * batch.mean((0, 1, 2))
            variance = 0.9 * variance + 0.1 * batch.var((0, 1, 2), ddof=1)
        for variable, expected in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            own = two_devices.experimental_local_results(variable.value)[device]
            assert_close(own, expected, "float32")
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(array).all() for array in model.get_weights())


def test_odd_batches_of_few_channels():
    """oneDNN's gradient of a strided 1x1 kernel corrupts memory, which ends the process."""

    @tf.function
    def gradients(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            y = conv2d(x, kernel, stride=2)
        return tape.gradient(y, kernel), tf.einsum("bhwi,bhwo->io", x[:, ::2, ::2], tf.ones_like(y))

    normal = tf.random.Generator.from_seed(1).normal
    for filters in (8, 16):
        for batch in (1, 5, 7):
            for _ in range(20):
                ours, expected = gradients(normal((batch, 16, 16, 8)), normal((1, 1, 8, filters)))
                tf.debugging.assert_near(ours[0, 0], expected, atol=1e-3)
