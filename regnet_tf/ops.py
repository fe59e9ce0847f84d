"""Grouped convolution, batch normalization and resizing at the full speed of each backend.

The only file that looks at the backend. Keras 3 compiles every grouped convolution with XLA, which
on a CPU costs a factor of 20 in training, and normalizes training batches through a chain of small
operations. Here both go to TensorFlow's own kernels; on other backends to `keras.ops`.
"""

import functools
import math

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None


_FEW_CHANNELS = 16


def supports_jit() -> bool:
    """Whether Keras may compile these operations with XLA: everywhere but on TensorFlow's CPU."""
    return tf is None or bool(tf.config.list_physical_devices("GPU") + _tpus())


def _tpus():
    return tf.config.list_physical_devices("TPU")


def conv2d(x, kernel, stride=1, dilation=1):
    """Convolution with symmetric padding `dilation * (size // 2)`, grouped if the shapes say so.

    Args:
        x: `(batch, height, width, channels)`.
        kernel: `(size, size, channels / groups, filters)`, `size` odd.
        stride: of both axes.
        dilation: of both axes.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    if tf is None:
        return conv2d_keras(x, kernel, stride, dilation)
    x, kernel = tf.convert_to_tensor(x), tf.convert_to_tensor(kernel)
    grouped = x.shape[-1] != kernel.shape[-2]
    if (grouped or dilation > 1) and not _native_gradients(x.dtype, grouped, dilation > 1):
        return _conv2d_split(x, kernel, stride, dilation)
    return _conv2d_native(x, kernel, stride, dilation)


def conv2d_keras(x, kernel, stride=1, dilation=1):
    """The same as `conv2d` through `keras.ops`, on any backend; on TensorFlow grouped by XLA."""
    pad = dilation * (kernel.shape[0] // 2)
    x = ops.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return ops.conv(x, kernel, stride, "valid", "channels_last", dilation)


def _conv2d_native(x, kernel, stride, dilation):
    # TensorFlow's SAME puts the odd pixel last when it strides; PyTorch's padding is symmetric.
    # Padded here and not by conv2d, since oneDNN has no gradients for its explicit padding.
    pad = dilation * (kernel.shape[0] // 2)
    if stride > 1 and pad:
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    elif stride > 1 and x.shape[-1] < _FEW_CHANNELS:
        # oneDNN's gradient for such a kernel writes outside its memory if the batch is odd.
        x, stride = x[:, ::stride, ::stride], 1
    return tf.nn.conv2d(x, kernel, stride, "VALID" if stride > 1 else "SAME", dilations=dilation)


@functools.cache
def _native_gradients(dtype, grouped, dilated):
    """Whether this runtime has both gradients of such a convolution.

    With oneDNN TensorFlow's CPU kernels do; without it (other processors, other builds,
    TF_ENABLE_ONEDNN_OPTS=0, types that oneDNN lacks) they raise, and so does the fusion of a
    grouped convolution with what follows it. A tiny gradient tells.
    """
    if supports_jit():
        return True
    with tf.init_scope(), tf.device("CPU:0"):  # which pauses tapes: the kernels are called by name
        x = tf.zeros((1, 4, 4, 4), dtype)
        kernel = tf.zeros((3, 3, 2 if grouped else 4, 4), dtype)
        dilation = 2 if dilated else 1
        options = {
            "out_backprop": x,
            "strides": (1, 1, 1, 1),
            "padding": "SAME",
            "dilations": (1, dilation, dilation, 1),
        }
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **options)
        except tf.errors.OpError:
            return False
    return True


def _conv2d_split(x, kernel, stride, dilation):
    """The same convolution out of ungrouped, undilated ones, which every runtime has."""
    if dilation > 1:  # every `dilation`-th pixel becomes an image of its own
        size = tf.shape(x)[1:3]
        margin = [[0, -size[0] % dilation], [0, -size[1] % dilation]]
        block = [dilation, dilation]
        x = tf.space_to_batch(x, block, margin)
        y = tf.batch_to_space(_conv2d_split(x, kernel, 1, 1), block, margin)
        return y[:, ::stride, ::stride]
    groups = x.shape[-1] // kernel.shape[-2]
    pairs = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    return tf.concat([_conv2d_native(part, k, stride, 1) for part, k in pairs], -1)


def add_bias(x, bias, groups=1):
    """Adds bias `(channels,)` to the outputs x of a convolution with so many groups.

    In the form that TensorFlow's graph optimizer fuses: BiasAdd, which it also joins with the add
    and the activation after it. Where oneDNN is off its fused convolution refuses groups, and a
    plain sum stays apart there.
    """
    return x + bias if tf is None or groups > 1 else tf.nn.bias_add(x, bias)


def resize_nearest(x, size):
    """Resizes without interpolation, as PyTorch: pixel i is the old pixel `floor(i * old / new)`.

    Args:
        x: `(batch, height, width, channels)`.
        size: `(height, width)`: integers, or scalar tensors where the graph does not know them.
    """
    if _has_size(x, size):
        return x
    if tf is not None:
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)
    for axis, side in enumerate(size, start=1):
        x = ops.take(x, ops.arange(side) * ops.shape(x)[axis] // side, axis)
    return x


def resize_bilinear(x, size):
    """Resizes by linear interpolation between the centres of pixels, without antialiasing.

    Args:
        x: `(batch, height, width, channels)`.
        size: `(height, width)`, as `resize_nearest` takes it.
    """
    if _has_size(x, size):
        return x
    if tf is None:
        return ops.image.resize(x, size, "bilinear", data_format="channels_last")
    resized = tf.raw_ops.ResizeBilinear(images=x, size=size, half_pixel_centers=True)
    return tf.cast(resized, x.dtype)  # it is float32


def _has_size(x, size):
    return tuple(x.shape[1:3]) == tuple(size)


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon):
    """Normalizes x `(batch, height, width, channels)` with given statistics `(channels,)`."""
    if not _has_fused_norm(x):
        return _normalize(x, gamma, beta, mean, variance, epsilon)
    return _fused_norm(x, gamma, beta, mean, variance, epsilon, is_training=False).y


def batch_norm_training(x, gamma, beta, epsilon, synchronized=False):
    """Normalizes with the batch's own statistics, computed in float32.

    Args:
        x: `(batch, height, width, channels)`.
        gamma, beta: `(channels,)`.
        epsilon: added to the variance.
        synchronized: whether statistics are those of all replicas (TensorFlow only).

    Returns:
        `(y, mean, variance)`, the variance unbiased, as PyTorch keeps it for inference.
    """
    if _has_fused_norm(x) and not synchronized:
        merged = _pixels_to_merge(x)
        if merged > 1:
            return _batch_norm_training_merged(x, gamma, beta, epsilon, merged)
        return _fused_norm(x, gamma, beta, [], [], epsilon, is_training=True)[:3]
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    axes = tuple(range(len(x.shape) - 1))
    mean, variance = ops.moments(wide, axes, synchronized=synchronized)
    count = ops.cast(ops.prod(ops.shape(x)[:-1]), variance.dtype)
    if synchronized:
        replica = tf.distribute.get_replica_context()
        count = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
    y = _normalize(x, gamma, beta, mean, variance, epsilon)
    return y, mean, variance * count / ops.maximum(count - 1, 1)


def _fused_norm(x, gamma, beta, mean, variance, epsilon, is_training):
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=is_training,
    )


def _pixels_to_merge(x):
    """How many neighbouring pixels make the channels a multiple of 16; 1 where none do.

    On a CPU oneDNN normalizes other numbers of channels three to four times slower.
    """
    pixels = x.shape.num_elements() or x.shape[1:].num_elements()
    merged = 16 // math.gcd(x.shape[-1], 16)
    if supports_jit() or pixels is None or pixels // x.shape[-1] % merged:
        return 1
    return merged


def _batch_norm_training_merged(x, gamma, beta, epsilon, merged):
    """Neighbouring pixels taken for one: statistics of each, pooled, then normalization."""

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        channels = x.shape[-1]
        wide = tf.reshape(x, (1, 1, -1, merged * channels))
        ones, zeros = tf.ones(merged * channels), tf.zeros(merged * channels)
        _, means, variances, *_ = _fused_norm(wide, ones, zeros, [], [], epsilon, is_training=True)
        count = tf.cast(tf.shape(wide)[2], tf.float32)
        means = tf.reshape(means, (merged, channels))
        mean = tf.reduce_mean(means, 0)
        within = tf.reduce_mean(tf.reshape(variances, (merged, channels)), 0)
        between = tf.reduce_mean(tf.math.squared_difference(means, mean), 0)
        variance = within * tf.maximum(count - 1, 1) / count + between

        scale, shift, center, spread = (tf.tile(t, [merged]) for t in (gamma, beta, mean, variance))
        y = batch_norm_inference(wide, scale, shift, center, spread, epsilon)
        y = tf.reshape(y, tf.shape(x))
        total = count * merged

        def gradient(dy, *_):
            dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=dy,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros(0),
                epsilon=epsilon,
                is_training=True,
            )
            return dx, dgamma, dbeta

        return (y, mean, variance * total / tf.maximum(total - 1, 1)), gradient

    return normalize(x, tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta))


def rematerialize(layer, inputs):
    """The output of a layer in training, whose gradients compute what is within it again.

    The second time must neither move statistics on nor draw other branches to drop: the layer is
    called as a function of its variables, which get their new values once.
    """
    state = [ops.copy(variable) for variable in layer.non_trainable_variables]
    trainable = [ops.copy(variable) for variable in layer.trainable_variables]
    updates = []

    @keras.remat
    def call(inputs, *trainable):
        outputs, updated = layer.stateless_call(trainable, state, inputs, training=True)
        if tf is None:
            return outputs, updated
        updates.append(updated)  # TensorFlow wants gradients of all that is returned
        return outputs

    outputs = call(inputs, *trainable)
    updated = updates[0] if updates else []
    if tf is None:
        outputs, updated = outputs
    for variable, value in zip(layer.non_trainable_variables, updated, strict=True):
        variable.assign(value)
    return outputs


def _has_fused_norm(x):
    return tf is not None and len(x.shape) == 4 and x.dtype in ("float32", "bfloat16", "float16")


def _normalize(x, gamma, beta, mean, variance, epsilon):
    dtype = keras.backend.result_type(x.dtype, "float32")
    scale = ops.cast(gamma, dtype) * ops.rsqrt(ops.cast(variance, dtype) + epsilon)
    y = (ops.cast(x, dtype) - ops.cast(mean, dtype)) * scale + ops.cast(beta, dtype)
    return ops.cast(y, x.dtype)
