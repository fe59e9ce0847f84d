"""Data sets in COCO's format: a folder of images, and a JSON file with the boxes.

    photos/annotations/instances_train.json    photos/train/0001.jpg
    photos/annotations/instances_val.json      photos/val/0001.jpg

`file_name` is relative to the folder of the split, whose name the JSON file has. COCO's own names,
such as `instances_train2017.json` and `train2017`, are found as well. Crowds (`iscrowd`) are left
out.
"""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError, printable
from regnet_tf._files import read_json

from .boxes import padded
from .listing import TEST, TRAIN, as_paths, in_order
from .splits import Loaded
from .table import TableSplit

ANNOTATIONS = "annotations"
_PARTS = ("images", "annotations", "categories")


def has_annotations(path: Path) -> bool:
    """Returns whether a folder has annotations in COCO's format."""
    return any((path / ANNOTATIONS).glob("instances_*.json"))


def load(path: Path) -> Loaded:
    """Loads images and boxes of a folder.

    Args:
        path: the folder, see the module.

    Raises:
        UserError: if a file is missing or does not follow COCO's format, or the splits have
            different categories.
    """
    files = {kind: _file(path, kind) for kind in (TRAIN, TEST)}
    found = {kind: _read(path, file) for kind, file in files.items() if file is not None}
    if not found:
        raise UserError(
            f"{printable(path / ANNOTATIONS)} must hold instances_train.json or"
            " instances_val.json (or validation, test)."
        )
    names = {kind: classes for kind, (classes, _, _) in found.items()}
    if len(set(names.values())) > 1:
        raise UserError(
            f"{printable(files[TRAIN])} and {printable(files[TEST])} must have the same categories."
        )
    train, test = (found[kind][1] if kind in found else None for kind in (TRAIN, TEST))
    notes = [note for _, _, of_file in found.values() for note in of_file]
    return Loaded(next(iter(names.values())), train, test, tuple(notes))


def _file(path, names):
    """Returns the annotations of a split, or None."""
    folder = path / ANNOTATIONS
    files = [one for name in names for one in sorted(folder.glob(f"instances_{name}*.json"))]
    return next(iter(files), None)


def _read(path, file):
    """Returns the class names, the split and notes of a JSON file."""
    content = read_json(file, *_PARTS)
    try:
        return _parsed(path, file, content)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{printable(file)} is not in COCO's format: {error!r}") from error


def _parsed(path, file, content):
    folder = path / file.stem.removeprefix("instances_")
    name_of = {one["id"]: one["name"] for one in content["categories"]}
    names = tuple(in_order(list(name_of.values())))
    images = {one["id"]: one for one in content["images"]}
    if not images or len(set(names)) < max(len(name_of), 1):
        raise UserError(f"{printable(file)} must have images and categories of different names.")
    boxes, crowds = defaultdict(list), 0
    for one in content["annotations"]:
        if one.get("iscrowd"):
            crowds += 1
            continue
        if one["image_id"] not in images or one["category_id"] not in name_of:
            raise UserError(
                f"{printable(file)} has an annotation of an unknown image or category:"
                f" {one['image_id']}, {one['category_id']}"
            )
        row = _row(images[one["image_id"]], one["bbox"], file)
        boxes[one["image_id"]].append((*row, names.index(name_of[one["category_id"]])))
    files = [one["file_name"] for one in images.values()]
    _check_files(folder, files)
    labels = padded([boxes[number] for number in images])
    notes = [f"{printable(file)}: {crowds:,} crowds are left out."] if crowds else []
    return names, TableSplit(as_paths(folder, files), labels), notes


def _row(image, box, file):
    """Returns top, left, bottom and right as shares of an image's sides."""
    left, top, width, height = map(float, box)
    sides = np.array([image["height"], image["width"]] * 2, float)
    row = np.clip(np.array([top, left, top + height, left + width]) / sides, 0, 1)
    if not (row[2] > row[0] and row[3] > row[1]):
        raise UserError(
            f"{printable(file)}: a box must be [left, top, width, height] with an area inside"
            f" the image {printable(image['file_name'])}. Received: {box}"
        )
    return row


def _check_files(folder, names):
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise UserError(
            f"{len(missing):,} of {len(names):,} images are not in {printable(folder)}, such as"
            f" {printable(missing[0])}."
        )
