"""Exponential moving average (EMA) of a network during training."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class ModelAverage:
    """Moving averages of a model's floating-point variables, including normalization statistics.

    torchvision and timm average the statistics as well. Keras' own average (`use_ema` of its
    optimizers) does not, so its averaged weights and the statistics do not match.

    Args:
        model: a Keras model.
        decay: share of the average to keep at each update, above 0 and below 1.
        strategy: strategy that the model's variables were created under.
    """

    def __init__(self, model: keras.Model, decay: float, strategy: tf.distribute.Strategy) -> None:
        averaged = [v for v in model.variables if v.dtype.startswith("float")]
        self._decay = decay
        self._names = [variable.path for variable in averaged]
        self._variables = [variable.value for variable in averaged]
        with strategy.scope():
            self._averages = [tf.Variable(value, trainable=False) for value in self._variables]

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """The averages: name -> variable."""
        return dict(zip(self._names, self._averages, strict=True))

    @tf.function(autograph=False)
    def update(self) -> None:
        """Moves the averages towards the model."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(self._decay * average + (1 - self._decay) * variable)

    @tf.function(autograph=False)
    def copy(self) -> None:
        """Sets the averages to the model's variables."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(variable)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Context manager in which the model uses the averages; restores the model at the end."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def load_into_model(self) -> None:
        """Sets the model's variables to the averages permanently."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            variable.assign(average)

    @tf.function(autograph=False)
    def _swap(self):
        for average, variable in zip(self._averages, self._variables, strict=True):
            value = tf.identity(average)
            average.assign(variable)
            variable.assign(value)
