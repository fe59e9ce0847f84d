"""Writes example images of a run, for exporting its network."""

import numpy as np
import tensorflow as tf

from regnet_tf._files import replacing

from ..data.batches import decoded, resized_label
from ..data.parallel import parallel_map

#: Numbers of images: to calibrate integer quantization, and to check an exported network.
CALIBRATION_IMAGES, TEST_IMAGES = 200, 500


def write_examples(path, data, recipe):
    """Writes random training and test images, resized and cropped as for the network.

    Args:
        path: path of an `.npz` file. It contains "images" and "labels" of training images, and
            "test_images" and "test_labels". Images are uint8 `(count, image_size, image_size, 3)`,
            labels int64 `(count,)`, or `(count, image_size, image_size)` for segmentation.
        data: a `training.data.DataSet`.
        recipe: a `training.recipes.Recipe`.
    """
    images, labels = _examples(data.train, CALIBRATION_IMAGES, recipe)
    test_images, test_labels = _examples(data.test, TEST_IMAGES, recipe)
    with replacing(path) as partial:
        np.savez_compressed(
            partial,
            images=images,
            labels=labels,
            test_images=test_images,
            test_labels=test_labels,
        )


def _examples(split, count, recipe):
    def prepare(image, label):
        crop = recipe.preprocessing.resize_and_crop(decoded(image))
        levels = tf.cast(tf.round(tf.cast(crop, tf.float32)), tf.uint8)
        return levels, resized_label(label, recipe.preprocessing.image_size)

    chosen = split.shuffled(recipe.seed, 0).take(count)
    images, labels = zip(*parallel_map(chosen, prepare).as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels, "int64")
