"""Data sets from a CSV file that lists images with their classes.

    path,label,split
    images/0001.jpg,cat,train
    images/0002.jpg,dog,test

The first line names the columns: one of `PATHS`, one of `LABELS`, and optionally `SPLIT`. Paths are
relative to the file's folder. Several classes of an image are separated by `;`.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regnet_tf._errors import UserError, printable
from regnet_tf._folders import is_image

from . import splitting
from .listing import as_class_name, as_paths, in_order, shortened, split_folders
from .splits import Loaded
from .table import TableSplit

PATHS = ("path", "file", "filename", "image", "image_path")
LABELS = ("label", "class", "labels", "classes", "category")
SPLIT = "split"
_SEVERAL = "labels"  # a column of this name may hold several classes, or none
_SEPARATOR = ";"
_DELIMITERS = (",", ";", "\t")
_NAME = "labels.csv"
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


class _Row(NamedTuple):
    """An image: its path, the text of its classes, and its split or None."""

    path: str
    label: str
    split: str | None


class _Columns(NamedTuple):
    """The delimiter and the places of the columns."""

    delimiter: str
    path: int
    label: int
    split: int | None
    several: bool


def find(path: Path) -> Path | None:
    """Returns the CSV file of a data set, or None if its folder is of another layout.

    Args:
        path: path of a CSV file; or a folder that contains `labels.csv`, or one CSV file with
            fitting columns.
    """
    if not path.is_dir():
        return path
    if any(split_folders(path)[:2]):
        return None
    if (path / _NAME).is_file():
        return path / _NAME
    tables = [one for one in path.iterdir() if one.suffix.lower() == ".csv" and one.is_file()]
    if len(tables) != 1:
        return None
    return tables[0] if _columns(_first_line(tables[0])) is not None else None


def load(file: Path, test_share: float | None = None, split_seed: int = 0) -> Loaded:
    """Loads the images that a CSV file lists. Classes are sorted by name.

    Images that do not exist are left out, with a note.

    Args:
        file: path of the CSV file. Its delimiter may be a comma, a semicolon or a tab.
        test_share: share of each class to hold out, if the file names no test images. None to
            hold out none; without a column of splits, all images are then test images.
        split_seed: seed of that split.

    Raises:
        UserError: if the file is missing or has no fitting columns (with those that it has), gives
            an image different classes, or lists no image that exists.
    """
    columns, rows = _read(file)
    rows, notes = _checked(file, rows, columns.several)
    several = columns.several or any(_SEPARATOR in row.label for row in rows)
    class_names, labels = _labels([row.label for row in rows], several)
    if len(class_names) < 2:
        raise UserError(f"{printable(file)} must name two or more classes.")
    paths = [row.path for row in rows]
    whole = TableSplit(as_paths(file.parent, paths), labels)
    kinds = np.array([row.split or "" for row in rows])
    tests = [kind for kind in ("validation", "test") if (kinds == kind).any()]
    if len(tests) == 2:
        notes += (f"The images of the split test in {printable(file)} are not used.",)
    if tests:
        named = whole.kept(kinds == "train")
        train = named if named.size else None
        return Loaded(class_names, train, whole.kept(kinds == tests[0]), notes)
    train_part, test_part, told = splitting.with_tests(
        printable(file),
        whole,
        paths,
        test_share,
        split_seed,
        for_training=columns.split is not None,
    )
    return Loaded(class_names, train_part, test_part, (*told, *notes))


def _read(file):
    """Returns the `_Columns` and `_Row`s of a file."""
    if not file.is_file():
        raise UserError(f"There is no file {printable(file)}.")
    first = _first_line(file)
    columns = _columns(first)
    if columns is None:
        found = max((next(csv.reader([first], delimiter=one)) for one in _DELIMITERS), key=len)
        raise UserError(
            f"The first line of {printable(file)} must name a column of paths ({', '.join(PATHS)})"
            f" and one of classes ({', '.join(LABELS)}). Received: {', '.join(map(repr, found))}"
        )
    rows = []
    with _opened(file) as opened:
        reader = csv.reader(opened, delimiter=columns.delimiter)
        next(reader)
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append(_row(file, reader.line_num, fields, columns))
    return columns, rows


def _row(file, number, fields, columns):
    """Returns a `_Row` of a line's fields."""

    def field(place):
        return fields[place].strip() if place < len(fields) else ""

    path, split = field(columns.path), None
    if not path:
        raise UserError(f"Line {number} of {printable(file)} names no image.")
    if columns.split is not None:
        split = _SPLITS.get(field(columns.split).lower())
        if split is None:
            raise UserError(
                f"The split in line {number} of {printable(file)} must be train, validation or"
                f" test. Received: {field(columns.split)!r}"
            )
    return _Row(path, as_class_name(field(columns.label)), split)


def _opened(file):
    # Names of files need not be UTF-8.
    return file.open(newline="", encoding="utf-8-sig", errors="surrogateescape")


def _first_line(file):
    with _opened(file) as opened:
        return opened.readline().replace("\0", "")


def _columns(first_line):
    """Returns the `_Columns` that the first line of a file names, or None."""
    for delimiter in _DELIMITERS:
        fields = next(csv.reader([first_line], delimiter=delimiter), [])
        names = [name.strip().lower() for name in fields]
        path, label = (next((n for n in known if n in names), None) for known in (PATHS, LABELS))
        if path is not None and label is not None:
            split = names.index(SPLIT) if SPLIT in names else None
            several = label == _SEVERAL
            return _Columns(delimiter, names.index(path), names.index(label), split, several)
    return None


def _checked(file, rows, may_be_none):
    """Returns each image that exists and has a class once, and notes about the others."""
    seen: dict[str, _Row] = {}
    repeated, missing, unnamed = [], [], []
    for row in rows:
        path = os.path.normpath(row.path)
        if path not in seen:
            seen[path] = row
        elif seen[path][1:] == row[1:]:
            repeated.append(row.path)
        else:
            former = seen[path]
            raise UserError(
                f"{printable(file)} lists {printable(row.path)} as {former.label!r}"
                f" ({former.split}) and as {row.label!r} ({row.split}). Separate several classes by"
                f" {_SEPARATOR!r}."
            )
    kept = []
    for row in seen.values():
        if not (file.parent / row.path).is_file():
            missing.append(row.path)
        elif not row.label and not may_be_none:
            unnamed.append(row.path)
        else:
            kept.append(row)
    if not kept:
        raise UserError(
            f"None of the {len(seen):,} images in {printable(file)} exists and has a class."
            f" Missing in {printable(file.parent)}: {shortened(missing) or 'none'}"
        )
    unlisted = _unlisted(file.parent, seen)
    of, unlisted = f"of {printable(file)}", _unlisted(file.parent, seen)
    notes = (
        *_note(missing, "image", f"{of} does not exist and is", f"{of} do not exist and are"),
        *_note(unnamed, "image", f"{of} has no class and is", f"{of} have no class and are"),
        *_note(repeated, "row", f"{of} repeats an image and is", f"{of} repeat an image and are"),
        *_note(
            unlisted,
            "image",
            f"in its folders is not listed in {printable(file)} and is",
            f"in its folders are not listed in {printable(file)} and are",
        ),
    )
    return kept, notes


def _note(names, thing, is_one, are_many):
    """Returns a line about what is left out; nothing if there is nothing."""
    if not names:
        return ()
    told = f"1 {thing} {is_one}" if len(names) == 1 else f"{len(names):,} {thing}s {are_many}"
    return (f"{told} left out: {shortened(names)}.",)


def _unlisted(folder, listed):
    """Returns images in the folders of the listed ones that are not listed themselves."""
    found = []
    for part in sorted({os.path.dirname(path) for path in listed}):
        if (folder / part).is_dir():
            names = (os.path.join(part, name) for name in os.listdir(folder / part))
            found += [one for one in names if one not in listed and is_image(folder / one)]
    return sorted(found)


def _labels(texts: Sequence[str], several: bool) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns `(class_names, labels)` from the text of each image's classes."""
    if not several:
        class_names = in_order(list(set(texts)))
        places = {name: place for place, name in enumerate(class_names)}
        return tuple(class_names), np.array([places[text] for text in texts], "int64")
    sets = [{name.strip() for name in text.split(_SEPARATOR)} - {""} for text in texts]
    class_names = in_order(sorted({name for one in sets for name in one}))
    labels = [[name in one for name in class_names] for one in sets]
    return tuple(class_names), np.array(labels, "uint8")
