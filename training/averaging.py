"""The exponential moving average of a network over its training (EMA)."""

import contextlib

import tensorflow as tf


class ModelAverage:
    """Averages of all of a model's floating-point variables, normalization statistics included.

    Keras' own (`use_ema` of its optimizers) leaves the statistics out, which then belong to other
    weights; torchvision's and timm's average them.

    Args:
        model: a Keras model.
        decay: what of the average is kept at an update, above 0 and below 1.
        strategy: that the model's variables were made under.
    """

    def __init__(self, model, decay, strategy):
        averaged = [v for v in model.variables if v.dtype.startswith("float")]
        self._decay = decay
        self._names = [variable.path for variable in averaged]
        self._variables = [variable.value for variable in averaged]
        with strategy.scope():
            self._averages = [tf.Variable(value, trainable=False) for value in self._variables]

    @property
    def variables(self) -> dict:
        """Name -> average."""
        return dict(zip(self._names, self._averages, strict=True))

    @tf.function(autograph=False)
    def update(self):
        """Moves the averages towards the model."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(self._decay * average + (1 - self._decay) * variable)

    @tf.function(autograph=False)
    def copy(self):
        """Makes the averages equal to the model."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(variable)

    @contextlib.contextmanager
    def swapped_in(self):
        """Inside, the model computes with the averages; afterwards it is as it was."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def load_into_model(self):
        """Makes the averages the model's values, for good."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            variable.assign(average)

    @tf.function(autograph=False)
    def _swap(self):
        for average, variable in zip(self._averages, self._variables, strict=True):
            value = tf.identity(average)
            average.assign(variable)
            variable.assign(value)
