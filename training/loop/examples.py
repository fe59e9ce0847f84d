"""Writes example images of a run, for exporting its network."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from regnet_tf import Preprocessing
from regnet_tf._files import replacing

from ..data import CompleteDataSet
from ..data.batches import test_crop
from ..data.checking import naming_damaged_files
from ..data.parallel import parallel_map

#: Numbers of images: to calibrate integer quantization, and to check an exported network.
CALIBRATION_IMAGES, TEST_IMAGES = 200, 500
_BATCH = 50


def write_examples(
    path: Path, data: CompleteDataSet, preprocessing: Preprocessing, seed: int
) -> None:
    """Writes random training and test images, resized and cropped as for the network.

    Args:
        path: path of an `.npz` file. It contains "images" and "labels" of training images, and
            "test_images" and "test_labels". Images are uint8 `(count, image_size, image_size,
            channels)`. Labels are int64 `(count,)`; or `(count, classes)`, 1 for each class of an
            image; or `(count, image_size, image_size)` for segmentation, 255 for ignored pixels;
            or float32 boxes `(count, most, 5)`, see `training.data.boxes`.
        data: the data set.
        preprocessing: a `regnet_tf.Preprocessing`.
        seed: seed of the choice of images.

    Raises:
        UserError: if an image is damaged; it names the file.
    """
    with naming_damaged_files(data.train, data.test, max_pixels=preprocessing.max_pixels):
        images, labels = _examples(data.train, CALIBRATION_IMAGES, preprocessing, seed)
        test_images, test_labels = _examples(data.test, TEST_IMAGES, preprocessing, seed)
    with replacing(path) as partial:
        np.savez_compressed(
            partial,
            images=images,
            labels=labels,
            test_images=test_images,
            test_labels=test_labels,
        )


def _examples(split, count, preprocessing, seed):
    def prepare(image, label):
        crop, label = test_crop(image, label, split.target, preprocessing)
        return tf.cast(tf.round(tf.cast(crop, tf.float32)), tf.uint8), label

    examples = parallel_map(split.shuffled(seed, 0).take(count), prepare).batch(_BATCH)
    images, labels = map(np.concatenate, zip(*examples.as_numpy_iterator(), strict=True))
    return images, labels.astype("float32" if split.target == "boxes" else "int64")
