"""Data sets as batches of images and labels."""

import dataclasses
import difflib
from collections.abc import Callable

import numpy as np
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
        class_names: a name for every class, of those that were kept.
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


def load(name, image_size, classes=None, images_per_class=None, seed=0) -> DataSet:
    """Loads a data set or a part of it.

    Args:
        name: key of `DATA_SETS`.
        image_size: side of the square images to give, in pixels.
        classes: names of the only classes to keep, in the order of their new labels; None for all.
        images_per_class: how many training images of each class to keep; None for all. Test images
            are kept all the same.
        seed: of the choice of these images.

    Raises:
        UserError: for an unknown name, with the nearest ones, an unknown class, more images a class
            than there are, or a missing package.
        ValueError: for an `image_size` or `images_per_class` below 1.
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(str(name), DATA_SETS, cutoff=0.5) or DATA_SETS
        raise UserError(f"No data set is called {name!r}. Nearest: {', '.join(near)}.")
    check_int("image_size", image_size, minimum=1)
    if images_per_class is not None:
        check_int("images_per_class", images_per_class, minimum=1)
    class_names, split = DATA_SETS[name]()
    if classes is not None:
        split = _with_classes(name, class_names, split, classes)
        class_names = tuple(classes)
    if images_per_class is not None:
        split = _with_few_images(class_names, split, images_per_class, seed)
    return _data_set(name, class_names, split, image_size)


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


def _with_classes(name, class_names, split, classes):
    """The split without the images of other classes; labels are indices into `classes`."""
    unknown = [repr(one) for one in classes if one not in class_names]
    if unknown:
        raise UserError(
            f"`classes` of {name} must be among {', '.join(class_names)}."
            f" Received: {', '.join(unknown)}"
        )
    kept = [class_names.index(one) for one in classes]
    new_labels = np.full(len(class_names), -1)
    new_labels[kept] = np.arange(len(kept))
    train_images, test_images, train_labels, test_labels = split
    in_train, in_test = np.isin(train_labels, kept), np.isin(test_labels, kept)
    return (
        train_images[in_train],
        test_images[in_test],
        new_labels[train_labels[in_train]],
        new_labels[test_labels[in_test]],
    )


def _with_few_images(class_names, split, images_per_class, seed):
    """The split with as many training images of each class, chosen at random."""
    train_images, test_images, train_labels, test_labels = split
    rng = np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(class_names):
        places = np.flatnonzero(train_labels == label)
        if images_per_class > len(places):
            raise UserError(
                f"`images_per_class` must be at most {len(places)}, the number of training images "
                f"of class {name}. Received: images_per_class={images_per_class}"
            )
        chosen.extend(rng.choice(places, images_per_class, replace=False))
    return train_images[chosen], test_images, train_labels[chosen], test_labels


def _data_set(name, class_names, split, image_size):
    """Arrays as a data set of resized images."""
    train_images, test_images, train_labels, test_labels = split

    def prepare(images, labels):
        return tf.image.resize(images, (image_size, image_size)), labels

    def train(batch_size, seed):
        examples = tf.data.Dataset.from_tensor_slices((train_images, train_labels))
        examples = examples.shuffle(len(train_images), seed=seed)
        return examples.batch(batch_size, drop_remainder=True).map(prepare)

    def test(batch_size):
        examples = tf.data.Dataset.from_tensor_slices((test_images, test_labels))
        return examples.batch(batch_size).map(prepare)

    return DataSet(
        name=name,
        class_names=class_names,
        channels=train_images.shape[-1],
        train_size=len(train_images),
        test_size=len(test_images),
        train=train,
        test=test,
    )


def _digits():
    """The digits with values from 0 to 1."""
    train_images, test_images, train_labels, test_labels = digits_split()
    train_images, test_images = (
        (images[..., None] / 16).astype("float32")  # N H W 1
        for images in (train_images, test_images)
    )
    return tuple("0123456789"), (train_images, test_images, train_labels, test_labels)


#: name -> function that loads the whole data set: a name for every class, and
#: `(train_images, test_images, train_labels, test_labels)`, numpy arrays, images float32
#: `(count, height, width, channels)`, labels int64 `(count,)`.
DATA_SETS = {"digits": _digits}
