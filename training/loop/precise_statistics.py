"""Precise normalization statistics over many images, instead of moving averages, as in pycls.

The statistics are averages of the batches' means and unbiased variances, over augmented training
images (`compute_precise_bn_stats` of pycls).
"""

from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from regnet_tf._internals import all_layers

from ..data import CompleteDataSet
from ..data.batches import steps_per_epoch, training_batches
from ..recipes import Recipe


def precise_statistics(
    model: keras.Model, recipe: Recipe, data: CompleteDataSet, strategy: tf.distribute.Strategy
) -> Callable[[int], None] | None:
    """Returns a function that sets the statistics before the test of an epoch.

    It uses the first training images of the epoch.

    Args:
        model: a Keras model.
        recipe: the `Recipe` of its training.
        data: its data set.
        strategy: strategy that the model's variables were created under.

    Returns:
        A function of the epoch, or None if the recipe keeps the moving averages.
    """
    if not recipe.precise_images:
        return None
    steps_of_epoch = steps_per_epoch(data.train, recipe.schedule)
    steps = max(1, min(recipe.precise_images // recipe.schedule.batch_size, steps_of_epoch))

    def prepare(epoch):
        batches = strategy.distribute_datasets_from_function(
            lambda context: training_batches(
                data.train, recipe, len(data.class_names), epoch * steps_of_epoch, context
            )
        )
        set_precise_statistics(model, iter(batches), steps, strategy)

    return prepare


def set_precise_statistics(
    model: keras.Model, batches: Iterator, steps: int, strategy: tf.distribute.Strategy
) -> None:
    """Sets the moving mean and variance of all batch normalization layers.

    Args:
        model: a Keras model; its other variables remain unchanged.
        batches: iterator of `(images, labels)`, distributed by the strategy.
        steps: number of batches, at least 1.
        strategy: strategy that the model's variables were created under.
    """
    layers = [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers:
        return
    moving = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]

    @tf.function(autograph=False)
    def batch_statistics(images):
        def on_replica(images):
            model(images, training=True)
            return [tf.convert_to_tensor(variable.value) for variable in moving]

        values = strategy.run(on_replica, args=(images,))
        return [strategy.reduce("MEAN", value, axis=None) for value in values]

    kept = [layer.momentum for layer in layers]
    seeds = _random_states(model)
    before = [tf.convert_to_tensor(variable.value) for variable in seeds]
    try:
        for layer in layers:
            layer.momentum = 0.0  # traced with 0, each batch's statistics replace the moving ones
        total = batch_statistics(next(batches)[0])
        for _ in range(steps - 1):
            values = batch_statistics(next(batches)[0])
            total = [a + b for a, b in zip(total, values, strict=True)]
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum
    for variable, value in zip(moving, total, strict=True):
        variable.assign(value / steps)
    for variable, value in zip(seeds, before, strict=True):
        variable.assign(value)


def _random_states(model):
    """Returns the states of random layers, which this computation must not change."""
    return [variable for variable in model.variables if variable.dtype.startswith("uint")]
