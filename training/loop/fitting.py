"""Builds the network of a recipe and trains it with `fit`."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from ..data import CompleteDataSet
from ..data.batches import steps_per_epoch, training_batches
from ..recipes import Recipe
from ..recipes.parts import Loss
from ..tasks import Detection, task_of
from . import freezing
from .distillation import Teacher
from .losses import LossFunction, balanced_weights, make_loss, right_share
from .optimization import learning_rate, learning_rate_callback, make_optimizer


class FittedModel(keras.Model):
    """A functional model whose `fit` works under any strategy.

    Build the network inside the strategy's scope and this model outside it. Then compile and fit
    inside the scope. Otherwise Keras 3 averages a batch of data over the machines to infer its
    shape, which fails.

    Attributes:
        training: the `Training` that its steps follow.
        wait_seconds: total time that steps have waited for their batches.
    """

    training: "Training"
    means: list[keras.metrics.Mean]
    train_function: Callable | None  # Keras calls it; None until it is made

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.wait_seconds = 0.0

    @property
    def metrics(self):
        """The means of the current epoch, in the order of `_of_part`."""
        return self.means

    def train_step(self, data):
        """Takes one step of the optimizer and returns the means of the current epoch.

        With several machines, metrics are vectors of length 1. Keras averages metrics over machines
        along their first axis, and scalars have no axis.
        """
        images, labels = data
        variables = self.trainable_variables
        gradients, figures = self._of_parts(images, labels, variables)
        self.optimizer.apply(gradients, variables)
        count = tf.shape(images)[0]
        for metric, figure in zip(self.metrics, tf.unstack(figures), strict=True):
            metric.update_state(figure, sample_weight=count)
        means = self.get_metrics_result()
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            return {name: tf.reshape(value, [1]) for name, value in means.items()}
        return means

    def _of_parts(self, images, labels, variables):
        """Returns the mean gradients and figures of the parts of a batch."""
        parts = self.training.accumulation
        if parts == 1:
            return self._of_part(images, labels, variables)
        split = [tf.reshape(one, (parts, -1, *one.shape[1:])) for one in (images, labels)]

        def add_part(part, gradients, figures):
            more, others = self._of_part(split[0][part], split[1][part], variables)
            sums = [one + another / parts for one, another in zip(gradients, more, strict=True)]
            return part + 1, sums, figures + others / parts

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
        loop = (tf.constant(0), zeros, tf.zeros(len(self.metrics)))
        _, gradients, figures = tf.while_loop(
            lambda part, *_: part < parts, add_part, loop, parallel_iterations=1
        )
        return gradients, figures

    def _of_part(self, images, labels, variables):
        """Returns the gradients of a part of a batch, and its figures: loss, accuracy, plain loss.

        The sum of the gradients over all replicas is the gradient of the mean loss.
        """
        training, teacher = self.training, self.training.teacher
        answers = None if teacher is None else teacher.logits(images)
        with tf.GradientTape() as tape:
            outputs = self(images, training=True)
            of_labels = loss = training.loss(labels, outputs)
            if teacher is not None:
                loss = teacher.mixed(of_labels, teacher.loss(answers, outputs))
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tape.gradient(share, [variable.value for variable in variables])
        is_plain = training.plain_loss is training.loss
        plain = of_labels if is_plain else training.plain_loss(labels, outputs)
        figures = (loss, training.accuracy(labels, outputs), plain)
        return gradients, tf.stack([tf.cast(figure, tf.float32) for figure in figures])

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


@dataclasses.dataclass(frozen=True)
class Training:
    """What a training step computes.

    Args:
        loss: the loss to minimize, a function of labels and probabilities.
        plain_loss: the same without label smoothing and class weights, as in tests.
        accuracy: the share of right predictions, a function of labels and probabilities.
        accumulation: number of parts that each batch is trained in.
        teacher: the trained network to learn from, or None.
    """

    loss: LossFunction
    plain_loss: LossFunction
    accuracy: LossFunction
    accumulation: int = 1
    teacher: Teacher | None = None

    @classmethod
    def of(
        cls, recipe: Recipe, data: CompleteDataSet, teacher: Teacher | None = None
    ) -> "Training":
        """Returns the training of a recipe with a data set, and with its teacher if it has one."""
        task = task_of(recipe, data.target)
        if isinstance(task, Detection):
            of_boxes = task.loss  # one object: a second one would be computed again
            return cls(of_boxes, of_boxes, task.accuracy, recipe.schedule.accumulation)
        weights = None
        if recipe.loss.class_weights == "balanced":
            weights = balanced_weights(data.train, len(data.class_names), recipe.images.max_pixels)
        plain = Loss(name=recipe.loss.name)
        loss = make_loss(recipe.loss, data.target, weights)
        return cls(
            loss=loss,
            plain_loss=loss if recipe.loss == plain else make_loss(plain, data.target),
            accuracy=right_share(data.target),
            accumulation=recipe.schedule.accumulation,
            teacher=teacher,
        )


def build(
    recipe: Recipe,
    data: CompleteDataSet,
    strategy: tf.distribute.Strategy | None = None,
    teacher: Teacher | None = None,
) -> FittedModel:
    """Returns the compiled network of a recipe, with random weights.

    Args:
        recipe: a `Recipe`.
        data: its data set.
        strategy: strategy that creates the variables; TensorFlow's current one by default.
        teacher: the `Teacher` of a recipe with `distillation`. It is no part of the network.
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        task = task_of(recipe, data.target)
        network = task.build_network(recipe.network, recipe.images, data.class_names)
        optimizer = make_optimizer(recipe.optimizer, learning_rate(recipe.schedule, 0))
        # If the first step created these variables, TensorFlow would trace the step twice. Frozen
        # layers have them too, so that every checkpoint of a run has the same variables.
        optimizer.build(network.trainable_variables)
    model = FittedModel(network.inputs, network.outputs, name=network.name)
    model.training = Training.of(recipe, data, teacher)
    with strategy.scope():
        # Metrics given to `compile` have no variables before the first step, so a checkpoint
        # could not restore them.
        model.means = [keras.metrics.Mean(name) for name in ("loss", "accuracy", "cross_entropy")]
        model.compile(optimizer)
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
    """Trains a compiled network, until the last epoch or until a callback stops it.

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
    steps = steps_per_epoch(data.train, recipe.schedule)
    history: dict[str, list[float]] = {}
    for start, end in _parts(recipe, steps, first_step):
        freezing.set_frozen(model, recipe.network, *divmod(start, steps))
        batches = strategy.distribute_datasets_from_function(
            lambda context, start=start: training_batches(
                data.train, recipe, len(data.class_names), start, context
            )
        )
        with strategy.scope():
            fitted = model.fit(
                batches,
                initial_epoch=start // steps,
                epochs=end // steps,
                steps_per_epoch=min(steps, end - start),
                callbacks=[learning_rate_callback(recipe.schedule), *callbacks],
                shuffle=False,  # the batches are shuffled already
                verbose=verbose,
            )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
        if model.stop_training:
            break
    return history


def _parts(recipe, steps, first_step):
    """Returns the first and last step of each call of Keras' `fit`.

    Keras needs epochs of equal length, so the rest of an epoch is one part. Training goes on in a
    new part when frozen layers are released.
    """
    last, rest = recipe.schedule.epochs * steps, -(-first_step // steps) * steps
    released = (recipe.network.frozen_epochs or 0) * steps
    ends = sorted(end for end in {rest, released, last} if first_step < end <= last)
    return list(zip([first_step, *ends], ends, strict=False))
