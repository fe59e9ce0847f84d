"""Data sets from a folder with one subfolder of images per class."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from regnet_tf._errors import UserError, printable
from regnet_tf._files import IMAGE_SUFFIXES
from regnet_tf._folders import images_below

from . import splitting
from .listing import (
    TEST,
    TRAIN,
    as_class_name,
    as_paths,
    in_order,
    left_out_note,
    shortened,
    split_folders,
)
from .splits import Loaded
from .table import TableSplit


class _Files(NamedTuple):
    """The images of class folders; names are paths relative to `folder`."""

    folder: Path
    class_names: tuple[str, ...]
    names: list[str]
    labels: np.ndarray
    notes: tuple[str, ...]

    @property
    def split(self):
        return TableSplit(as_paths(self.folder, self.names), self.labels)


def load(
    path: Path, test_share: float | None = None, split_seed: int = 0, skip_empty: bool = False
) -> Loaded:
    """Loads the images of a folder.

    Classes are sorted by folder name, or numerically if all names are numbers, as in ImageNet-V2.
    Images may be at any depth in the folder of their class.

    Args:
        path: a folder with a subfolder `train`, or `validation` (or `val`, or `test`), or both,
            which contain one folder of images per class. Or a folder with one folder of images per
            class.
        test_share: share of each class to hold out, if there is no folder of test images. None to
            hold out none; then the images of class folders alone are all test images.
        split_seed: seed of that split.
        skip_empty: whether to leave out classes without images, instead of an error.

    Raises:
        UserError: if a folder has no images, or the splits have different classes.
    """
    train_folder, test_folder, notes = split_folders(path)
    if test_folder is None:
        files = _list(train_folder or path, skip_empty)
        train, test, told = splitting.with_tests(
            printable(path),
            files.split,
            files.names,
            test_share,
            split_seed,
            for_training=train_folder is not None,
        )
        return Loaded(files.class_names, train, test, (*told, *notes, *files.notes))
    test = _list(test_folder, skip_empty)
    if train_folder is None:
        notes += _unused_note(path, test_folder)
        return Loaded(test.class_names, None, test.split, (*notes, *test.notes))
    train = _list(train_folder, skip_empty)
    if train.class_names != test.class_names:
        others = sorted(set(train.class_names) ^ set(test.class_names))
        raise UserError(
            f"{printable(train_folder)} and {printable(test_folder)} must hold the same classes."
            f" In only one of them: {shortened(others, 8)}"
        )
    notes += train.notes + test.notes
    return Loaded(train.class_names, train.split, test.split, notes)


def _unused_note(path, test_folder):
    """Returns a line about folders, maybe of classes, next to a folder of test images alone."""
    folders = (one.name for one in path.iterdir() if one.is_dir())
    others = sorted(name for name in folders if name not in TEST and not name.startswith("."))
    if not others:
        return ()
    return (
        f"{printable(test_folder)} holds the test images, so these folders are not used:"
        f" {shortened(others)}. Training images belong in {printable(path / TRAIN[0])}.",
    )


def _list(folder, skip_empty):
    """Returns the `_Files` of a folder of class folders."""
    entries = [one.name for one in folder.iterdir()]
    classes = [one for one in entries if (folder / one).is_dir() and not one.startswith(".")]
    found = {one: images_below(folder / one) for one in in_order(classes)}
    left_out = sorted(set(entries) - set(classes))
    left_out += [f"{name}/{file}" for name, files in found.items() for file in files.left_out]
    notes = left_out_note(folder, left_out)
    empty = [name for name, files in found.items() if not files.images]
    if not classes or (skip_empty and len(empty) == len(classes)):
        raise UserError(f"{printable(folder)} holds no folders of images, one for each class.")
    if empty and not skip_empty:
        are = "holds" if len(empty) == 1 else "hold"
        raise UserError(
            f"{shortened([str(folder / name) for name in empty])} {are} no images"
            f" ({', '.join(IMAGE_SUFFIXES)})."
        )
    if empty:
        notes += (f"Classes without images are left out: {shortened(empty)}.",)
    images = {name: files.images for name, files in found.items() if files.images}
    class_names = tuple(map(as_class_name, images))
    if len(set(class_names)) < len(class_names):
        raise UserError(
            f"Names of folders in {printable(folder)} differ only in bytes that are not UTF-8."
        )
    return _Files(
        folder,
        class_names,
        [f"{name}/{file}" for name, files in images.items() for file in files],
        np.repeat(np.arange(len(images)), [len(files) for files in images.values()]),
        notes,
    )
