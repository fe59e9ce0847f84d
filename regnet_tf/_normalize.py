"""Normalization by given statistics, on every backend."""

import keras
from keras import ops


def normalize(x, gamma, beta, mean, variance, epsilon):
    """Returns x normalized over its last axis, computed in float32 or wider.

    Args:
        x: `(..., channels)`.
        gamma, beta, mean, variance: `(channels,)`.
        epsilon: constant added to the variance.
    """
    dtype = keras.backend.result_type(x.dtype, "float32")
    scale = ops.cast(gamma, dtype) * ops.rsqrt(ops.cast(variance, dtype) + epsilon)
    y = (ops.cast(x, dtype) - ops.cast(mean, dtype)) * scale + ops.cast(beta, dtype)
    return ops.cast(y, x.dtype)
