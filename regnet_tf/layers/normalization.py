"""Normalization layers."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import check
from regnet_tf._composite import Composite
from regnet_tf.options import NORM_GROUP_WIDTH

_register = keras.saving.register_keras_serializable(package="regnet_tf")

EPSILON = 1e-5
MOMENTUM = 0.9  # PyTorch's 0.1


@_register
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization of the last axis by the fastest kernel of the backend.

    It has the arguments, the variables and the freezing of `keras.layers.BatchNormalization`. The
    default epsilon and momentum are the authors'. Batch statistics are computed in float32 under
    every dtype policy. The moving variance is updated with the unbiased batch variance, as in
    PyTorch.

    Input and output shape: `(batch, height, width, channels)`.

    Examples:
        >>> norm = regnet_tf.BatchNorm()
        >>> images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
        >>> outputs = np.array(norm(images, training=True))
        >>> bool(abs(outputs.mean()) < 1e-6), float(outputs.std().round(2))
        (True, 1.0)
    """

    def __init__(self, momentum=MOMENTUM, epsilon=EPSILON, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        check("axis", self.axis, self.axis == -1, "-1")
        renorm = kwargs.get("renorm", False)  # Keras has it since 3.13
        check("renorm", renorm, not renorm, "False")
        self.supports_jit = regnet_ops.supports_jit()
        self.activated = False  # whether an activation takes the outputs, and nothing else does

    def build(self, input_shape):
        super().build(input_shape)
        # Constants replace gamma with `scale=False` and beta with `center=False`.
        self._ones = None if self.scale else ops.ones((input_shape[-1],))
        self._zeros = None if self.center else ops.zeros((input_shape[-1],))

    def call(self, inputs, training=None):
        gamma = self.gamma if self.scale else self._ones
        beta = self.beta if self.center else self._zeros
        if not (training and self.trainable):
            return regnet_ops.batch_norm_inference(
                inputs, gamma, beta, self.moving_mean, self.moving_variance, self.epsilon
            )
        outputs, mean, variance = regnet_ops.batch_norm_training(
            inputs,
            gamma,
            beta,
            self.moving_mean,
            self.moving_variance,
            self.momentum,
            self.epsilon,
            self.synchronized,
            self.activated,
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance)
        return outputs

    def folded(self, kernel):
        """Folds the normalization by moving statistics into the convolution before it.

        Args:
            kernel: kernel of the convolution, `(size, size, channels / groups, filters)`, float32.

        Returns:
            The new kernel and bias: tensors `(size, size, channels / groups, filters)` and
            `(filters,)`.
        """
        scale = ops.rsqrt(self.moving_variance + self.epsilon)
        if self.scale:
            scale = scale * self.gamma
        shift = -self.moving_mean * scale
        if self.center:
            shift = shift + self.beta
        return kernel * scale, shift


@_register
class EvoNorm(keras.layers.Layer):
    """EvoNorm-S0, as timm's `EvoNorm2dS0a`: group normalization that includes an activation.

    It computes `x * sigmoid(v * x) / std(x) * gamma + beta`. The standard deviation is that of a
    group of 16 channels in one image. Without the activation, `x / std(x) * gamma + beta`.

    Source: "Evolving Normalization-Activation Layers" (Liu et al. 2020).

    Args:
        activated: whether the activation is included.
        epsilon: added to the variance.

    Input and output shape: `(batch, height, width, channels)`.

    Examples:
        >>> regnet_tf.EvoNorm()(np.ones((1, 8, 8, 32), "float32")).shape
        TensorShape([1, 8, 8, 32])
    """

    def __init__(self, activated=True, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.activated = activated
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        groups, rest = divmod(channels, NORM_GROUP_WIDTH)
        check("input_shape", input_shape, rest == 0, f"of groups of {NORM_GROUP_WIDTH} channels")
        self.groups = groups
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")
        if self.activated:
            self.v = self.add_weight(name="v", shape=(channels,), initializer="ones")

    def call(self, inputs):
        wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        size = ops.shape(wide)
        grouped = ops.reshape(wide, (*size[:3], self.groups, NORM_GROUP_WIDTH))
        variance = ops.var(grouped, axis=(1, 2, 4), keepdims=True)  # N 1 1 groups 1
        scale = ops.rsqrt(variance + self.epsilon)
        if self.activated:
            gate = ops.sigmoid(wide * ops.cast(self.v, wide.dtype))
            grouped = grouped * ops.reshape(gate, ops.shape(grouped))
        normal = ops.reshape(grouped * scale, size)
        outputs = normal * ops.cast(self.gamma, wide.dtype) + ops.cast(self.beta, wide.dtype)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "activated": self.activated, "epsilon": self.epsilon}


def add_normalization(
    owner: Composite,
    name: str,
    kind: str,
    filters: int,
    activation: str | None,
    synchronized: bool,
) -> tuple[Any, Callable]:
    """Makes a normalization layer, and the activation after it.

    Args:
        owner: the layer that gets it.
        name: its name.
        kind: one of `regnet_tf.options.NORMALIZATIONS`.
        filters: number of channels.
        activation: name of the activation, or None.
        synchronized: whether batch normalization computes its statistics over all replicas.

    Returns:
        The layer and a function.
    """
    activate = keras.activations.get(activation)
    if kind == "evonorm":
        norm = owner.sublayer(EvoNorm, name=name, activated=activation is not None)
        return norm, keras.activations.linear
    if kind == "batch":
        norm = owner.sublayer(BatchNorm, name=name, synchronized=synchronized)
        norm.activated = activation is not None
        return norm, activate
    width = NORM_GROUP_WIDTH
    check("filters", filters, filters % width == 0, f"a multiple of {width} where groups norm")
    norm = owner.sublayer(
        keras.layers.GroupNormalization, name=name, groups=filters // width, epsilon=EPSILON
    )
    return norm, activate
