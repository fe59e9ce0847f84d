"""The Keras layers of a RegNet, from a convolution to a stage.

All layers are channels-last. Shape comments: N images, H rows, W columns, C input channels,
D inner channels of a block, F output channels.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import (
    MAX_SIDE,
    MAX_WIDTH,
    check,
    check_choice,
    check_int,
    check_number,
    is_int,
)
from regnet_tf._composite import Composite
from regnet_tf.costs import squeeze_width
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.variants import ACTIVATIONS, GROUP_NORM_WIDTH, NORMALIZATIONS, RegNetConfig
from regnet_tf.widths import StageConfig

_register = keras.saving.register_keras_serializable(package="regnet_tf")

EPSILON = 1e-5
MOMENTUM = 0.9  # PyTorch's 0.1


def fan_out_initializer(size, filters):
    """Returns the authors' initializer of convolutions: N(0, sqrt(2 / (size * size * filters)))."""
    return keras.initializers.RandomNormal(stddev=(2 / (size * size * filters)) ** 0.5)


@_register
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization of the last axis by the fastest kernel of the backend.

    It has the arguments, the variables and the freezing of `keras.layers.BatchNormalization`. The
    default epsilon and momentum are the authors'. Batch statistics are computed in float32 under
    every dtype policy. The moving variance is updated with the unbiased batch variance, as in
    PyTorch.

    Input and output shape: `(batch, height, width, channels)`.
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
class ConvNorm(Composite):
    """Convolution, then normalization (or a bias), then an optional activation.

    The padding is symmetric, `kernel_size // 2` on each side, as in PyTorch. Keras' "same" padding
    differs at stride 2. The kernel is initialized from N(0, sqrt(2 / (kernel_size**2 * filters))).

    Args:
        filters: number of output channels.
        kernel_size: side of the kernel, odd.
        stride: stride along both axes.
        groups: number of groups; must divide the input channels and `filters`.
        dilation: dilation along both axes.
        activation: one of `ACTIVATIONS`, or None.
        normalization: "batch", "group" (groups of 16 channels), or None for a bias instead.
            Networks made by `fuse` have None.
        synchronized: whether batch normalization computes its statistics over all replicas.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), filters)`.
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
        super().__init__(**kwargs)
        check_int("filters", filters, minimum=1, maximum=MAX_WIDTH)
        odd = is_int(kernel_size) and 0 < kernel_size < MAX_SIDE and kernel_size % 2 == 1
        check("kernel_size", kernel_size, odd, "a positive odd integer")
        check_int("stride", stride, minimum=1)
        check_int("dilation", dilation, minimum=1)
        check_int("groups", groups, minimum=1)
        check("groups", groups, filters % groups == 0, f"a divisor of filters={filters}")
        check_choice("activation", activation, (None, *ACTIVATIONS))
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.groups = groups
        self.dilation = dilation
        self.activation = activation
        self.normalization = normalization
        self.synchronized = synchronized
        self.norm = self._normalization()
        self._activate = keras.activations.get(activation)
        self.supports_jit = regnet_ops.supports_jit()

    def _normalization(self):
        """Returns the layer between the convolution and the activation, or None for a bias."""
        check_choice("normalization", self.normalization, (None, *NORMALIZATIONS))
        if self.normalization is None:
            return None
        if self.normalization == "batch":
            norm = self.sublayer(BatchNorm, name="norm", synchronized=self.synchronized)
            norm.activated = self.activation is not None
            return norm
        width, filters = GROUP_NORM_WIDTH, self.filters
        check("filters", filters, filters % width == 0, f"a multiple of {width} where groups norm")
        return self.sublayer(
            keras.layers.GroupNormalization,
            name="norm",
            groups=filters // width,
            epsilon=EPSILON,
        )

    def build(self, input_shape):
        channels = input_shape[-1]
        divides = channels % self.groups == 0
        check("groups", self.groups, divides, f"a divisor of the {channels} input channels")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels // self.groups, self.filters),
            initializer=fan_out_initializer(self.kernel_size, self.filters),
            autocast=False,  # normalization is folded into it before it is rounded
        )
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
        kernel = ops.cast(kernel, self.compute_dtype)
        x = regnet_ops.conv2d(inputs, kernel, self.stride, self.dilation)  # N H W F
        if bias is None:
            return self._activate(self.norm(x, training=training))
        bias = ops.cast(bias, self.compute_dtype)
        return self._activate(regnet_ops.add_bias(x, bias, self.groups))

    def _folds(self, training):
        """Whether the kernel includes the normalization: if it uses its moving statistics."""
        return self.normalization == "batch" and not (training and self.norm.trainable)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        return (batch, *(_strided(n, self.stride) for n in size), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "groups": self.groups,
            "dilation": self.dilation,
            "activation": self.activation,
            "normalization": self.normalization,
            "synchronized": self.synchronized,
        }


@_register
class SqueezeExcite(Composite):
    """Scales each channel by a gate computed from the channel means (paper section 5, RegNetY).

    Args:
        squeeze_width: channels between the two fully connected layers. The authors take a quarter
            of the *block's input* width, not of this layer's input width.
        activation: activation between the two fully connected layers.

    Input and output shape: `(batch, height, width, channels)`.
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
class XBlock(Composite):
    """Residual bottleneck block of RegNetX (paper figure 4).

    The block computes `x + f(x)`. f is a 1x1, a grouped 3x3 and a 1x1 convolution. The shortcut has
    a 1x1 convolution if the stride or the width changes.

    Args:
        width: number of output channels.
        group_width: channels per group of the 3x3 convolution.
        stride: stride of the 3x3 convolution and the shortcut.
        bottleneck_ratio: inner width / width.
        dilation: dilation of the 3x3 convolution.
        drop_path_rate: probability of dropping f(x) for an image in training.
        activation: see `ConvNorm`.
        normalization: see `ConvNorm`.
        synchronized: see `ConvNorm`.
        replace_stride_with_dilation: whether the block keeps the resolution of its input. Dilation
            of the later blocks replaces the stride. The variables stay the same.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), width)`, with stride 1 if
        `replace_stride_with_dilation`.
    """

    def __init__(
        self,
        width,
        group_width,
        stride=1,
        bottleneck_ratio=1.0,
        dilation=1,
        drop_path_rate=0.0,
        activation="relu",
        normalization="batch",
        synchronized=False,
        replace_stride_with_dilation=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.shape = StageConfig(width, 1, group_width, stride, bottleneck_ratio)
        check_int("dilation", dilation, minimum=1)
        check_number("drop_path_rate", drop_path_rate, minimum=0, below=1)
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("normalization", normalization, (None, *NORMALIZATIONS))
        self.dilation = dilation
        self.replace_stride_with_dilation = replace_stride_with_dilation
        # The stride in use; `shape` has the nominal one.
        self.stride = 1 if replace_stride_with_dilation else stride
        self.drop_path_rate = drop_path_rate
        self.activation = activation
        self.normalization = normalization
        self.synchronized = synchronized
        self._activate = keras.activations.get(activation)

    def build(self, input_shape):
        width, inner, groups = self.shape.width, self.shape.inner_width, self.shape.groups
        self.conv_1 = self._conv("conv_1", inner, activation=self.activation)
        self.conv_2 = self._conv(
            "conv_2",
            inner,
            3,
            stride=self.stride,
            groups=groups,
            dilation=self.dilation,
            activation=self.activation,
        )
        self.gate = self._gate(input_shape[-1])
        self.conv_3 = self._conv("conv_3", width)
        self.shortcut = None
        if self.shape.stride != 1 or input_shape[-1] != width:
            self.shortcut = self._conv("shortcut", width, stride=self.stride)
            self.shortcut.build(input_shape)
        self.drop_path = None
        if self.drop_path_rate:
            self.drop_path = self.sublayer(DropPath, name="drop_path", rate=self.drop_path_rate)

        inner_shape = self.conv_1.compute_output_shape(input_shape)
        strided_shape = self.conv_2.compute_output_shape(inner_shape)
        self.conv_1.build(input_shape)
        self.conv_2.build(inner_shape)
        if self.gate is not None:
            self.gate.build(strided_shape)
        self.conv_3.build(strided_shape)
        if self.drop_path is not None:
            self.drop_path.build(self.compute_output_shape(input_shape))

    def _conv(self, name, filters, kernel_size=1, **kwargs):
        return self.sublayer(
            ConvNorm,
            name=name,
            filters=filters,
            kernel_size=kernel_size,
            normalization=self.normalization,
            synchronized=self.synchronized,
            **kwargs,
        )

    def _gate(self, block_channels):
        """Returns the layer between the 3x3 and the last convolution, or None."""
        return None

    def call(self, inputs, training=None):
        x = self.conv_1(inputs, training=training)  # N H W D
        x = self.conv_2(x, training=training)  # N H/stride W/stride D
        if self.gate is not None:
            x = self.gate(x)
        x = self.conv_3(x, training=training)  # N H/stride W/stride F
        if self.drop_path is not None:
            x = self.drop_path(x, training=training)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs, training=training)
        return self._activate(shortcut + x)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        return (batch, *(_strided(n, self.stride) for n in size), self.shape.width)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.shape.width,
            "group_width": self.shape.group_width,
            "stride": self.shape.stride,
            "bottleneck_ratio": self.shape.bottleneck_ratio,
            "dilation": self.dilation,
            "drop_path_rate": self.drop_path_rate,
            "activation": self.activation,
            "normalization": self.normalization,
            "synchronized": self.synchronized,
            "replace_stride_with_dilation": self.replace_stride_with_dilation,
        }


@_register
class YBlock(XBlock):
    """Block of RegNetY: an `XBlock` with squeeze-and-excitation after the grouped convolution.

    Args:
        se_ratio: squeeze width / channels of the block's input.
        **kwargs: the other arguments of `XBlock`.
    """

    def __init__(self, width, group_width, se_ratio=0.25, **kwargs):
        super().__init__(width, group_width, **kwargs)
        check_number("se_ratio", se_ratio, above=0, below=MAX_WIDTH)
        self.se_ratio = se_ratio

    def _gate(self, block_channels):
        squeezed = squeeze_width(block_channels, self.se_ratio)
        return self.sublayer(
            SqueezeExcite, name="se", squeeze_width=squeezed, activation=self.activation
        )

    def get_config(self):
        return {**super().get_config(), "se_ratio": self.se_ratio}


@_register
class Stage(Composite):
    """A sequence of equal blocks: `block_1`, `block_2` ... Only the first can have a stride.

    Args:
        width: output channels of every block.
        depth: number of blocks.
        group_width: channels per group of the 3x3 convolutions.
        stride: stride of the first block.
        bottleneck_ratio: inner width / width.
        se_ratio: 0 for blocks of type `XBlock`; otherwise the `se_ratio` of `YBlock`.
        drop_path_rates: stochastic depth rate of each block; default: all 0.
        activation: see `ConvNorm`.
        normalization: see `ConvNorm`.
        synchronized: see `ConvNorm`.
        dilation: dilation of the 3x3 convolutions; only of the first one with
            `replace_stride_with_dilation`.
        replace_stride_with_dilation: whether dilation replaces the stride. The first block then
            keeps the resolution of its input, and the others have dilation `dilation * stride`. The
            variables stay the same.
        remat: whether to use gradient checkpointing: training stores only the inputs of the blocks,
            and recomputes the rest for the gradients. It takes less memory and more time, and gives
            the same numbers.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), width)`, with stride 1 if
        `replace_stride_with_dilation`.
    """

    def __init__(
        self,
        width,
        depth,
        group_width,
        stride=2,
        bottleneck_ratio=1.0,
        se_ratio=0.0,
        drop_path_rates=None,
        activation="relu",
        normalization="batch",
        synchronized=False,
        dilation=1,
        replace_stride_with_dilation=False,
        remat=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.shape = StageConfig(width, depth, group_width, stride, bottleneck_ratio)
        check_number("se_ratio", se_ratio, minimum=0, below=MAX_WIDTH)
        self.se_ratio = se_ratio
        rates = [0.0] * depth if drop_path_rates is None else drop_path_rates
        one_each = isinstance(rates, (tuple, list)) and len(rates) == depth
        check("drop_path_rates", rates, one_each, f"{depth} rates, one for each block")
        self.drop_path_rates = list(rates)
        self.activation = activation
        self.normalization = normalization
        self.synchronized = synchronized
        self.dilation = dilation
        self.replace_stride_with_dilation = replace_stride_with_dilation
        self.remat = remat
        block_class, gate = (YBlock, {"se_ratio": se_ratio}) if se_ratio else (XBlock, {})
        first = {
            "stride": stride,
            "dilation": dilation,
            "replace_stride_with_dilation": replace_stride_with_dilation,
        }
        others = {"dilation": dilation * stride if replace_stride_with_dilation else dilation}
        self.blocks = [
            self.sublayer(
                block_class,
                name=f"block_{block}",
                width=width,
                group_width=group_width,
                bottleneck_ratio=bottleneck_ratio,
                drop_path_rate=rate,
                activation=activation,
                normalization=normalization,
                synchronized=synchronized,
                **(first if block == 1 else others),
                **gate,
            )
            for block, rate in enumerate(self.drop_path_rates, start=1)
        ]

    @property
    def stride(self):
        """The stride in use: 1 if `replace_stride_with_dilation`."""
        return self.blocks[0].stride

    def build(self, input_shape):
        for block in self.blocks:
            block.build(input_shape)
            input_shape = block.compute_output_shape(input_shape)

    def call(self, inputs, training=None):
        x = inputs
        for block in self.blocks:
            again = self.remat and training
            x = regnet_ops.rematerialize(block, x) if again else block(x, training=training)
        return x

    def compute_output_shape(self, input_shape):
        return self.blocks[0].compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            **dataclasses.asdict(self.shape),
            "se_ratio": self.se_ratio,
            "drop_path_rates": self.drop_path_rates,
            "activation": self.activation,
            "normalization": self.normalization,
            "synchronized": self.synchronized,
            "dilation": self.dilation,
            "replace_stride_with_dilation": self.replace_stride_with_dilation,
            "remat": self.remat,
        }


@_register
class Stem(Composite):
    """The first convolution of a RegNet: 3x3, with normalization and activation.

    It carries the network's configuration and preprocessing, which `facts_of` reads. Keras saves
    and clones layers by their configs, but makes models from tensors alone. Every model on a
    network's layers has its stem.

    Args:
        width: number of output channels.
        stride: 2, or 1 for small images.
        activation: see `ConvNorm`.
        normalization: see `ConvNorm`.
        synchronized: see `ConvNorm`.
        network: the `RegNetConfig` of the network, or None if unknown.
        preprocessing: the `Preprocessing` from a photograph to this layer's input, or None if
            unknown.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), width)`.
    """

    def __init__(
        self,
        width=32,
        stride=2,
        activation="relu",
        normalization="batch",
        synchronized=False,
        network=None,
        preprocessing=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(network, dict):  # from a saved file
            network = RegNetConfig.from_dict(network)
        if isinstance(preprocessing, dict):
            preprocessing = Preprocessing.from_dict(preprocessing)
        self.network = network
        self.preprocessing = preprocessing
        self.conv = self.sublayer(
            ConvNorm,
            name="conv",
            filters=width,
            kernel_size=3,
            stride=stride,
            activation=activation,
            normalization=normalization,
            synchronized=synchronized,
        )

    @property
    def stride(self):
        """Stride of the convolution."""
        return self.conv.stride

    @property
    def network(self) -> RegNetConfig | None:
        """The `RegNetConfig` of the network, or None if unknown."""
        return self._network

    @network.setter
    def network(self, network):
        ok = network is None or isinstance(network, RegNetConfig)
        check("network", network, ok, "a RegNetConfig or None")
        self._network = network

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The `Preprocessing` from a photograph to this layer's input, or None if unknown."""
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, preprocessing):
        ok = preprocessing is None or isinstance(preprocessing, Preprocessing)
        check("preprocessing", preprocessing, ok, "a Preprocessing or None")
        self._preprocessing = preprocessing

    def build(self, input_shape):
        self.conv.build(input_shape)

    def call(self, inputs, training=None):
        return self.conv(inputs, training=training)

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.conv.filters,
            "stride": self.stride,
            "activation": self.conv.activation,
            "normalization": self.conv.normalization,
            "synchronized": self.conv.synchronized,
            "network": self.network and self.network.to_dict(),
            "preprocessing": self.preprocessing and self.preprocessing.to_dict(),
        }


class ClassNames:
    """Base of the layers that output class scores: they carry the names of the classes.

    Attributes:
        classes: number of outputs.
    """

    classes: int

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each output, or None if unknown."""
        return self._class_names

    @class_names.setter
    def class_names(self, class_names):
        if class_names is not None:
            class_names = checked_class_names(class_names, self.classes)
        self._class_names = class_names


def checked_class_names(class_names: Any, classes: int | None = None) -> tuple[str, ...]:
    """Returns class names as a tuple; raises ValueError unless they are `classes` texts."""
    ok = isinstance(class_names, (tuple, list)) and len(class_names) > 0
    ok = ok and all(isinstance(name, str) for name in class_names)
    check("class_names", class_names, ok, "a sequence of texts, or None")
    count = len(class_names)
    check("class_names", f"{count} names", classes in (None, count), f"{classes} names")
    return tuple(class_names)


@_register
class Head(ClassNames, keras.layers.Dense):
    """The head: a dense layer from pooled features to class scores, in float32.

    The kernel is initialized from N(0, 0.01), the bias with zeros.

    Args:
        classes: number of outputs.
        activation: "softmax" for probabilities, None for logits.
        class_names: name of each output, or None if unknown.

    Input shape: `(batch, channels)`. Output shape: `(batch, classes)`, float32.
    """

    def __init__(self, classes, activation=None, class_names=None, **kwargs):
        check_int("classes", classes, minimum=1, maximum=MAX_WIDTH)
        kwargs = {
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01),
            "dtype": "float32",
            **kwargs,
        }
        super().__init__(classes, activation, **kwargs)
        self.classes = classes
        self.class_names = class_names

    def get_config(self):
        config = super().get_config()
        names = self.class_names and list(self.class_names)
        return {"classes": config.pop("units"), **config, "class_names": names}


def _strided(size, stride):
    """Returns the output size of a convolution with symmetric padding; None stays None."""
    return None if size is None else -(-size // stride)
