"""Blocks of a RegNet.

Shape comments: N images, H rows, W columns, C input channels, D inner channels, F output channels.
"""

import keras
from keras import ops

from regnet_tf._checks import MAX_WIDTH, check_choice, check_int, check_number, check_stride
from regnet_tf._composite import Composite
from regnet_tf.costs import squeeze_width
from regnet_tf.layers.convolution import add_conv, fan_out_initializer, strided
from regnet_tf.layers.normalization import add_normalization
from regnet_tf.options import ACTIVATIONS, NORMALIZATIONS, check_block_options
from regnet_tf.widths import StageConfig, inner_width

_register = keras.saving.register_keras_serializable(package="regnet_tf")


@_register
class SqueezeExcite(Composite):
    """Scales each channel by a gate computed from the channel means (paper section 5, RegNetY).

    Args:
        squeeze_width: channels between the two fully connected layers. The authors take a quarter
            of the *block's input* width, not of this layer's input width.
        activation: activation between the two fully connected layers.

    Input and output shape: `(batch, height, width, channels)`.

    Examples:
        >>> layer = regnet_tf.SqueezeExcite(squeeze_width=8)
        >>> layer(np.ones((1, 16, 16, 32), "float32")).shape
        TensorShape([1, 16, 16, 32])
    """

    def __init__(self, squeeze_width, activation="relu", **kwargs):
        super().__init__(**kwargs)
        check_int("squeeze_width", squeeze_width, minimum=1, maximum=MAX_WIDTH)
        check_choice("activation", activation, (None, *ACTIVATIONS))
        self.squeeze_width = squeeze_width
        self.activation = activation

    def build(self, input_shape):
        channels = input_shape[-1]
        self.reduce = self._dense("reduce", self.squeeze_width, self.activation)
        self.expand = self._dense("expand", channels, "sigmoid")
        self.reduce.build((input_shape[0], channels))
        self.expand.build((input_shape[0], self.squeeze_width))

    def _dense(self, name, units, activation):
        return self.sublayer(
            keras.layers.Dense,
            name=name,
            units=units,
            activation=activation,
            kernel_initializer=fan_out_initializer(1, units),
        )

    def call(self, inputs):
        means = ops.mean(inputs, axis=(1, 2))  # N C
        gate = self.expand(self.reduce(means))  # N C
        return inputs * ops.reshape(gate, (-1, 1, 1, gate.shape[-1]))  # N H W C

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "squeeze_width": self.squeeze_width,
            "activation": self.activation,
        }


@_register
class DropPath(keras.layers.Layer):
    """Stochastic depth: randomly drops a residual branch for whole images in training.

    The kept branches are scaled by `1 / (1 - rate)`.

    Args:
        rate: probability of dropping the branch, at least 0 and below 1.
        seed: seed of the layer's random state.

    Input and output shape: `(batch, ...)`.

    Examples:
        >>> drop = regnet_tf.DropPath(0.5, seed=0)
        >>> np.array(drop(np.ones((6, 1)), training=True)).ravel().tolist()
        [0.0, 2.0, 2.0, 2.0, 0.0, 2.0]
        >>> np.array(drop(np.ones((6, 1)))).ravel().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        check_number("rate", rate, minimum=0, below=1)
        self.rate = rate
        self.seed = seed

    def build(self, input_shape):
        self.seed_generator = keras.random.SeedGenerator(self.seed, name="seed_generator")

    def call(self, inputs, training=None):
        if not training or self.rate == 0:
            return inputs
        shape = (ops.shape(inputs)[0], *(1,) * (len(inputs.shape) - 1))
        uniform = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        keep = ops.cast(uniform >= self.rate, inputs.dtype)
        return inputs * keep / (1 - self.rate)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@_register
class AveragePooling(keras.layers.Layer):
    """Averages 2x2 windows, as in the shortcuts of timm's networks.

    At stride 2, the last window of an odd side has the pixels that exist. At stride 1, where
    dilation replaces the stride, zeros follow the last row and column.

    Args:
        stride: stride along both axes, 1 or 2.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), channels)`.
    """

    def __init__(self, stride=2, **kwargs):
        super().__init__(**kwargs)
        check_stride("stride", stride)
        self.stride = stride

    def call(self, inputs):
        padding = "same"
        if self.stride == 1:
            inputs, padding = ops.pad(inputs, ((0, 0), (0, 1), (0, 1), (0, 0))), "valid"
        return ops.average_pool(inputs, 2, self.stride, padding, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        batch, *size, channels = input_shape
        return (batch, *(strided(n, self.stride) for n in size), channels)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@_register
class XBlock(Composite):
    """Residual bottleneck block of RegNetX (paper figure 4), with the options of its successors.

    The block computes `x + f(x)`. f is a 1x1, a grouped 3x3 and a 1x1 convolution. The shortcut has
    a 1x1 convolution if the stride or the width changes.

    Args:
        width: number of output channels.
        group_width: channels per group of the 3x3 convolution.
        stride: stride of the 3x3 convolution and the shortcut.
        bottleneck_ratio: inner width / width.
        dilation: dilation of the 3x3 convolution.
        drop_path_rate: probability of dropping f(x) for an image in training. A block without
            shortcut has no x, and drops nothing.
        synchronized: see `ConvNorm`.
        replace_stride_with_dilation: whether the block keeps the resolution of its input. Dilation
            of the later blocks replaces the stride. The variables stay the same.
        activation: see `ConvNorm`.
        normalization: see `ConvNorm`.
        shortcut: see `RegNetConfig`, also for the arguments below.
        linear_output: whether no activation follows the sum.
        bottleneck_in: whether the inner width is a multiple of the input's width.
        preactivation: whether the block is `g(x) + f(g(x))`: g normalizes and activates, f has
            normalization and activation between its convolutions, and nothing follows the sum.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), width)`, with stride 1 if
        `replace_stride_with_dilation`.

    Examples:
        >>> block = regnet_tf.XBlock(48, group_width=8, stride=2)
        >>> block(np.ones((1, 32, 32, 32), "float32")).shape
        TensorShape([1, 16, 16, 48])
    """

    def __init__(
        self,
        width,
        group_width,
        stride=1,
        bottleneck_ratio=1.0,
        dilation=1,
        drop_path_rate=0.0,
        synchronized=False,
        replace_stride_with_dilation=False,
        activation="relu",
        normalization="batch",
        shortcut="conv",
        linear_output=False,
        bottleneck_in=False,
        preactivation=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.shape = StageConfig(width, 1, group_width, stride, bottleneck_ratio)
        check_int("dilation", dilation, minimum=1)
        check_number("drop_path_rate", drop_path_rate, minimum=0, below=1)
        check_block_options(
            activation=activation,
            normalization=normalization,
            shortcut=shortcut,
            linear_output=linear_output,
            bottleneck_in=bottleneck_in,
            preactivation=preactivation,
            normalizations=(None, *NORMALIZATIONS),
        )
        self.dilation = dilation
        self.replace_stride_with_dilation = replace_stride_with_dilation
        # The stride in use; `shape` has the nominal one.
        self.stride = 1 if replace_stride_with_dilation else stride
        self.drop_path_rate = drop_path_rate
        self.synchronized = synchronized
        self.activation = activation
        self.normalization = normalization
        self.shortcut_type = shortcut
        self.linear_output = linear_output
        self.bottleneck_in = bottleneck_in
        self.preactivation = preactivation
        linear = linear_output or preactivation
        self._activate_sum = keras.activations.get("linear" if linear else activation)

    def build(self, input_shape):
        channels, width = input_shape[-1], self.shape.width
        inner = inner_width(channels if self.bottleneck_in else width, self.shape.bottleneck_ratio)
        conv_2 = {
            "kernel_size": 3,
            "stride": self.stride,
            "groups": inner // self.shape.group_width,
            "dilation": self.dilation,
        }
        bare, activation = self.preactivation, self.activation
        if bare:
            self.norm_1, self._activate_1 = self._norm("norm_1", channels)
            self.norm_3, self._activate_3 = self._norm("norm_3", inner)
        self.conv_1 = add_conv(self, name="conv_1", filters=inner, activation=activation)
        self.conv_2 = add_conv(
            self, name="conv_2", filters=inner, activation=activation, bare=bare, **conv_2
        )
        self.conv_3 = add_conv(self, name="conv_3", filters=width, bare=bare)
        self.gate = self._gate(channels)
        self._build_shortcut(input_shape)

        inner_shape = self.conv_1.compute_output_shape(input_shape)
        strided_shape = self.conv_2.compute_output_shape(inner_shape)
        self.conv_1.build(input_shape)
        self.conv_2.build(inner_shape)
        if self.preactivation:
            self.norm_1.build(input_shape)
            self.norm_3.build(strided_shape)
        if self.gate is not None:
            self.gate.build(strided_shape)
        self.conv_3.build(strided_shape)

    def _build_shortcut(self, input_shape):
        """Makes the layers of the shortcut, and tells what the block adds to its input."""
        changes = self.shape.stride != 1 or input_shape[-1] != self.shape.width
        self.has_shortcut = not changes or self.shortcut_type != "none"
        self.shortcut = self.pool = self.drop_path = None
        if changes and self.has_shortcut:
            averages = self.shortcut_type == "average"
            if averages and (self.stride > 1 or self.dilation > 1):
                self.pool = self.sublayer(AveragePooling, name="pool", stride=self.stride)
            self.shortcut = add_conv(
                self,
                name="shortcut",
                filters=self.shape.width,
                stride=1 if averages else self.stride,
                bare=self.preactivation,
            )
            self.shortcut.build(input_shape)
        if self.drop_path_rate and self.has_shortcut:
            self.drop_path = self.sublayer(DropPath, name="drop_path", rate=self.drop_path_rate)
            self.drop_path.build(self.compute_output_shape(input_shape))

    def _norm(self, name, channels):
        # `fuse` cannot fold it: it does not follow a convolution.
        kind = self.normalization or "batch"
        return add_normalization(self, name, kind, channels, self.activation, self.synchronized)

    def _gate(self, block_channels):
        """Returns the layer between the 3x3 and the last convolution, or None."""
        return None

    def call(self, inputs, training=None):
        shortcut = inputs
        if self.preactivation:
            shortcut = self._activate_1(self.norm_1(inputs, training=training))
        x = self.conv_1(shortcut, training=training)  # N H W D
        x = self.conv_2(x, training=training)  # N H/stride W/stride D
        if self.gate is not None:
            x = self.gate(x)
        if self.preactivation:
            x = self._activate_3(self.norm_3(x, training=training))
        x = self.conv_3(x, training=training)  # N H/stride W/stride F
        if not self.has_shortcut:
            return self._activate_sum(x)
        if self.drop_path is not None:
            x = self.drop_path(x, training=training)
        if self.pool is not None:
            shortcut = self.pool(shortcut)
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut, training=training)
        return self._activate_sum(shortcut + x)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        return (batch, *(strided(n, self.stride) for n in size), self.shape.width)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.shape.width,
            "group_width": self.shape.group_width,
            "stride": self.shape.stride,
            "bottleneck_ratio": self.shape.bottleneck_ratio,
            "dilation": self.dilation,
            "drop_path_rate": self.drop_path_rate,
            "synchronized": self.synchronized,
            "replace_stride_with_dilation": self.replace_stride_with_dilation,
            "activation": self.activation,
            "normalization": self.normalization,
            "shortcut": self.shortcut_type,
            "linear_output": self.linear_output,
            "bottleneck_in": self.bottleneck_in,
            "preactivation": self.preactivation,
        }


@_register
class YBlock(XBlock):
    """Block of RegNetY: an `XBlock` with squeeze-and-excitation after the grouped convolution.

    Args:
        se_ratio: squeeze width / channels of the block's input.
        se_quantum: the squeeze width is a multiple of it.
        se_activation: activation within squeeze-and-excitation; None for that of the block.
        **kwargs: the other arguments of `XBlock`.

    Examples:
        >>> block = regnet_tf.YBlock(48, group_width=8, se_ratio=0.25)
        >>> block(np.ones((1, 32, 32, 32), "float32")).shape, block.gate.squeeze_width
        (TensorShape([1, 32, 32, 48]), 8)
    """

    def __init__(
        self, width, group_width, se_ratio=0.25, se_quantum=1, se_activation=None, **kwargs
    ):
        super().__init__(width, group_width, **kwargs)
        check_number("se_ratio", se_ratio, above=0, below=MAX_WIDTH)
        check_block_options(se_quantum=se_quantum, se_activation=se_activation)
        self.se_ratio = se_ratio
        self.se_quantum = se_quantum
        self.se_activation = se_activation

    def _gate(self, block_channels):
        squeezed = squeeze_width(block_channels, self.se_ratio, self.se_quantum)
        activation = self.se_activation or self.activation
        return self.sublayer(
            SqueezeExcite, name="se", squeeze_width=squeezed, activation=activation
        )

    def get_config(self):
        return {
            **super().get_config(),
            "se_ratio": self.se_ratio,
            "se_quantum": self.se_quantum,
            "se_activation": self.se_activation,
        }
