"""Builds the network of a recipe and trains it with `fit`."""

import time
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

import regnet_tf

from ..data import CompleteDataSet, DataSet
from ..data.batches import steps_per_epoch, training_batches
from ..recipes import Recipe
from ..tasks import task_of
from .optimization import learning_rate, learning_rate_callback, make_optimizer


class FittedModel(keras.Model):
    """A functional model whose `fit` works under any strategy.

    Build the network inside the strategy's scope and this model outside it. Then compile and fit
    inside the scope. Otherwise Keras 3 averages a batch of data over the machines to infer its
    shape, which fails.

    Attributes:
        wait_seconds: total time that steps have waited for their batches.
    """

    train_function: Callable | None  # Keras calls it; None until it is made

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.wait_seconds = 0.0

    def train_step(self, data):
        """Runs Keras' training step; with several machines, metrics are vectors of length 1.

        Keras averages metrics over machines along their first axis. Scalars have no axis.
        """
        metrics = super().train_step(data)
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            return {name: tf.reshape(value, [1]) for name, value in metrics.items()}
        return metrics

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Returns the mean loss and accuracy of the current epoch.

        This uses TensorFlow's argmax. Keras' argmax handles negative zeros separately, which takes
        longer than the loss for the pixels of a map.
        """
        right = tf.equal(tf.argmax(y, -1), tf.argmax(y_pred, -1))
        self.accuracy.update_state(right, sample_weight)
        return self.get_metrics_result()

    def make_train_function(self, force=False):
        """Makes and returns Keras' training function; it measures the time to fetch each batch."""
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self._timed(self.train_function)
        return self.train_function

    def _timed(self, step):
        """Returns a training function that also measures the time to fetch each batch."""

        def timed_step(iterator):
            start = time.perf_counter()
            batch = next(iterator)
            self.wait_seconds += time.perf_counter() - start
            return step([batch])

        return timed_step


def build(
    recipe: Recipe,
    data: DataSet,
    state_dict: Mapping[str, np.ndarray] | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> FittedModel:
    """Returns the compiled network of a recipe.

    Args:
        recipe: a `Recipe`.
        data: its data set, for the names of its classes.
        state_dict: initial weights, as returned by `regnet_tf.to_state_dict`. Head and
            decoder are still initialized randomly, and layers up to `pretraining.freeze` are
            frozen. By default the whole network is initialized randomly.
        strategy: strategy that creates the variables; TensorFlow's current one by default.
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        task = task_of(recipe)
        network = task.build_network(recipe.network, recipe.images, data.class_names)
        if state_dict is not None:
            regnet_tf.load_state_dict(network, state_dict, skip_head=True)
            if recipe.pretraining is not None and recipe.pretraining.freeze is not None:
                regnet_tf.freeze(network, recipe.pretraining.freeze)
        rate = learning_rate(recipe.schedule, 0)
        optimizer = make_optimizer(recipe.optimizer, rate)
        # If the first step created these variables, TensorFlow would trace the step twice.
        optimizer.build(network.trainable_variables)
    model = FittedModel(network.inputs, network.outputs, name=network.name)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.loss.label_smoothing)
    with strategy.scope():
        # Metrics given to `compile` have no variables before the first step, so a checkpoint
        # could not restore them.
        model.accuracy = keras.metrics.Mean(name="accuracy")
        model.compile(optimizer, loss)
    return model


def fit(
    model: FittedModel,
    recipe: Recipe,
    data: CompleteDataSet,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    first_step: int = 0,
    verbose: int | str = "auto",
) -> dict[str, list[float]]:
    """Trains a compiled network.

    Args:
        model: return value of `build`.
        recipe: a `Recipe`.
        data: its data set.
        strategy: strategy that the model was built with.
        callbacks: callbacks to add to the learning rate's.
        first_step: number of batches that the network was already trained on.
        verbose: Keras' progress: "auto" or 1 for bars, 2 for one line per epoch, 0 for none.

    Returns:
        Dict of lists, with one value for each epoch of this call.
    """
    strategy = strategy or tf.distribute.get_strategy()
    steps, epochs = steps_per_epoch(data.train, recipe.schedule), recipe.schedule.epochs
    epoch, done = divmod(first_step, steps)
    parts = [(first_step, epochs, steps)]
    if done:  # Keras needs epochs of equal length, so finish the current epoch in its own `fit`
        parts = [(first_step, epoch + 1, steps - done), ((epoch + 1) * steps, epochs, steps)]
    history: dict[str, list[float]] = {}
    for start, end, steps_per_part in parts:
        if start >= end * steps:
            continue
        batches = strategy.distribute_datasets_from_function(
            lambda context, start=start: training_batches(
                data.train, recipe, len(data.class_names), start, context
            )
        )
        with strategy.scope():
            fitted = model.fit(
                batches,
                initial_epoch=start // steps,
                epochs=end,
                steps_per_epoch=steps_per_part,
                callbacks=[learning_rate_callback(recipe.schedule), *callbacks],
                shuffle=False,  # the batches are shuffled already
                verbose=verbose,
            )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    return history
