"""Random shifts, rotations and zooms of whole batches with Keras' layers."""

import keras
import tensorflow as tf

#: The class of pixels that were outside of the image.
NOTHING = 255


class _Seeds(keras.random.SeedGenerator):
    """A seed generator for Keras that depends only on two given numbers.

    Keras' own generator counts its calls in a variable. Prefetched batches would advance it, and a
    resumed run could not reset it.
    """

    def __init__(self, seed, number):
        self._seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
        self._calls = 0

    def next(self, ordered=True):
        self._calls += 1
        return tf.random.experimental.stateless_fold_in(self._seeds, self._calls)


def random_affine(translation, rotation, zoom, seed):
    """Returns random shifts, rotations and zooms of batches.

    Args:
        translation: largest shift, as a share of the image's side; 0 for none. Images are shifted
            by whole pixels.
        rotation: largest rotation in either direction, in degrees; 0 for none.
        zoom: largest change of scale, as a share; 0 for none.
        seed: seed of the run.

    Returns:
        A function from images `(batch, height, width, channels)` and the number of the batch in the
        run to the changed images. The seed and the number of the batch determine all changes. Areas
        outside the original image are filled with 0. If maps of classes, uint8 `(batch, height,
        width)`, are passed as well, they are moved to the nearest pixels and filled with 255, and
        `(images, maps)` is returned.
    """
    for_images = _layers(translation, rotation, zoom, fill_value=0.0)
    for_maps = _layers(
        translation, rotation, zoom, fill_value=float(NOTHING), interpolation="nearest"
    )

    def augment(images, number, maps=None):
        seeds = _Seeds(seed, number)
        moved = [] if maps is None else [tf.cast(maps[..., None], tf.float32)]
        for layer, map_layer in zip(for_images, for_maps, strict=True):
            changes = layer.get_random_transformation(images, training=True, seed=seeds)
            images = layer.transform_images(images, changes, training=True)
            moved = [map_layer.transform_images(one, changes, training=True) for one in moved]
        return (images, *(tf.cast(one[..., 0], maps.dtype) for one in moved)) if moved else images

    return augment


def _layers(translation, rotation, zoom, **options):
    """Returns Keras' layers for those movements that are not 0."""
    options |= {"fill_mode": "constant", "data_format": "channels_last"}
    layers = []
    if translation:
        # By whole pixels: between them images blur, and test images do not.
        whole = options | {"interpolation": "nearest"}
        layers.append(keras.layers.RandomTranslation(translation, translation, **whole))
    if rotation:
        layers.append(keras.layers.RandomRotation(rotation / 360, **options))
    if zoom:
        layers.append(keras.layers.RandomZoom(zoom, **options))
    return layers
