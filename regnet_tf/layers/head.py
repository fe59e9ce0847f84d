"""The head of a RegNet, and the names of classes that it carries."""

from typing import Any

import keras

from regnet_tf._checks import MAX_WIDTH, check, check_int

_register = keras.saving.register_keras_serializable(package="regnet_tf")


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

    Examples:
        >>> head = regnet_tf.Head(2, "softmax", class_names=("ant", "bee"))
        >>> np.array(head(np.zeros((1, 64), "float32"))), head.class_names
        (array([[0.5, 0.5]], dtype=float32), ('ant', 'bee'))
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
        if config.get("quantization_config") is None:
            config.pop("quantization_config", None)  # Keras 3.12 does not know this argument
        names = self.class_names and list(self.class_names)
        return {"classes": config.pop("units"), **config, "class_names": names}
