"""Grouped convolution, batch normalization and resizing at the full speed of each backend.

The only file that looks at the backend. Keras 3 compiles every grouped convolution with XLA, which
on a CPU costs a factor of 20 in training, and normalizes training batches through a chain of small
operations. Here both go to TensorFlow's own kernels; on other backends to `keras.ops`.
"""

import importlib
from typing import Any

import keras
from keras import ops

# TensorFlow and its kernels, where it is the backend.
tf: Any = None
kernels: Any = None
if keras.backend.backend() == "tensorflow":
    tf = importlib.import_module("tensorflow")
    kernels = importlib.import_module("regnet_tf.kernels")


def supports_jit() -> bool:
    """Whether Keras may compile these operations with XLA: everywhere but on TensorFlow's CPU."""
    return tf is None or kernels.has_accelerator()


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
    if kernels is None:
        return conv2d_keras(x, kernel, stride, dilation)
    return kernels.conv2d(x, kernel, stride, dilation)


def conv2d_keras(x, kernel, stride=1, dilation=1):
    """The same as `conv2d` through `keras.ops`, on any backend; on TensorFlow grouped by XLA."""
    pad = dilation * (kernel.shape[0] // 2)
    x = ops.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return ops.conv(x, kernel, stride, "valid", "channels_last", dilation)


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
    if not _has_kernel(x):
        return _normalize(x, gamma, beta, mean, variance, epsilon)
    return kernels.batch_norm_inference(x, gamma, beta, mean, variance, epsilon)


def batch_norm_training(
    x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, synchronized=False
):
    """Normalizes with the batch's own statistics, computed in float32, and moves others on.

    Args:
        x: `(batch, height, width, channels)`.
        gamma, beta: `(channels,)`.
        moving_mean, moving_variance: `(channels,)`, of the batches before.
        momentum: what stays of them.
        epsilon: added to the variance.
        synchronized: whether statistics are those of all replicas (TensorFlow only).

    Returns:
        `(y, moving_mean, moving_variance)`. The variance takes the batch's unbiased one, as
        PyTorch keeps it for inference.
    """
    if _has_kernel(x) and not synchronized:
        return kernels.batch_norm_training(
            x, gamma, beta, moving_mean, moving_variance, momentum, epsilon
        )
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    axes = tuple(range(len(x.shape) - 1))
    mean, variance = ops.moments(wide, axes, synchronized=synchronized)
    count = ops.cast(ops.prod(ops.shape(x)[:-1]), variance.dtype)
    if synchronized:
        replica = tf.distribute.get_replica_context()
        count = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
    y = _normalize(x, gamma, beta, mean, variance, epsilon)
    unbiased = variance * count / ops.maximum(count - 1, 1)
    pairs = ((moving_mean, mean), (moving_variance, unbiased))
    moved = (old * momentum + ops.cast(new, old.dtype) * (1 - momentum) for old, new in pairs)
    return y, *moved


def replicas() -> int:
    """How many replicas train together."""
    return 1 if tf is None else tf.distribute.get_strategy().num_replicas_in_sync


def momentum_step(variable, velocity, gradient, rate, momentum, nesterov):
    """A step of SGD with momentum, in place, as `torch.optim.SGD` takes it.

    Args:
        variable: what learns.
        velocity: a Keras variable of its shape.
        gradient: a tensor of its shape.
        rate: the learning rate, a scalar tensor of its type.
        momentum: a float.
        nesterov: whether momentum looks ahead.
    """
    if kernels is not None:
        kernels.momentum_step(variable, velocity.value, gradient, rate, momentum, nesterov)
        return
    velocity.assign(momentum * velocity + gradient)
    step = gradient + momentum * velocity if nesterov else velocity
    variable.assign(variable - rate * step)


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


def _has_kernel(x):
    return tf is not None and len(x.shape) == 4 and x.dtype in ("float32", "bfloat16", "float16")


def _normalize(x, gamma, beta, mean, variance, epsilon):
    dtype = keras.backend.result_type(x.dtype, "float32")
    scale = ops.cast(gamma, dtype) * ops.rsqrt(ops.cast(variance, dtype) + epsilon)
    y = (ops.cast(x, dtype) - ops.cast(mean, dtype)) * scale + ops.cast(beta, dtype)
    return ops.cast(y, x.dtype)
