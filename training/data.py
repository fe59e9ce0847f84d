"""Data sets as batches of images and labels."""

import dataclasses
import difflib
from collections.abc import Callable

import tensorflow as tf

from regnet_tf._checks import check_int
from training.errors import UserError, import_optional

_TEST_SHARE = 0.25
_SPLIT_SEED = 0  # not the run's: every run is tested on the same images


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """Labelled images, some to train on and some to test with.

    Batches are `(images, labels)`: images float32 `(batch, height, width, channels)`, labels int64
    `(batch,)`, indices into `class_names`.

    Attributes:
        name: key of `DATA_SETS`.
        class_names: a name for every class.
        channels: of an image.
        train_size: number of images to train on.
        test_size: number of images to test with.
        train: function of `batch_size` and `seed` that gives one epoch as a `tf.data.Dataset`. Each
            iteration has another order, and drops an incomplete last batch.
        test: function of `batch_size` that gives every test image exactly once, always in the same
            order.
    """

    name: str
    class_names: tuple[str, ...]
    channels: int
    train_size: int
    test_size: int
    train: Callable[[int, int], tf.data.Dataset]
    test: Callable[[int], tf.data.Dataset]


def load(name, image_size) -> DataSet:
    """Loads a data set.

    Args:
        name: key of `DATA_SETS`.
        image_size: side of the square images to give, in pixels.

    Raises:
        UserError: for an unknown name, with the nearest ones, or a missing package.
        ValueError: for an `image_size` below 1.
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(str(name), DATA_SETS, cutoff=0.5) or DATA_SETS
        raise UserError(f"No data set is called {name!r}. Nearest: {', '.join(near)}.")
    check_int("image_size", image_size, minimum=1)
    return DATA_SETS[name](image_size)


def digits_split():
    """scikit-learn's handwritten digits, a quarter of each class held out.

    Returns:
        `(train_images, test_images, train_labels, test_labels)`, numpy arrays: images
        `(count, 8, 8)` with values from 0 (paper) to 16 (ink), labels `(count,)` from 0 to 9.

    Raises:
        UserError: if scikit-learn is not installed.
    """
    digits = import_optional("sklearn.datasets").load_digits()
    return import_optional("sklearn.model_selection").train_test_split(
        digits.images,
        digits.target,
        test_size=_TEST_SHARE,
        stratify=digits.target,
        random_state=_SPLIT_SEED,
    )


def _digits(image_size):
    """The digits, enlarged, with values from 0 to 1."""
    train_images, test_images, train_labels, test_labels = digits_split()

    def prepare(images, labels):
        images = tf.cast(images[..., None], tf.float32) / 16  # N H W 1
        return tf.image.resize(images, (image_size, image_size)), labels

    def train(batch_size, seed):
        examples = tf.data.Dataset.from_tensor_slices((train_images, train_labels))
        examples = examples.shuffle(len(train_images), seed=seed)
        return examples.batch(batch_size, drop_remainder=True).map(prepare)

    def test(batch_size):
        examples = tf.data.Dataset.from_tensor_slices((test_images, test_labels))
        return examples.batch(batch_size).map(prepare)

    return DataSet(
        name="digits",
        class_names=tuple("0123456789"),
        channels=1,
        train_size=len(train_images),
        test_size=len(test_images),
        train=train,
        test=test,
    )


#: name -> function of the image size that loads the data set.
DATA_SETS = {"digits": _digits}
