"""A stage of a RegNet: blocks of equal width."""

import dataclasses

import keras

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import check
from regnet_tf._composite import Composite
from regnet_tf.layers.blocks import XBlock, YBlock
from regnet_tf.options import BLOCK_OPTIONS, check_block_options
from regnet_tf.widths import StageConfig

_register = keras.saving.register_keras_serializable(package="regnet_tf")


@_register
class Stage(Composite):
    """A sequence of equal blocks: `block_1`, `block_2` ... Only the first can have a stride.

    Args:
        width: output channels of every block.
        depth: number of blocks.
        group_width: channels per group of the 3x3 convolutions.
        stride: stride of the first block.
        bottleneck_ratio: inner width / width.
        drop_path_rates: stochastic depth rate of each block; default: all 0.
        synchronized: see `ConvNorm`.
        dilation: dilation of the 3x3 convolutions; only of the first one with
            `replace_stride_with_dilation`.
        replace_stride_with_dilation: whether dilation replaces the stride. The first block then
            keeps the resolution of its input, and the others have dilation `dilation * stride`. The
            variables stay the same.
        remat: whether to use gradient checkpointing: training stores only the inputs of the blocks,
            and recomputes the rest for the gradients. It takes less memory and more time, and gives
            the same numbers.
        **kwargs: the options of the blocks, which are those of `YBlock`, and the arguments of
            `keras.layers.Layer`. Without an `se_ratio` above 0, the blocks are of type `XBlock`.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), width)`, with stride 1 if
        `replace_stride_with_dilation`.

    Examples:
        >>> stage = regnet_tf.Stage(48, depth=3, group_width=8, se_ratio=0.25)
        >>> stage(np.ones((1, 32, 32, 32), "float32")).shape
        TensorShape([1, 16, 16, 48])
        >>> [type(block).__name__ for block in stage.blocks]
        ['YBlock', 'YBlock', 'YBlock']
    """

    def __init__(
        self,
        width,
        depth,
        group_width,
        stride=2,
        bottleneck_ratio=1.0,
        drop_path_rates=None,
        synchronized=False,
        dilation=1,
        replace_stride_with_dilation=False,
        remat=False,
        **kwargs,
    ):
        options = {name: kwargs.pop(name) for name in BLOCK_OPTIONS if name in kwargs}
        super().__init__(**kwargs)
        self.shape = StageConfig(width, depth, group_width, stride, bottleneck_ratio)
        check_block_options(se_ratio=options.get("se_ratio", 0.0))
        rates = [0.0] * depth if drop_path_rates is None else drop_path_rates
        one_each = isinstance(rates, (tuple, list)) and len(rates) == depth
        check("drop_path_rates", rates, one_each, f"{depth} rates, one for each block")
        self.drop_path_rates = list(rates)
        self.synchronized = synchronized
        self.dilation = dilation
        self.replace_stride_with_dilation = replace_stride_with_dilation
        self.remat = remat
        self.options = options
        first = {
            "stride": stride,
            "dilation": dilation,
            "replace_stride_with_dilation": replace_stride_with_dilation,
        }
        others = {"dilation": dilation * stride if replace_stride_with_dilation else dilation}
        gated = bool(options.get("se_ratio"))
        if not gated:
            options = {k: v for k, v in options.items() if not k.startswith("se_")}
        self.blocks = [
            self.sublayer(
                YBlock if gated else XBlock,
                name=f"block_{block}",
                width=width,
                group_width=group_width,
                bottleneck_ratio=bottleneck_ratio,
                drop_path_rate=rate,
                synchronized=synchronized,
                **(first if block == 1 else others),
                **options,
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
            "drop_path_rates": self.drop_path_rates,
            "synchronized": self.synchronized,
            "dilation": self.dilation,
            "replace_stride_with_dilation": self.replace_stride_with_dilation,
            "remat": self.remat,
            **self.options,
        }
