"""The network of a recipe, ready to train, and its training by `fit`."""

import time

import keras
import tensorflow as tf

import regnet_tf

from .data.batches import steps_per_epoch, training_batches
from .optimization import learning_rate_callback, make_optimizer
from .tasks import task_of


class FittedModel(keras.Model):
    """A functional model for `fit` under any strategy.

    Make it outside the strategy's scope of a network made inside, then compile and fit it inside:
    Keras 3 otherwise averages a batch of data over the machines to learn its shape, which fails.

    Attributes:
        wait_seconds: how long steps have waited for their batches, in all.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.wait_seconds = 0.0

    def train_step(self, data):
        """As Keras does; for several machines the metrics are vectors of length 1.

        Keras averages metrics over machines along their first axis, which scalars have not.
        """
        metrics = super().train_step(data)
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            return {name: tf.reshape(value, [1]) for name, value in metrics.items()}
        return metrics

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The mean loss and accuracy of an epoch so far.

        By TensorFlow's argmax: Keras' treats negative zeros apart, which over the pixels of a map
        takes longer than the loss does.
        """
        right = tf.equal(tf.argmax(y, -1), tf.argmax(y_pred, -1))
        self.accuracy.update_state(right, sample_weight)
        return self.get_metrics_result()

    def make_train_function(self, force=False):
        """Keras' step, with the time to get a batch measured apart."""
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        step = self.train_function

        def timed_step(iterator):
            start = time.perf_counter()
            batch = next(iterator)
            self.wait_seconds += time.perf_counter() - start
            return step([batch])

        self.train_function = timed_step


def build(recipe, data, state_dict=None, strategy=None) -> FittedModel:
    """The compiled network of a recipe.

    Args:
        recipe: a `Recipe`.
        data: its `training.data.DataSet`.
        state_dict: weights to start from, as `regnet_tf.to_state_dict` gives them. Classifier and
            decoder start anew nevertheless, and what `recipe.freeze` says is frozen. By default the
            whole network starts anew.
        strategy: to make its variables under; TensorFlow's current one by default.
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        network = task_of(recipe).build_network(recipe, data)
        if state_dict is not None:
            regnet_tf.load_state_dict(network, state_dict, skip_head=True)
            if recipe.freeze is not None:
                regnet_tf.freeze(network, recipe.freeze)
        optimizer = make_optimizer(recipe)
        # With its variables made inside the first step, TensorFlow would trace that step twice.
        optimizer.build(network.trainable_variables)
    model = FittedModel(network.inputs, network.outputs, name=network.name)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    with strategy.scope():
        # Not by `compile`, whose metrics have no variables before the first step to be restored to.
        model.accuracy = keras.metrics.Mean(name="accuracy")
        model.compile(optimizer, loss)
    return model


def fit(model, recipe, data, strategy=None, callbacks=(), first_step=0, verbose="auto") -> dict:
    """Trains a compiled network.

    Args:
        model: what `build` made.
        recipe: a `Recipe`.
        data: its `training.data.DataSet`.
        strategy: that the model was built for.
        callbacks: beside the learning rate's.
        first_step: batches that the network has been trained on.
        verbose: Keras' progress: "auto" or 1 for bars, 2 for a line an epoch, 0 for none.

    Returns:
        Dict of lists, a value for each epoch of this call.
    """
    strategy = strategy or tf.distribute.get_strategy()
    steps = steps_per_epoch(data.train, recipe)
    epoch, done = divmod(first_step, steps)
    parts = [(first_step, recipe.epochs, steps)]
    if done:  # Keras knows epochs of equal length alone: the rest of one is fitted by itself
        parts = [(first_step, epoch + 1, steps - done), ((epoch + 1) * steps, recipe.epochs, steps)]
    history = {}
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
                callbacks=[learning_rate_callback(recipe), *callbacks],
                shuffle=False,  # the batches are
                verbose=verbose,
            )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    return history
