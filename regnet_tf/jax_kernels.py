"""Convolution and batch normalization in the form that XLA compiles to the fastest code on a GPU.

`keras.ops` pads images by an operation of its own. The gradients that JAX derives of a batch's mean
and variance read the images more often than these do.
"""

import functools

import jax
from jax import numpy as jnp
from keras import ops

from regnet_tf._normalize import normalize

batch_norm_inference = normalize

_PIXELS = (0, 1, 2)  # all axes but the channels


def conv2d(x, kernel, stride, dilation):
    """See `regnet_tf.ops.conv2d`."""
    x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
    pad = dilation * (kernel.shape[0] // 2)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def batch_norm_training(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, activated):
    """See `regnet_tf.ops.batch_norm_training`; for 4 axes and at least two pixels."""
    moving_mean, moving_variance = map(ops.convert_to_tensor, (moving_mean, moving_variance))
    x, gamma, beta = map(ops.convert_to_tensor, (x, gamma, beta))
    y, mean, variance = _norm(x, gamma, beta, epsilon)
    pixels = x.size // x.shape[-1]
    pairs = (moving_mean, mean), (moving_variance, variance * (pixels / (pixels - 1)))
    return y, *(old + (1 - momentum) * (jax.lax.stop_gradient(new) - old) for old, new in pairs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _norm(x, gamma, beta, epsilon):
    """Returns the normalized batch, and its mean and variance, which have no gradients."""
    return _norm_and_saved(x, gamma, beta, epsilon)[0]


def _norm_and_saved(x, gamma, beta, epsilon):
    """Returns the outputs of `_norm`, and what `_norm_gradients` needs."""
    wide = x.astype(jnp.float32)
    mean = wide.mean(_PIXELS)
    variance = jnp.square(wide - mean).mean(_PIXELS)
    y = normalize(x, gamma, beta, mean, variance, epsilon)
    return (y, mean, variance), (x, gamma, mean, jax.lax.rsqrt(variance + epsilon))


def _norm_gradients(_, saved, upstream):
    """Returns the gradients of x, gamma and beta."""
    x, gamma, mean, inverse = saved
    dy = upstream[0].astype(jnp.float32)
    normalized = (x.astype(jnp.float32) - mean) * inverse
    to_gamma, to_beta = (dy * normalized).sum(_PIXELS), dy.sum(_PIXELS)
    pixels = x.size // x.shape[-1]
    to_x = gamma * inverse * (dy - (to_beta + normalized * to_gamma) / pixels)
    return to_x.astype(x.dtype), to_gamma, to_beta


_norm.defvjp(_norm_and_saved, _norm_gradients)
