"""Grouped convolution, batch normalization and resizing at the full speed of each backend.

This file selects the kernels for the backend. On TensorFlow, Keras 3 compiles every grouped
convolution with XLA, which makes training on a CPU 20 times slower. It normalizes training batches
by a chain of small operations. For both, there is a file with better ones for each backend. Where
it has none, this file uses `keras.ops`.
"""

import importlib
import math
from typing import Any

import keras
from keras import ops

from regnet_tf._normalize import normalize

_KERNELS = {"tensorflow": "kernels", "jax": "jax_kernels", "torch": "torch_kernels"}
_BACKEND = keras.backend.backend()

# TensorFlow; None on other backends.
tf: Any = importlib.import_module("tensorflow") if _BACKEND == "tensorflow" else None
# The kernels of the backend; None if there are none.
kernels: Any = None
if _BACKEND in _KERNELS:
    kernels = importlib.import_module(f"regnet_tf.{_KERNELS[_BACKEND]}")


def supports_jit() -> bool:
    """Whether Keras may compile these operations with XLA: always but for TensorFlow on a CPU."""
    return tf is None or kernels.has_accelerator()


def conv2d(x, kernel, stride=1, dilation=1):
    """Convolution with symmetric padding of `dilation * (size // 2)` pixels.

    The shapes of x and the kernel give the number of groups.

    Args:
        x: `(batch, height, width, channels)`.
        kernel: `(size, size, channels / groups, filters)`, `size` odd.
        stride: stride along both axes.
        dilation: dilation along both axes.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    if kernels is None:
        return conv2d_keras(x, kernel, stride, dilation)
    return kernels.conv2d(x, kernel, stride, dilation)


def conv2d_keras(x, kernel, stride=1, dilation=1):
    """`conv2d` by `keras.ops`, on any backend.

    On TensorFlow, XLA compiles grouped convolutions.
    """
    pad = dilation * (kernel.shape[0] // 2)
    x = ops.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return ops.conv(x, kernel, stride, "valid", "channels_last", dilation)


def add_bias(x, bias, groups=1):
    """Adds a bias `(channels,)` to the output x of a convolution with `groups` groups.

    On TensorFlow this is BiasAdd. The graph optimizer fuses it with the convolution, and with the
    addition and the activation after it. With groups it is a plain sum, which is not fused: without
    oneDNN, the fused convolution does not support groups.
    """
    return x + bias if tf is None or groups > 1 else tf.nn.bias_add(x, bias)


def resize_nearest(x, size):
    """Resizes by nearest-neighbour interpolation, as PyTorch does.

    Pixel i of the output is pixel `floor(i * old / new)` of the input.

    Args:
        x: `(batch, height, width, channels)`.
        size: `(height, width)`: integers, or scalar tensors if the graph does not know the size.
    """
    if _has_size(x, size):
        return x
    if tf is not None:
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)
    for axis, side in enumerate(size, start=1):
        x = ops.take(x, ops.arange(side) * ops.shape(x)[axis] // side, axis)
    return x


def resize_bilinear(x, size):
    """Resizes by bilinear interpolation between pixel centres, without antialiasing.

    Args:
        x: `(batch, height, width, channels)`.
        size: `(height, width)`, as in `resize_nearest`.
    """
    if _has_size(x, size):
        return x
    if tf is None:
        return ops.image.resize(x, size, "bilinear", data_format="channels_last")
    resized = tf.raw_ops.ResizeBilinear(images=x, size=size, half_pixel_centers=True)
    return tf.cast(resized, x.dtype)  # `resized` is float32


def _has_size(x, size):
    return tuple(x.shape[1:3]) == tuple(size)


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon):
    """Normalizes x `(batch, height, width, channels)` with the given statistics `(channels,)`."""
    if not _has_kernel(x):
        return normalize(x, gamma, beta, mean, variance, epsilon)
    return kernels.batch_norm_inference(x, gamma, beta, mean, variance, epsilon)


def batch_norm_training(
    x,
    gamma,
    beta,
    moving_mean,
    moving_variance,
    momentum,
    epsilon,
    synchronized=False,
    activated=False,
):
    """Normalizes with float32 batch statistics, and updates the moving statistics.

    Args:
        x: `(batch, height, width, channels)`.
        gamma, beta: `(channels,)`.
        moving_mean, moving_variance: `(channels,)`, moving statistics of the previous batches.
        momentum: weight of the previous moving statistics.
        epsilon: constant added to the variance.
        synchronized: whether to compute the statistics over all replicas (TensorFlow only).
        activated: whether an activation takes y, and nothing else does. It can be fused then.

    Returns:
        `(y, moving_mean, moving_variance)`. The moving variance is updated with the unbiased batch
        variance, as in PyTorch. An empty batch leaves the moving statistics as they are.
    """
    if _has_training_kernel(x) and not synchronized:
        return kernels.batch_norm_training(
            x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, activated
        )
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    axes = tuple(range(len(x.shape) - 1))
    mean, variance = ops.moments(wide, axes, synchronized=synchronized)
    count = ops.cast(ops.prod(ops.shape(x)[:-1]), variance.dtype)
    if synchronized:
        replica = tf.distribute.get_replica_context()
        count = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
    mean, variance = (ops.where(count > 0, one, 0) for one in (mean, variance))
    y = normalize(x, gamma, beta, mean, variance, epsilon)
    unbiased = variance * count / ops.maximum(count - 1, 1)
    share = ops.cast(count > 0, variance.dtype) * (1 - momentum)
    pairs = ((moving_mean, mean), (moving_variance, unbiased))
    moved = (old + ops.cast(share * (new - old), old.dtype) for old, new in pairs)
    return y, *moved


def replicas() -> int:
    """Returns the number of replicas that train together."""
    return 1 if tf is None else tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(tensors):
    """Returns the sum of each tensor over all replicas. Call this on every replica."""
    if replicas() == 1:
        return tensors
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def momentum_step(variable, velocity, gradient, rate, momentum, nesterov):
    """Takes a step of SGD with momentum in place, as `torch.optim.SGD` does.

    Args:
        variable: the variable to update.
        velocity: a Keras variable of the same shape.
        gradient: a tensor of the same shape.
        rate: the learning rate, a scalar tensor of the same dtype.
        momentum: a float.
        nesterov: whether to use Nesterov momentum.
    """
    if tf is not None:
        kernels.momentum_step(variable, velocity.value, gradient, rate, momentum, nesterov)
        return
    velocity.assign(momentum * velocity + gradient)
    step = gradient + momentum * velocity if nesterov else velocity
    variable.assign(variable - rate * step)


def adam_step(variable, mean, square, gradient, rate, step, beta_1, beta_2, epsilon):
    """Takes a step of Adam in place, as `torch.optim.Adam` does.

    Args:
        variable: the variable to update.
        mean, square: Keras variables of the same shape, the mean gradient and the mean squared
            gradient.
        gradient: a tensor of the same shape.
        rate: the learning rate, a scalar tensor of the same dtype.
        step: number of this step, from 1, a scalar tensor of the same dtype.
        beta_1, beta_2: decays of `mean` and `square`, floats.
        epsilon: constant added to the root of the unbiased mean squared gradient.
    """
    # 1 - beta**step, without the rounding error of a difference of nearly equal numbers.
    logarithms = (math.log(beta) if beta else -math.inf for beta in (beta_1, beta_2))
    bias_1, bias_2 = (-ops.expm1(step * logarithm) for logarithm in logarithms)
    root = ops.sqrt(bias_2)
    rate, epsilon = rate * root / bias_1, epsilon * root
    if tf is not None:
        moments = mean.value, square.value
        kernels.adam_step(variable, *moments, gradient, rate, beta_1, beta_2, epsilon)
        return
    mean.assign(beta_1 * mean + (1 - beta_1) * gradient)
    square.assign(beta_2 * square + (1 - beta_2) * ops.square(gradient))
    variable.assign(variable - rate * mean / (ops.sqrt(square) + epsilon))


def rematerialize(layer, inputs):
    """Calls a layer in training and recomputes its inner values for the gradients.

    The recomputation must not update moving statistics again or draw new branches to drop. The
    layer is therefore called as a function of its variables, which get their new values once.
    """
    state = [ops.copy(variable) for variable in layer.non_trainable_variables]
    trainable = [ops.copy(variable) for variable in layer.trainable_variables]
    updates = []

    @keras.remat
    def call(inputs, *trainable):
        outputs, updated = layer.stateless_call(trainable, state, inputs, training=True)
        if tf is None:
            return outputs, updated
        updates.append(updated)  # TensorFlow expects gradients of all outputs
        return outputs

    outputs = call(inputs, *trainable)
    updated = updates[0] if updates else []
    if tf is None:
        outputs, updated = outputs
    for variable, value in zip(layer.non_trainable_variables, updated, strict=True):
        variable.assign(value)
    return outputs


def _has_kernel(x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    short = dtype in ("float32", "bfloat16", "float16")
    return kernels is not None and len(x.shape) == 4 and short


def _has_training_kernel(x):
    """Whether the backend has a kernel; other than TensorFlow's, it needs two pixels."""
    return _has_kernel(x) and (tf is not None or math.prod(x.shape[:-1]) > 1)
