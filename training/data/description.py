"""Describes a data set in words: numbers of images, classes in order, rare classes."""

import numpy as np

from regnet_tf._boxes import SIDES

from .boxes import without_padding
from .dataset import DataSet
from .splits import Split
from .table import TableSplit

RARE = 10  # training images; a class with fewer is reported
_FEW_CLASSES, _SHOWN = 20, 5


def describe(data: DataSet) -> str:
    """Returns numbers of images, the classes in order with their numbers, and rare classes.

    For more than 20 classes, only the first and last ones are shown. Numbers of images of each
    class are known for classes of images in tables only.
    """
    sizes = [
        f"{split.size:,} images to {purpose}"
        for split, purpose in ((data.train, "train on"), (data.test, "test with"))
        if split is not None
    ]
    classes = len(data.class_names)
    splits = [split for split in (data.train, data.test) if split is not None]
    counts = [class_counts(split, classes) for split in splits]
    known = [one for one in counts if one is not None]
    names = [
        f"{name} ({' + '.join(f'{one[place]:,}' for one in known)})" if known else name
        for place, name in enumerate(data.class_names)
    ]
    if len(names) > _FEW_CLASSES:
        names = [*names[:_SHOWN], "...", *names[-_SHOWN:]]
    order = f"{classes:,} classes in this order: {', '.join(names)}"
    return "\n".join([f"{data.name}: {', '.join(sizes)}", order, *rare_classes(data)])


def class_counts(split: Split, classes: int) -> np.ndarray | None:
    """Returns the number of images or boxes of each class, `(classes,)`; None if unknown."""
    if not isinstance(split, TableSplit) or split.target == "pixels":
        return None
    if split.target == "boxes":
        found = without_padding(split.labels)[:, SIDES]
        return np.bincount(found.astype(int), minlength=classes)
    if split.target == "classes":
        return split.labels.sum(0, dtype=int)
    return np.bincount(split.labels, minlength=classes)


def rare_classes(data: DataSet) -> tuple[str, ...]:
    """Returns a line about classes with fewer than `RARE` training images, if there are any."""
    counts = None if data.train is None else class_counts(data.train, len(data.class_names))
    if counts is None:
        return ()
    few = [
        f"{name} ({count:,})"
        for name, count in zip(data.class_names, counts, strict=True)
        if count < RARE
    ]
    if not few:
        return ()
    have = "1 class has" if len(few) == 1 else f"{len(few):,} classes have"
    more = ", ..." if len(few) > _FEW_CLASSES else ""
    return (f"{have} fewer than {RARE} training images: {', '.join(few[:_FEW_CLASSES])}{more}.",)
