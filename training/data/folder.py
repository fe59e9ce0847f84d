"""Data sets from a folder with one subfolder of images per class."""

from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError

from .table import TableSplit

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_TRAIN, _TEST = ("train",), ("validation", "val", "test")


def load(path):
    """Loads the images of a folder.

    Classes are sorted by folder name, or numerically if all names are numbers, as in ImageNet-V2.
    Hidden files, and files other than JPEG and PNG, are ignored.

    Args:
        path: a folder with a subfolder `train`, or `validation` (or `val`, or `test`), or both,
            which contain one folder of images per class. Or a folder with one folder of images per
            class; then all images are test images.

    Returns:
        `(class_names, train, test)`; a missing split is None.

    Raises:
        UserError: if a folder has no images, or the splits have different classes.
    """
    path = Path(path)
    folders = {kind: _first(path, names) for kind, names in (("train", _TRAIN), ("test", _TEST))}
    if not any(folders.values()):
        folders["test"] = path
    listed = {kind: _list(split) for kind, split in folders.items() if split is not None}
    class_names = next(iter(listed.values()))[0]
    if "train" in listed and "test" in listed and listed["test"][0] != class_names:
        others = sorted(set(class_names) ^ set(listed["test"][0]))
        raise UserError(
            f"{folders['train']} and {folders['test']} must hold the same classes."
            f" In only one of them: {', '.join(others[:8])}"
        )
    splits = {kind: TableSplit(*table) for kind, (_, *table) in listed.items()}
    return class_names, splits.get("train"), splits.get("test")


def _first(path, names):
    return next((path / name for name in names if (path / name).is_dir()), None)


def _list(path):
    """Returns the class names, and the paths and labels of all images."""
    folders = [one for one in path.iterdir() if one.is_dir() and not one.name.startswith(".")]
    are_numbers = all(one.name.isdecimal() for one in folders)
    folders.sort(key=lambda one: int(one.name) if are_numbers else one.name)
    files: list[str] = []
    labels: list[int] = []
    for label, one in enumerate(folders):
        found = sorted(file for file in one.rglob("*") if _is_image(file))
        if not found:
            raise UserError(f"{one} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        files += map(str, found)
        labels += [label] * len(found)
    if not files:
        raise UserError(f"{path} holds no folders of images, one for each class.")
    return tuple(one.name for one in folders), np.array(files), np.array(labels, "int64")


def _is_image(file):
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
