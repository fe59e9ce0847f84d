"""Convolution and batch normalization by PyTorch's own kernels.

`keras.ops` pads images by a copy, and normalizes a training batch by a dozen small operations.
PyTorch has one kernel for each. They take NCHW tensors in the memory order of NHWC
(`torch.channels_last`), so no image is transposed.
"""

import torch
from keras import ops


def conv2d(x, kernel, stride, dilation):
    """See `regnet_tf.ops.conv2d`."""
    x, kernel = _channels_first(ops.convert_to_tensor(x)), ops.convert_to_tensor(kernel)
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    pad = dilation * (kernel.shape[-1] // 2)
    groups = x.shape[1] // kernel.shape[1]
    y = torch.nn.functional.conv2d(x, kernel, None, stride, pad, dilation, groups)
    return _channels_last(y)


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon):
    """See `regnet_tf.ops.batch_norm_inference`; for 4 axes."""
    return _batch_norm(x, gamma, beta, mean, variance, False, 0.0, epsilon)


def batch_norm_training(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, activated):
    """See `regnet_tf.ops.batch_norm_training`; for 4 axes and at least two pixels."""
    mean, variance = (ops.convert_to_tensor(one).clone() for one in (moving_mean, moving_variance))
    share = 1 - momentum
    y = _batch_norm(x, gamma, beta, mean, variance, True, share, epsilon)  # updates both
    return y, mean, variance


def _batch_norm(x, gamma, beta, mean, variance, training, share, epsilon):
    vectors = (ops.convert_to_tensor(one) for one in (gamma, beta, mean, variance))
    x = _channels_first(ops.convert_to_tensor(x))
    y = torch.batch_norm(x, *vectors, training, share, epsilon, torch.backends.cudnn.enabled)
    return _channels_last(y)


def _channels_first(x):
    return x.permute(0, 3, 1, 2)


def _channels_last(x):
    return x.permute(0, 2, 3, 1)
