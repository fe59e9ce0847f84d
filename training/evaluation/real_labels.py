"""ImageNet-ReaL: several right labels for each image of ImageNet's validation set."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError, printable
from regnet_tf._files import parse_json
from regnet_tf.class_names import imagenet_synsets

from ..data import DataSet
from ..data.table import TableSplit

_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+$")


def with_real_labels(data: DataSet, file: str | Path) -> DataSet:
    """Returns ImageNet's validation images with the labels of ImageNet-ReaL.

    Images without any label are left out.

    Args:
        data: the data set. Its test images are files named as in ImageNet: ILSVRC2012_val_00000001
            and so on.
        file: path of `real.json`: the list of labels of each image, in the order of the numbers.

    Raises:
        UserError: if the file has another content, an image has another name or a number without
            labels, or no image has labels.
    """
    labels = _read(Path(file))
    split = data.test
    if not isinstance(split, TableSplit) or split.paths is None or split.target == "pixels":
        raise UserError(f"--real-labels needs image files. {data.name} has none.")
    has = np.zeros((split.size, len(imagenet_synsets())), "uint8")
    for row, path in zip(has, split.paths, strict=True):
        found = _NUMBER.search(path)
        number = int(found[1]) if found else 0
        if not 1 <= number <= len(labels):
            raise UserError(
                "With --real-labels, images must be named ILSVRC2012_val_00000001 to"
                f" {len(labels):08d}. Received: {path}"
            )
        row[labels[number - 1]] = 1
    kept = has.any(-1)
    if not kept.any():
        raise UserError(f"No image of {data.name} has a label in {printable(file)}.")
    return dataclasses.replace(
        data,
        class_names=imagenet_synsets(),
        train=None,
        test=TableSplit(split.items[kept], has[kept]),
        any_class=True,
    )


def _read(file):
    """Returns the labels of each image."""
    # The file holds a list, and `parse_json` takes an object.
    text = b'{"labels": ' + file.read_bytes() + b"}"
    labels = parse_json(text, printable(file), "labels")["labels"]
    classes = len(imagenet_synsets())
    ok = isinstance(labels, list) and all(
        isinstance(one, list)
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < classes for n in one)
        for one in labels
    )
    if not ok:
        raise UserError(
            f"{printable(file)} must hold a list of labels from 0 to {classes - 1} for each image."
        )
    return labels
