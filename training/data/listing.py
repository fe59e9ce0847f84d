"""Names of files, folders and classes of data sets on disk, and what is said about them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regnet_tf._errors import printable

TRAIN, TEST = ("train",), ("validation", "val", "test")
_NAMED = 5  # names in a note


def split_folders(path: Path) -> tuple[Path | None, Path | None, tuple[str, ...]]:
    """Returns the folders of training and test images in a folder, or None, and notes."""
    train, test = (
        [path / name for name in names if (path / name).is_dir()] for names in (TRAIN, TEST)
    )
    notes = tuple(
        f"{other} is not used: the test images are those of {test[0]}."
        f" To count it: regnet evaluate RUN --data {other}"
        for other in test[1:]
    )
    return next(iter(train), None), next(iter(test), None), notes


def left_out_note(folder: Path | str, left_out: Sequence[str]) -> tuple[str, ...]:
    """Returns a line about files that are no images; nothing if there are none."""
    if not left_out:
        return ()
    one = len(left_out) == 1
    files = "1 file" if one else f"{len(left_out):,} files"
    are = "is hidden or no image and is" if one else "are hidden or no images and are"
    return (f"{files} in {printable(folder)} {are} left out: {shortened(left_out)}.",)


def shortened(names: Sequence[str], count: int = _NAMED) -> str:
    """Returns the first names of a list, separated by commas; "..." stands for the rest."""
    more = [] if len(names) <= count else ["..."]
    return ", ".join([*map(printable, names[:count]), *more])


def as_class_name(name: str) -> str:
    """Returns the name of a folder, or a text of a table, as the name of a class.

    What is not UTF-8 becomes a replacement character.
    """
    return os.fsencode(name).decode("utf-8", "replace")


def as_paths(folder: Path, names: Sequence[str]) -> np.ndarray:
    """Returns paths of files in a folder as bytes, the form of a `TableSplit`."""
    return np.array([os.fsencode(folder / name) for name in names], "S")


def in_order(names: Sequence[str]) -> list[str]:
    """Returns names of classes in order: by name, or by number if all are numbers."""
    are_numbers = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if are_numbers else 0, name))
