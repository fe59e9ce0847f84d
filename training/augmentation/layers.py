"""Random shifts, rotations and changes of scale of whole batches, by Keras' layers."""

import keras
import tensorflow as tf


class _Seeds(keras.random.SeedGenerator):
    """Seeds for Keras' random functions that depend on nothing but two given numbers.

    Keras' own generator counts its calls in a variable. Batches that are prepared ahead of training
    would advance it, and a run that goes on where another one ended could not set it back.
    """

    def __init__(self, seed, number):
        self._seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
        self._calls = 0

    def next(self, ordered=True):
        self._calls += 1
        return tf.random.experimental.stateless_fold_in(self._seeds, self._calls)


def augmentation(recipe):
    """The shifts, rotations and changes of scale that a recipe asks for.

    Args:
        recipe: a `Recipe`; its `translation`, `rotation`, `zoom` and `seed` count.

    Returns:
        A function of images `(batch, height, width, channels)` and the number of their batch in the
        run, which alone decides the changes, to as many changed images. What was outside an image
        is filled with 0.
    """
    options = {"fill_mode": "constant", "fill_value": 0.0}
    layers = []
    if recipe.translation:
        shares = (recipe.translation, recipe.translation)
        layers.append(keras.layers.RandomTranslation(*shares, **options))
    if recipe.rotation:
        layers.append(keras.layers.RandomRotation(recipe.rotation / 360, **options))
    if recipe.zoom:
        layers.append(keras.layers.RandomZoom(recipe.zoom, **options))

    def augment(images, number):
        seeds = _Seeds(recipe.seed, number)
        for layer in layers:
            changes = layer.get_random_transformation(images, training=True, seed=seeds)
            images = layer.transform_images(images, changes, training=True)
        return images

    return augment
