"""Data sets by name or folder: labelled images with a training and a test split.

A split (`TableSplit`, `TfdsSplit`) has a `size` and two methods: `examples(shard)` in a fixed order
and `shuffled(seed, epoch, shard)`. Both return a `tf.data.Dataset` of `(image, label)`.

- The image is a uint8 tensor `(height, width, 3)`, or the content of its file, a string tensor of
  shape `()`.
- The label is an int64 index into the data set's `class_names`, or a uint8 map of these indices,
  `(height, width)`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from regnet_tf._checks import check_int
from regnet_tf._errors import UserError, import_optional, nearest_names

from . import digit_scenes, digits, folder, tfds_catalog
from .splits import Split
from .table import TableSplit
from .tfds_catalog import TfdsSplit

#: name -> function that loads a data set included in an installed package.
EMBEDDED = {
    "digits": digits.load,
    "digit_crops": digit_scenes.load_crops,
    "digit_scenes": digit_scenes.load,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """Labelled images.

    Attributes:
        name: name that was passed to `load`.
        class_names: names of the classes that were kept.
        train: the training split, or None.
        test: the test split, or None.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split | None
    test: Split | None

    @property
    def is_pixelwise(self) -> bool:
        """Whether every pixel has a class, not just every image."""
        split = self.test or self.train
        return isinstance(split, TableSplit) and split.labels.ndim > 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompleteDataSet(DataSet):
    """A data set that can be trained on and tested with: it has both splits."""

    train: Split
    test: Split

    @classmethod
    def of(cls, data: DataSet) -> "CompleteDataSet":
        """Returns the same data set; raises a `UserError` if it lacks a split."""
        if data.train is None:
            raise UserError(f"{data.name} has no images to train on.")
        if data.test is None:
            raise UserError(f"{data.name} has no images to test with.")
        return cls(name=data.name, class_names=data.class_names, train=data.train, test=data.test)


def load(
    name: str | Path,
    data_dir: str | Path | None = None,
    classes: Sequence[str] | None = None,
    images_per_class: int | None = None,
    seed: int = 0,
) -> DataSet:
    """Loads a data set, or selected classes and images of it.

    Args:
        name: a key of `EMBEDDED`; a folder of class folders, or of `train` and `validation` (or
            `val`, `test`) with class folders in each; or an image classification data set of
            tensorflow-datasets, such as "imagenet2012".
        data_dir: data directory of tensorflow-datasets; None for its default.
        classes: names of the classes to keep, in the order of their new labels; None for all.
        images_per_class: number of training images to keep of each class; None for all. Test
            images are always kept.
        seed: seed for the choice of training images.

    Raises:
        UserError: if the name is unknown (with the nearest names), a folder is empty, a class is
            unknown, a class has fewer than `images_per_class` images, or a package is missing.
        ValueError: if `images_per_class` is below 1.
    """
    if images_per_class is not None:
        check_int("images_per_class", images_per_class, minimum=1)
    name = str(name)
    if name in EMBEDDED:
        class_names, train, test = EMBEDDED[name]()
    elif Path(name).is_dir():
        class_names, train, test = folder.load(name)
    elif "/" in name and not tfds_catalog.is_known(name):
        raise UserError(f"There is no folder {name}.")
    elif tfds_catalog.is_known(name):
        class_names, train, test = tfds_catalog.load(name, data_dir)
    else:
        known = [*EMBEDDED, *tfds_catalog.known()]
        near = nearest_names(name, known) or list(EMBEDDED)
        if len(known) == len(EMBEDDED):  # tensorflow-datasets is missing; it may have the name
            import_optional("tensorflow_datasets")
        raise UserError(f"No data set is called {name!r}. Nearest: {', '.join(near)}.")
    data = DataSet(name=name, class_names=class_names, train=train, test=test)
    if classes is not None:
        data = _with_classes(data, classes)
    if images_per_class is not None:
        data = _with_few_images(data, images_per_class, seed)
    return data


def _with_classes(data, classes):
    """Returns only the images of these classes; labels are indices into `classes`."""
    unknown = [repr(one) for one in classes if one not in data.class_names]
    if unknown:
        raise UserError(
            f"`classes` of {data.name} must be among {', '.join(data.class_names)}."
            f" Received: {', '.join(unknown)}"
        )
    _check_tables(data, f"classes={','.join(classes)}")
    kept = [data.class_names.index(one) for one in classes]
    splits = {
        name: split and split.with_labels(kept)
        for name, split in (("train", data.train), ("test", data.test))
    }
    return dataclasses.replace(data, class_names=tuple(classes), **splits)


def _with_few_images(data, images_per_class, seed):
    """Returns the data set with a random choice of training images of each class."""
    _check_tables(data, f"images_per_class={images_per_class}")
    for label, name in enumerate(data.class_names):
        there_are = int((data.train.labels == label).sum())
        if images_per_class > there_are:
            raise UserError(
                f"`images_per_class` must be at most {there_are}, the number of training images "
                f"of class {name}. Received: images_per_class={images_per_class}"
            )
    return dataclasses.replace(data, train=data.train.with_few(images_per_class, seed))


def _check_tables(data, received):
    """Raises a `UserError` unless the splits are tables with one class per image."""
    listed = not isinstance(data.train, TfdsSplit) and not isinstance(data.test, TfdsSplit)
    if not listed or data.is_pixelwise:
        raise UserError(
            f"{data.name} cannot be restricted to classes or images: only the digits and folders"
            f" can. Received: {received}"
        )
