"""Convolutions, with and without normalization."""

from typing import Any

import keras
from keras import ops

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import MAX_SIDE, MAX_WIDTH, check, check_choice, check_int, is_int
from regnet_tf._composite import Composite
from regnet_tf.layers.normalization import add_normalization
from regnet_tf.options import ACTIVATIONS, NORMALIZATIONS

_register = keras.saving.register_keras_serializable(package="regnet_tf")


def fan_out_initializer(size, filters):
    """Returns the authors' initializer of convolutions: N(0, sqrt(2 / (size * size * filters)))."""
    return keras.initializers.RandomNormal(stddev=(2 / (size * size * filters)) ** 0.5)


@_register
class Conv(Composite):
    """Convolution without bias.

    The padding is symmetric, `kernel_size // 2` on each side, as in PyTorch. Keras' "same" padding
    differs at stride 2. The kernel is initialized from N(0, sqrt(2 / (kernel_size**2 * filters))).

    Args:
        filters: number of output channels.
        kernel_size: side of the kernel, odd.
        stride: stride along both axes.
        groups: number of groups; must divide the input channels and `filters`.
        dilation: dilation along both axes.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Examples:
        >>> conv = regnet_tf.Conv(32, kernel_size=3, stride=2, groups=4)
        >>> conv(np.ones((1, 9, 9, 16), "float32")).shape, tuple(conv.kernel.shape)
        (TensorShape([1, 5, 5, 32]), (3, 3, 4, 32))
    """

    def __init__(self, filters, kernel_size=1, stride=1, groups=1, dilation=1, **kwargs):
        super().__init__(**kwargs)
        check_int("filters", filters, minimum=1, maximum=MAX_WIDTH)
        odd = is_int(kernel_size) and 0 < kernel_size < MAX_SIDE and kernel_size % 2 == 1
        check("kernel_size", kernel_size, odd, "a positive odd integer")
        check_int("stride", stride, minimum=1)
        check_int("dilation", dilation, minimum=1)
        check_int("groups", groups, minimum=1)
        check("groups", groups, filters % groups == 0, f"a divisor of filters={filters}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.groups = groups
        self.dilation = dilation
        self.supports_jit = regnet_ops.supports_jit()

    def build(self, input_shape):
        channels = input_shape[-1]
        divides = channels % self.groups == 0
        check("groups", self.groups, divides, f"a divisor of the {channels} input channels")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels // self.groups, self.filters),
            initializer=fan_out_initializer(self.kernel_size, self.filters),
            autocast=False,  # `ConvNorm` folds normalization into it before it is rounded
        )

    def call(self, inputs, training=None):
        return self._convolve(inputs, self.kernel)  # N H W F

    def _convolve(self, inputs, kernel):
        kernel = ops.cast(kernel, self.compute_dtype)
        return regnet_ops.conv2d(inputs, kernel, self.stride, self.dilation)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        return (batch, *(strided(n, self.stride) for n in size), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "groups": self.groups,
            "dilation": self.dilation,
        }


@_register
class ConvNorm(Conv):
    """Convolution, then normalization (or a bias), then an optional activation.

    Args:
        filters: number of output channels.
        kernel_size: side of the kernel, odd.
        stride: stride along both axes.
        groups: number of groups; must divide the input channels and `filters`.
        dilation: dilation along both axes.
        activation: one of `regnet_tf.options.ACTIVATIONS`, or None.
        normalization: "batch", "group" (groups of 16 channels), "evonorm" (see `EvoNorm`, which
            replaces the activation), or None for a bias instead. Networks made by `fuse` have None.
        synchronized: whether batch normalization computes its statistics over all replicas.

    Input and output shape: those of `Conv`.

    Examples:
        >>> layer = regnet_tf.ConvNorm(32, kernel_size=3, activation="relu")
        >>> layer(np.ones((1, 8, 8, 16), "float32")).shape
        TensorShape([1, 8, 8, 32])
        >>> [variable.path.partition("/")[2] for variable in layer.trainable_variables]
        ['kernel', 'norm/gamma', 'norm/beta']
    """

    def __init__(
        self,
        filters,
        kernel_size=1,
        stride=1,
        groups=1,
        dilation=1,
        activation=None,
        normalization="batch",
        synchronized=False,
        **kwargs,
    ):
        super().__init__(filters, kernel_size, stride, groups, dilation, **kwargs)
        check_choice("activation", activation, (None, *ACTIVATIONS))
        check_choice("normalization", normalization, (None, *NORMALIZATIONS))
        self.activation = activation
        self.normalization = normalization
        self.synchronized = synchronized
        self.norm: Any = None
        self._activate = keras.activations.get(activation)
        if normalization is not None:
            self.norm, self._activate = add_normalization(
                self, "norm", normalization, self.filters, activation, synchronized
            )

    def build(self, input_shape):
        super().build(input_shape)
        if self.norm is None:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        else:
            self.norm.build(self.compute_output_shape(input_shape))

    def call(self, inputs, training=None):
        kernel, bias = self.kernel, None
        if self.norm is None:
            bias = self.bias
        elif self._folds(training):
            kernel, bias = self.norm.folded(kernel)
        x = self._convolve(inputs, kernel)  # N H W F
        if bias is None:
            return self._activate(self.norm(x, training=training))
        bias = ops.cast(bias, self.compute_dtype)
        return self._activate(regnet_ops.add_bias(x, bias, self.groups))

    def _folds(self, training):
        """Whether the kernel includes the normalization: if it uses its moving statistics."""
        return self.normalization == "batch" and not (training and self.norm.trainable)

    def get_config(self):
        return {
            **super().get_config(),
            "activation": self.activation,
            "normalization": self.normalization,
            "synchronized": self.synchronized,
        }


@_register
class FinalConv(ConvNorm):
    """The 1x1 convolution of a RegNetZ between its last stage and pooling.

    Examples:
        >>> regnet_tf.FinalConv(1280, activation="silu")(np.ones((1, 7, 7, 64), "float32")).shape
        TensorShape([1, 7, 7, 1280])
    """


def add_conv(
    owner: Any, *, bare: bool = False, activation: str | None = None, **shape: Any
) -> Conv:
    """Makes a convolution inside a layer that has `normalization` and `synchronized`.

    Args:
        owner: the `Composite` that gets it.
        bare: whether nothing follows the convolution: a `Conv` instead of a `ConvNorm`.
        activation: activation after the normalization.
        **shape: name and shape of the convolution.
    """
    if bare:
        return owner.sublayer(Conv, **shape)
    return owner.sublayer(
        ConvNorm,
        activation=activation,
        normalization=owner.normalization,
        synchronized=owner.synchronized,
        **shape,
    )


def strided(size, stride):
    """Returns the output size of a convolution with symmetric padding; None stays None."""
    return None if size is None else -(-size // stride)
