"""The base of layers that hold other layers."""

from typing import Any

import keras

from regnet_tf._internals import sublayers

#: What may change in a layer after it was made: by freezing, `quantize` or `enable_lora`.
_CHANGEABLE = ("trainable", "dtype", "quantization_config", "lora_rank", "lora_alpha", "sublayers")


class Composite(keras.layers.Layer):
    """Base of the layers that hold other layers: their configs keep changes of these.

    Keras' config of a layer tells whether the whole layer is frozen, and its own dtype policy. This
    class adds what differs in the layers inside. Saved and cloned layers keep single frozen blocks
    and quantized layers therefore.

    Args:
        sublayers: name of a layer inside -> arguments that differ from the outer layer's; None for
            no differences.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, sublayers=None, **kwargs):
        super().__init__(**kwargs)
        self._changes = dict(sublayers or {})

    def sublayer(self, cls: Any, *, name: str, **arguments: Any) -> Any:
        """Makes a layer inside this one. It is frozen if this one is, and has its dtype policy.

        Args:
            cls: class of the layer.
            name: its name, unique in this layer.
            **arguments: its other arguments.
        """
        inherited = {"trainable": self.trainable, "dtype": self.dtype_policy}
        changes = {
            key: value if key == "sublayers" else keras.saving.deserialize_keras_object(value)
            for key, value in self._changes.get(name, {}).items()
        }
        return cls(name=name, **arguments, **{**inherited, **changes})

    def get_config(self):
        config = super().get_config()
        changes = {} if self.built else {**self._changes}  # `build` makes more layers
        changes |= {
            layer.name: _difference(layer.get_config(), config) for layer in sublayers(self)
        }
        changes = {name: change for name, change in changes.items() if change}
        return {**config, "sublayers": changes} if changes else config


def _difference(config, outer):
    """Returns the changeable arguments in a layer's config that it does not inherit."""
    inherited = {name: outer[name] for name in ("trainable", "dtype")}
    present = {name: config[name] for name in _CHANGEABLE if config.get(name) is not None}
    return {name: value for name, value in present.items() if value != inherited.get(name)}
