"""Data sets restricted to some classes, to few images of each class, or to training images."""

import dataclasses
from collections.abc import Sequence

from regnet_tf._errors import UserError

from .dataset import DataSet
from .splitting import held_out_of_classes
from .table import TableSplit
from .tfds_catalog import TfdsSplit


def with_classes(data: DataSet, classes: Sequence[str]) -> DataSet:
    """Returns only the images of these classes; labels are indices into `classes`.

    Raises:
        UserError: if a class is unknown, or the data set cannot be restricted.
    """
    unknown = [repr(one) for one in classes if one not in data.class_names]
    if unknown:
        raise UserError(
            f"`classes` of {data.name} must be among {', '.join(data.class_names)}."
            f" Received: {', '.join(unknown)}"
        )
    train, test = _tables(data, ("class", "classes"), f"classes={','.join(classes)}")
    kept = [data.class_names.index(one) for one in classes]
    return dataclasses.replace(
        data,
        class_names=tuple(classes),
        train=train and train.with_labels(kept),
        test=test and test.with_labels(kept),
    )


def with_few_images(data: DataSet, images_per_class: int, seed: int) -> DataSet:
    """Returns the data set with a random choice of training images of each class.

    Raises:
        UserError: if a class has fewer images, or the data set cannot be restricted.
    """
    train, _ = _tables(data, ("class",), f"images_per_class={images_per_class}")
    if train is None:
        raise UserError(f"{data.name} has no images to train on.")
    for label, name in enumerate(data.class_names):
        there_are = int((train.labels == label).sum())
        if images_per_class > there_are:
            raise UserError(
                f"`images_per_class` must be at most {there_are}, the number of training images "
                f"of class {name}. Received: images_per_class={images_per_class}"
            )
    return dataclasses.replace(data, train=train.with_few(images_per_class, seed))


def with_held_out(data: DataSet, share: float, seed: int) -> DataSet:
    """Returns only training images: a share of each class takes the place of the test images.

    Raises:
        UserError: if the data set has no training images, or cannot be restricted.
    """
    train, _ = _tables(data, ("class",), f"held_out={share:g}")
    if train is None:
        raise UserError(f"{data.name} has no images to train on.")
    names = train.paths or [str(place) for place in range(train.size)]
    chosen = held_out_of_classes(names, train.labels, share, seed)
    note = (
        f"{data.name}: {100 * share:.4g} % of the training images of each class are held out"
        f" (seed {seed}) and take the place of the test images."
    )
    return dataclasses.replace(
        data, train=train.kept(~chosen), test=train.kept(chosen), notes=(*data.notes, note)
    )


def _tables(
    data: DataSet, targets: Sequence[str], received: str
) -> tuple[TableSplit | None, TableSplit | None]:
    """Returns both splits; raises a `UserError` unless they are tables with one of the targets."""
    train, test = data.train, data.test
    if data.target in targets:
        if not isinstance(train, TfdsSplit) and not isinstance(test, TfdsSplit):
            return train, test
    raise UserError(
        f"{data.name} cannot be restricted to classes or images: only the digits, folders and CSV"
        f" files with classes of whole images can. Received: {received}"
    )
