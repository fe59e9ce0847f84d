"""Convolution and batch normalization by TensorFlow's own kernels, the fastest on a CPU.

Every convolution is one TensorFlow operation, also if it is grouped or dilated. An exported network
is therefore the same on every machine. Only the training step depends on the machine: it selects
how gradients and batch statistics are computed.
"""

import functools
import logging
import os
from typing import NamedTuple

import tensorflow as tf

from regnet_tf._cpu import could_have_onednn, onednn
from regnet_tf._internals import override_gradients, record_gradients, stop_recording

_log = logging.getLogger("regnet_tf")
_FEW_CHANNELS = 16
_VECTOR = 16  # float32 numbers in an AVX-512 register
_NARROW_GROUP = 8


def has_accelerator() -> bool:
    """Whether TensorFlow sees a GPU or a TPU. Their kernels need none of the workarounds here."""
    return bool(tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU"))


def conv2d(x, kernel, stride, dilation):
    """See `regnet_tf.ops.conv2d`."""
    _warn_if_slow()
    x, kernel = tf.convert_to_tensor(x), tf.convert_to_tensor(kernel)
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    if several and not x.shape[0] and onednn() != "off" and not has_accelerator():
        # One of several replicas can get an empty batch. oneDNN's convolution of it has a wrong
        # shape. An image of zeros takes part instead.
        count = tf.shape(x)[0]
        x = tf.pad(x, [[0, tf.cast(count == 0, tf.int32)], [0, 0], [0, 0], [0, 0]])
        return _conv2d(x, kernel, stride, dilation)[:count]
    return _conv2d(x, kernel, stride, dilation)


def _conv2d(x, kernel, stride, dilation):
    # With a stride, TensorFlow's SAME adds the odd pixel at the end. PyTorch pads symmetrically.
    # The padding is a separate operation, because oneDNN has no gradients for explicit padding.
    pad = dilation * (kernel.shape[0] // 2)
    if stride > 1 and pad:
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    elif stride > 1 and x.shape[-1] < _FEW_CHANNELS:
        # oneDNN's gradient of a strided 1x1 kernel with few input channels writes outside its
        # memory if the batch size is odd. Subsampling first avoids the stride.
        x, stride = x[:, ::stride, ::stride], 1
    how = {
        "strides": (1, stride, stride, 1),
        "padding": "VALID" if stride > 1 else "SAME",
        "dilations": (1, dilation, dilation, 1),
    }
    if has_accelerator():
        return _convolve(x, kernel, how)
    return _conv2d_own(x, kernel, how)


def _conv2d_own(x, kernel, how):
    """A convolution with the gradients of `_conv2d_gradients`."""

    def of_node(node, dy):
        x, kernel = node.inputs
        return _conv2d_gradients(how, x, kernel, dy)

    with override_gradients(Conv2D=of_node):
        y = _convolve(x, kernel, how)
    return record_gradients(y, (x, kernel), functools.partial(_conv2d_gradients, how, x, kernel))


def _convolve(x, kernel, how):
    return tf.raw_ops.Conv2D(input=x, filter=kernel, **how)


@functools.cache
def _warn_if_slow():
    """Logs once that oneDNN would be faster, unless TF_ENABLE_ONEDNN_OPTS is set."""
    decided = "TF_ENABLE_ONEDNN_OPTS" in os.environ
    if onednn() == "off" and could_have_onednn() and not decided and not has_accelerator():
        _log.warning(
            "TensorFlow runs without oneDNN, which trains RegNets faster on this CPU:"
            " set TF_ENABLE_ONEDNN_OPTS=1 in the environment before TensorFlow is imported."
        )


def _conv2d_gradients(how, x, kernel, dy):
    """Returns the gradients of a convolution's input and kernel."""
    _, stride, _, _ = how["strides"]
    _, dilation, _, _ = how["dilations"]
    groups = x.shape[-1] // kernel.shape[-2]
    if kernel.shape[0] == stride == groups == 1:
        return _pointwise_gradients(x, kernel, dy)
    if (groups > 1 or dilation > 1) and not _has_native_gradients(x.dtype):
        if dilation > 1:
            return _dilated_gradients(how, x, kernel, dy)
        return _grouped_gradients(how, x, kernel, dy, groups)
    if x.dtype == tf.bfloat16 and groups > 1 and kernel.shape[-2] < _NARROW_GROUP:
        return _gradients_in_float32(how, x, kernel, dy)
    return _native_gradients(how, x, kernel, dy)


def _pointwise_gradients(x, kernel, dy):
    """Returns the gradients of a 1x1 convolution.

    The input's gradient is another convolution, the kernel's is a matrix product. Both are faster
    on every CPU.
    """
    transposed = tf.transpose(kernel, (0, 1, 3, 2))
    to_x = tf.raw_ops.Conv2D(input=dy, filter=transposed, strides=(1, 1, 1, 1), padding="VALID")
    x, dy = (tf.reshape(one, (-1, one.shape[-1])) for one in (x, dy))
    to_kernel = tf.matmul(x, dy, transpose_a=True)
    return to_x, tf.reshape(to_kernel, kernel.shape)


def _native_gradients(how, x, kernel, dy):
    to_x = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, **how
    )
    return to_x, _native_gradient_of_kernel(how, x, kernel, dy)


def _gradients_in_float32(how, x, kernel, dy):
    """Returns bfloat16 gradients, computed in float32.

    oneDNN is slow for narrow groups in bfloat16: at stride 2, it takes 3 times as long for groups
    of two channels, and 20 times for the input's gradient of a depthwise convolution.
    """
    found = _native_gradients(how, *(tf.cast(one, tf.float32) for one in (x, kernel, dy)))
    return tuple(tf.cast(one, x.dtype) for one in found)


def _native_gradient_of_kernel(how, x, kernel, dy):
    return tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=kernel.shape, out_backprop=dy, **how
    )


def _has_native_gradients(dtype):
    """Whether TensorFlow has both gradients of grouped and of dilated convolutions.

    oneDNN has them for the types that it supports on this CPU. Eigen's kernels raise an error.
    """
    kernels = onednn()
    return kernels != "off" and (
        dtype == tf.float32 or (dtype == tf.bfloat16 and kernels == "avx512")
    )


def _grouped_gradients(how, x, kernel, dy, groups):
    """Returns the gradients of a grouped convolution.

    They are computed for each group and concatenated. At stride 1, the input's gradient is a
    grouped convolution instead, for which TensorFlow has a kernel.
    """
    parts = zip(*(tf.split(one, groups, -1) for one in (x, kernel, dy)), strict=True)
    if how["padding"] == "SAME":  # at stride 1
        to_x = _convolve(dy, _transposed(kernel, groups), how)
        of_group = _native_gradient_of_kernel
        return to_x, tf.concat([of_group(how, x, kernel, dy) for x, kernel, dy in parts], -1)
    found = [_native_gradients(how, *part) for part in parts]
    return tuple(tf.concat(one, -1) for one in zip(*found, strict=True))


def _transposed(kernel, groups):
    """Returns the kernel of the transposed convolution: each group's outputs become its inputs."""
    height, width, inputs, _ = kernel.shape
    kernel = tf.reshape(tf.reverse(kernel, (0, 1)), (height, width, inputs, groups, -1))
    return tf.reshape(tf.transpose(kernel, (0, 1, 4, 3, 2)), (height, width, -1, groups * inputs))


def _dilated_gradients(how, x, kernel, dy):
    """Returns the gradients of a dilated convolution, computed by undilated ones."""
    _, stride, _, _ = how["strides"]
    _, dilation, _, _ = how["dilations"]
    with tf.GradientTape() as tape:
        tape.watch((x, kernel))
        y = _conv2d_undilated(x, kernel, dilation, how["padding"])[:, ::stride, ::stride]
    return tape.gradient(y, (x, kernel), dy)


def _conv2d_undilated(x, kernel, dilation, padding):
    """Computes a dilated convolution by an undilated one.

    Pixels that are `dilation` apart along both axes form a separate image.
    """
    if padding == "SAME":
        pad = dilation * (kernel.shape[0] // 2)
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    block, size = [dilation, dilation], tf.shape(x)[1:3]
    margin = -size % dilation
    x = tf.space_to_batch(x, block, tf.stack([tf.zeros_like(margin), margin], 1))
    how = {"strides": (1, 1, 1, 1), "padding": "VALID", "dilations": (1, 1, 1, 1)}
    y = _conv2d_own(x, kernel, how)
    return tf.batch_to_space(y, block, tf.stack([tf.zeros_like(margin), margin], 1))


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon):
    """See `regnet_tf.ops.batch_norm_inference`; for 4 axes and floats of at most 32 bits."""
    gamma, beta, mean, variance = _float32(gamma, beta, mean, variance)
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    ).y


def _float32(
    gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns vectors as the fused operations take them; variables can be shorter floats."""
    return tuple(tf.cast(one, tf.float32) for one in (gamma, beta, mean, variance))


class _Norm(NamedTuple):
    """Arguments of a normalization in training, except its input; tensors `(channels,)`."""

    gamma: tf.Tensor
    beta: tf.Tensor
    moving_mean: tf.Tensor
    moving_variance: tf.Tensor
    share: float  # weight of the batch statistics in the moving statistics
    epsilon: float


def batch_norm_training(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, activated):
    """See `regnet_tf.ops.batch_norm_training`; for one replica."""
    norm = _Norm(*_float32(gamma, beta, moving_mean, moving_variance), 1 - momentum, epsilon)
    if has_accelerator() or x.dtype != tf.float32:
        y, *moved = _fused_norm(x, norm)[:3]
    elif onednn() in ("avx2", "sse41") or (onednn() == "avx512" and x.shape[-1] % _VECTOR):
        # 4x as fast if oneDNN lacks AVX-512; 3x if the channels do not fill the registers.
        y, *moved = _norm_by_products(x, norm, activated)
    else:
        y, *moved = _norm_in_one(x, norm)
    if not x.shape[
        0
    ]:  # 0, or unknown: an empty batch, as one of several replicas can get, has none
        some = tf.size(x) > 0
        before = norm.moving_mean, norm.moving_variance
        moved = [tf.where(some, new, old) for new, old in zip(moved, before, strict=True)]
    return y, *(tf.cast(one, moving_mean.dtype) for one in moved)


def _fused_norm(x, norm):
    """Batch normalization by TensorFlow's fused operation."""
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=norm.gamma,
        offset=norm.beta,
        mean=norm.moving_mean,
        variance=norm.moving_variance,
        epsilon=norm.epsilon,
        exponential_avg_factor=norm.share,
        is_training=True,
    )


def _norm_in_one(x, norm):
    """Batch normalization by TensorFlow's fused operation, with the fastest gradient."""
    of_norm = _norm_gradients if onednn() == "off" else _fused_norm_gradients

    def of_node(node, dy, *_):
        x, gamma, *_ = node.inputs
        mean, variance = node.outputs[3:5]
        return *of_norm(x, gamma, mean, variance, norm.epsilon, dy), None, None

    with override_gradients(FusedBatchNormV3=of_node):
        fused = _fused_norm(x, norm)
    mean, variance = fused[3:5]
    gradients = functools.partial(of_norm, x, norm.gamma, mean, variance, norm.epsilon)
    return record_gradients(fused.y, (x, norm.gamma, norm.beta), gradients), *fused[1:3]


def _norm_by_products(x, norm, activated):
    """Batch normalization by matrix products and a convolution, which are fast on every CPU.

    Args:
        x: the input.
        norm: a `_Norm`.
        activated: whether an activation takes the result, and nothing else does.
    """
    with stop_recording():
        mean, variance, *moved = _statistics(
            tf.stop_gradient(x), norm.moving_mean, norm.moving_variance, norm.share
        )
    gradients = functools.partial(
        _fused_norm_gradients, x, norm.gamma, mean, variance, norm.epsilon
    )
    inputs = x, gamma, beta = x, norm.gamma, norm.beta
    # In a graph, the gradient of the result passes unchanged to IdentityN. There it becomes the
    # gradients of the inputs.
    with override_gradients(
        IdentityN=lambda node, dy, *_: gradients(dy),
        DepthwiseConv2dNative=lambda node, dy: (dy, None),
        BiasAdd=lambda node, dy: (dy, None),
        Snapshot=lambda node, dy: dy,
    ):
        if not tf.executing_eagerly():
            x, gamma, beta = tf.raw_ops.IdentityN(input=inputs)
        scale = gamma * tf.math.rsqrt(variance + norm.epsilon)
        y = _scale_and_shift(x, scale, beta - mean * scale)
        if not activated:
            # With oneDNN, the graph optimizer fuses a depthwise convolution, a sum and an
            # activation into an operation without a name. TensorFlow then rejects the whole
            # optimized graph. This operation keeps the sum apart; it copies nothing.
            y = tf.raw_ops.Snapshot(input=y)
    return record_gradients(y, inputs, gradients), *moved


@functools.partial(tf.function, autograph=False)
def _statistics(x, moving_mean, moving_variance, share):
    """Returns the mean and variance of a batch, and the updated moving statistics.

    It is a `tf.function`, so that it is traced once.
    """
    pixels = _pixels(x)
    mean = _means(x)
    variance = _means(tf.math.squared_difference(x, mean))
    unbiased = variance * (pixels / tf.maximum(pixels - 1, 1))
    return (
        *(mean, variance),
        moving_mean + share * (mean - moving_mean),
        moving_variance + share * (unbiased - moving_variance),
    )


def _scale_and_shift(x, scale, shift):
    """Returns `x * scale + shift` for each channel: one operation in an optimized graph.

    The graph optimizer also fuses the activation after it.
    """
    kernel = tf.reshape(scale, (1, 1, -1, 1))
    scaled = tf.raw_ops.DepthwiseConv2dNative(
        input=x, filter=kernel, strides=(1, 1, 1, 1), padding="VALID"
    )
    return tf.nn.bias_add(scaled, shift)


def _means(x):
    """Returns the mean of each channel by a matrix product; 0 if there are no images.

    It first averages each image, which rounds less than one long sum.
    """
    count, height, width, channels = tf.unstack(tf.shape(x))
    if None not in x.shape[1:]:
        height, width, channels = x.shape[1:]
    pixels = height * width
    shares = tf.fill((1, 1, pixels), 1 / tf.cast(pixels, x.dtype))
    images = tf.reshape(x, (count, pixels, channels))
    total = tf.reduce_sum(tf.matmul(shares, images), (0, 1))
    return total / tf.cast(tf.maximum(count, 1), x.dtype)


def _pixels(x):
    """Returns the number of pixels in a batch."""
    return tf.cast(tf.size(x) // x.shape[-1], x.dtype)


def _fused_norm_gradients(x, gamma, mean, variance, epsilon, dy):
    """Returns the gradients of input, gamma and beta, by TensorFlow's fused operation."""
    return tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=dy,
        x=x,
        scale=gamma,
        reserve_space_1=mean,
        reserve_space_2=variance,
        reserve_space_3=tf.constant([], tf.float32),
        epsilon=epsilon,
        is_training=True,
    )[:3]


def _norm_gradients(x, gamma, mean, variance, epsilon, dy):
    """Returns the gradients of input, gamma and beta, by small operations."""
    count = _pixels(x)
    inverse = tf.math.rsqrt(variance + epsilon)
    centered = x - mean
    to_beta = _means(dy)
    to_gamma = tf.math.multiply_no_nan(inverse, _means(centered * dy))  # NaN without images
    scale = gamma * inverse
    to_x = dy * scale - (centered * (scale * inverse * to_gamma) + scale * to_beta)
    return to_x, to_gamma * count, to_beta * count


def momentum_step(variable, velocity, gradient, rate, momentum, nesterov):
    """See `regnet_tf.ops.momentum_step`; for two `tf.Variable`s."""
    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=velocity.handle,
        lr=rate,
        grad=tf.convert_to_tensor(gradient),
        momentum=tf.constant(momentum, variable.dtype),
        use_nesterov=nesterov,
    )


def adam_step(variable, mean, square, gradient, rate, beta_1, beta_2, epsilon):
    """Takes a step of Adam without correction of bias, which `rate` and `epsilon` include."""
    zero = tf.zeros((), variable.dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=mean.handle,
        v=square.handle,
        beta1_power=zero,
        beta2_power=zero,
        lr=rate,
        beta1=tf.constant(beta_1, variable.dtype),
        beta2=tf.constant(beta_2, variable.dtype),
        epsilon=epsilon,
        grad=tf.convert_to_tensor(gradient),
    )
