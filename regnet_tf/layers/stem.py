"""The stem of a RegNet."""

import keras

from regnet_tf._checks import check
from regnet_tf._composite import Composite
from regnet_tf.layers.convolution import add_conv
from regnet_tf.options import check_stem, stem_convolutions
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.variants import RegNetConfig

_register = keras.saving.register_keras_serializable(package="regnet_tf")


@_register
class Stem(Composite):
    """The first layers of a RegNet: a 3x3 convolution, or three, with normalization and activation.

    It carries the network's configuration and preprocessing, which `facts_of` reads. Keras saves
    and clones layers by their configs, but makes models from tensors alone. Every model on a
    network's layers has its stem.

    Args:
        width: number of output channels.
        stride: 2, or 1 for small images; also 4 with three convolutions.
        stem_type: "single", "deep" or "tiered", see `RegNetConfig`.
        preactivation: whether the blocks normalize and activate their inputs, so that the stem does
            not.
        activation: see `ConvNorm`.
        normalization: see `ConvNorm`.
        synchronized: see `ConvNorm`.
        network: the `RegNetConfig` of the network, or None if unknown.
        preprocessing: the `Preprocessing` from a photograph to this layer's input, or None if
            unknown.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), width)`.

    Examples:
        >>> regnet_tf.Stem(32)(np.ones((1, 64, 64, 3), "float32")).shape
        TensorShape([1, 32, 32, 32])
    """

    def __init__(
        self,
        width=32,
        stride=2,
        stem_type="single",
        preactivation=False,
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
        check_stem(width, stride, stem_type)
        self.stride = stride
        self.stem_type = stem_type
        self.preactivation = preactivation
        self.activation = activation
        self.normalization = normalization
        self.synchronized = synchronized
        shapes = stem_convolutions(width, stride, stem_type)
        names = ["conv"] if len(shapes) == 1 else ["conv_1", "conv_2", "conv_3"]
        for name, (filters, stride) in zip(names, shapes, strict=True):
            conv = add_conv(
                self,
                bare=preactivation,
                activation=activation,
                name=name,
                filters=filters,
                stride=stride,
                kernel_size=3,
            )
            setattr(self, name, conv)
        self._names = tuple(names)

    @property
    def convs(self) -> list:
        """The convolutions: `conv`, or `conv_1` to `conv_3`."""
        return [getattr(self, name) for name in self._names]

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
        # Keras then tells other channels apart: models check none if there is one channel.
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: input_shape[-1]})
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)

    def call(self, inputs, training=None):
        x = inputs
        for conv in self.convs:
            x = conv(x, training=training)
        return x

    def compute_output_shape(self, input_shape):
        for conv in self.convs:
            input_shape = conv.compute_output_shape(input_shape)
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.convs[-1].filters,
            "stride": self.stride,
            "stem_type": self.stem_type,
            "preactivation": self.preactivation,
            "activation": self.activation,
            "normalization": self.normalization,
            "synchronized": self.synchronized,
            "network": self.network and self.network.to_dict(),
            "preprocessing": self.preprocessing and self.preprocessing.to_dict(),
        }
