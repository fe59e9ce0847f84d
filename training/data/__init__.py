"""Data sets by name or folder: labelled images, some to train on and some to test with.

A split of a data set (`TableSplit`, `TfdsSplit`) has a `size`, `examples(shard)` in a fixed order,
and `shuffled(seed, epoch, shard)`. Both are a `tf.data.Dataset` of `(image, label)`: the image a
uint8 tensor `(height, width, 3)` or the content of its file, a string tensor of shape `()`; the
label an int64 index into the data set's `class_names`, or a uint8 map of them, `(height, width)`.
"""

import dataclasses
import difflib
from pathlib import Path

from regnet_tf._checks import check_int
from regnet_tf._errors import UserError, import_optional

from . import digit_scenes, digits, folder, tfds_catalog
from .table import TableSplit
from .tfds_catalog import TfdsSplit

#: name -> function that loads what comes with an installed package.
EMBEDDED = {
    "digits": digits.load,
    "digit_crops": digit_scenes.load_crops,
    "digit_scenes": digit_scenes.load,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """Labelled images.

    Attributes:
        name: as it was asked for.
        class_names: a name for every class, of those that were kept.
        train: the split to train on; None where there is none.
        test: the split to test with; None where there is none.
    """

    name: str
    class_names: tuple[str, ...]
    train: TableSplit | TfdsSplit | None
    test: TableSplit | TfdsSplit | None

    @property
    def is_pixelwise(self) -> bool:
        """Whether every pixel has a class, not just every image."""
        split = self.test or self.train
        return isinstance(split, TableSplit) and split.labels.ndim > 1


def load(name, data_dir=None, classes=None, images_per_class=None, seed=0) -> DataSet:
    """Loads a data set or a part of it.

    Args:
        name: a key of `EMBEDDED`; a folder of class folders, or of `train` and `validation` (or
            `val`, `test`) with class folders in each; or a data set for image classification of
            tensorflow-datasets, such as "imagenet2012".
        data_dir: where tensorflow-datasets keeps its data; its own default by default.
        classes: names of the only classes to keep, in the order of their new labels; None for all.
        images_per_class: how many training images of each class to keep; None for all. Test images
            are kept all the same.
        seed: of the choice of these images.

    Raises:
        UserError: for an unknown name, with the nearest ones, an empty folder, an unknown class,
            more images a class than there are, or a missing package.
        ValueError: for an `images_per_class` below 1.
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
        near = difflib.get_close_matches(name, known, cutoff=0.5) or list(EMBEDDED)
        if len(known) == len(EMBEDDED):  # it may be one of those
            import_optional("tensorflow_datasets")
        raise UserError(f"No data set is called {name!r}. Nearest: {', '.join(near)}.")
    data = DataSet(name=name, class_names=class_names, train=train, test=test)
    if classes is not None:
        data = _with_classes(data, classes)
    if images_per_class is not None:
        data = _with_few_images(data, images_per_class, seed)
    return data


def _with_classes(data, classes):
    """The data set without the images of other classes; labels are indices into `classes`."""
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
    """The data set with as many training images of each class, chosen at random."""
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
    """Parts are made of what is listed in memory: not of a data set of tensorflow-datasets."""
    listed = not isinstance(data.train, TfdsSplit) and not isinstance(data.test, TfdsSplit)
    if not listed or data.is_pixelwise:
        raise UserError(
            f"A part of {data.name} can not be taken: only the digits and folders are listed by"
            f" class. Received: {received}"
        )
