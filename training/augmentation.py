"""Random changes of training images."""

import keras
import tensorflow as tf


def augmentation(recipe):
    """The random changes that a recipe asks for.

    They keep one random state, so a `tf.data` map over them must not run in parallel if a run is to
    be repeatable.

    Args:
        recipe: a `Recipe`; its `translation`, `rotation`, `zoom` and `seed` count.

    Returns:
        A function from images `(batch, height, width, channels)` to as many changed ones. What was
        outside an image is filled with 0.
    """
    options = {"fill_mode": "constant", "fill_value": 0.0}
    layers = []
    with tf.device("CPU:0"):  # where tf.data runs, and so must the random states be
        if recipe.translation:
            shares = (recipe.translation, recipe.translation)
            layers.append(keras.layers.RandomTranslation(*shares, seed=recipe.seed, **options))
        if recipe.rotation:
            turn = recipe.rotation / 360
            layers.append(keras.layers.RandomRotation(turn, seed=recipe.seed + 1, **options))
        if recipe.zoom:
            layers.append(keras.layers.RandomZoom(recipe.zoom, seed=recipe.seed + 2, **options))

    def augment(images):
        for layer in layers:
            images = layer(images)
        return images

    return augment
