"""The network without its head."""

from typing import Any

import keras
from keras_hub.models import FeaturePyramidBackbone

from regnet_tf.backbones import feature_info, pyramid_outputs
from regnet_tf.models import OUTPUT_STRIDES, InputShape, build_regnet
from regnet_tf.variants import RegNetConfig


@keras.saving.register_keras_serializable(package="regnet_tf")
class RegNetBackbone(FeaturePyramidBackbone):
    """A RegNet without its head, which outputs the last feature map.

    Feed images scaled to 0 to 1 and normalized by mean and standard deviation. The axes are
    `(batch, height, width, channels)` under every setting of Keras.

    Args:
        config: a `RegNetConfig`, its dict, or a variant's name.
        image_shape: `(height, width, channels)`; height and width may be None.
        output_stride: 32, 16 or 8. With 8 or 16, dilation replaces the strides beyond it.
        dtype: dtype policy; default: the global policy.
        **kwargs: `name` and `trainable`.

    Attributes:
        pyramid_outputs: the feature maps by stride, `{"P1": ..., "P5": ...}`; Pn has stride `2**n`.

    Raises:
        ValueError: for an unknown variant, or an argument out of range.

    Examples:
        >>> backbone = regnet_tf.keras_hub.RegNetBackbone(tiny, image_shape=(64, 64, 3))
        >>> list(backbone.pyramid_outputs), backbone.output_shape
        (['P1', 'P2', 'P3', 'P4'], (None, 4, 4, 64))
    """

    def __init__(
        self,
        config: RegNetConfig | dict | str,
        image_shape: InputShape = (None, None, 3),
        output_stride: int = 32,
        dtype: Any = None,
        **kwargs: Any,
    ):
        network = build_regnet(
            RegNetConfig.from_dict(config) if isinstance(config, dict) else config,
            include_top=False,
            input_shape=image_shape,
            output_stride=output_stride,
            dtype=dtype,
        )
        super().__init__(network.input, network.output, dtype=dtype, **kwargs)
        self.config = network.get_layer("stem").network
        self.image_shape = network.input_shape[1:]
        self.output_stride = output_stride
        self.data_format = "channels_last"
        self.pyramid_outputs = pyramid_outputs(network)

    @classmethod
    def from_network(cls, network: keras.Model) -> "RegNetBackbone":
        """Returns a backbone with the configuration and the weights of a network.

        Args:
            network: made by `build_regnet`; its head is left out.

        Raises:
            ValueError: for another model, or one made by `fuse`.
        """
        *_, last = feature_info(network).values()
        backbone = cls(
            network.get_layer("stem").network,
            network.input_shape[1:],
            output_stride=max(last.stride, min(OUTPUT_STRIDES)),
            dtype=network.dtype_policy,
        )
        for layer in backbone.layers:
            if layer.weights:
                layer.set_weights(network.get_layer(layer.name).get_weights())
        return backbone

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "image_shape": self.image_shape,
            "output_stride": self.output_stride,
        }
