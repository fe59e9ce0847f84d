"""Finds files of a data set that cannot be read, and names them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from regnet_tf._decoding import limited
from regnet_tf._errors import UserError
from regnet_tf.preprocessing import MAX_PIXELS, decode_image

from .dataset import DataSet
from .masks import check_mask
from .parallel import parallel_map
from .reading import read_all, short_reason
from .splits import Split
from .table import TableSplit, readable_paths

_NAMED = 10  # files in an error
# Errors of machines and memory.
_NOT_OF_FILES = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
)

Data = TypeVar("Data", bound=DataSet)


def check_files(
    data: Data, skip_damaged: bool = False, verbose: int = 0, max_pixels: int = MAX_PIXELS
) -> Data:
    """Reads all files of a data set, and leaves out those that cannot be read.

    Images in memory and in tensorflow-datasets are not checked.

    Args:
        data: a `DataSet`.
        skip_damaged: whether to leave out files that cannot be read, instead of an error.
        verbose: 1 for a progress bar, 0 for none.
        max_pixels: largest number of pixels in a file.

    Returns:
        The data set without the files that cannot be read; its notes name them.

    Raises:
        UserError: if a file cannot be read and `skip_damaged` is False, or if no file of a split
            can be read. It names at most ten files.
    """
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for name in ("train", "test"):
        split = getattr(data, name)
        found = damaged_files(split, len(data.class_names), verbose, max_pixels)
        problems += found.values()
        kept[name] = split
        if found:
            if len(found) == split.size:
                raise UserError(f"No image of {data.name} can be read. {_listed(problems)}")
            kept[name] = split.kept(np.delete(np.arange(split.size), list(found)))
    if not problems:
        return data
    files = "1 file" if len(problems) == 1 else f"{len(problems):,} files"
    if not skip_damaged:
        raise UserError(
            f"{files} of {data.name} cannot be read. {_listed(problems)} To leave them out:"
            " --set data.skip_damaged=true"
        )
    are = "is" if len(problems) == 1 else "are"
    note = f"{files} of {data.name} cannot be read and {are} left out. {_listed(problems)}"
    return dataclasses.replace(data, **kept, notes=(*data.notes, note))


def damaged_files(
    split: Split | None,
    classes: int | None = None,
    verbose: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> dict[int, str]:
    """Finds the files of a split that cannot be read, and masks that do not fit.

    Args:
        split: a split, or None.
        classes: number of classes, to find masks with other indices; None to find no such masks.
        verbose: 1 for a progress bar, 0 for none.
        max_pixels: largest number of pixels in a file.

    Returns:
        Dict from the place of an image in the split to `"PATH: REASON"`.
    """
    if not isinstance(split, TableSplit) or split.paths is None:
        return {}
    if split.labels.dtype.kind != "S":
        _, reasons = read_all(_rows(max_pixels), split.items, verbose=verbose)
        return {place: f"{split.paths[place]}: {reason}" for place, reason in reasons.items()}
    return _damaged_pairs(split, classes, verbose, max_pixels)


def _damaged_pairs(split, classes, verbose, max_pixels):
    """Returns `damaged_files` of images with masks."""

    def check(image, mask):
        rows, size = _checked(image, max_pixels)
        return tf.concat([rows, check_mask(size, tf.io.read_file(mask), max_pixels)], 0)

    values, reasons = read_all(check, split.items, split.labels, verbose=verbose)
    masks, found, places = readable_paths(split.labels), {}, list(reasons)
    of_images = set()
    if places:
        _, of_these = read_all(_rows(max_pixels), split.items[places])
        of_images = {places[number] for number in of_these}
    for place, (_, differs, largest) in enumerate(values.tolist()):
        if place in reasons:
            path = split.paths[place] if place in of_images else masks[place]
            found[place] = f"{path}: {reasons[place]}"
        elif differs:
            found[place] = f"{masks[place]}: Its size differs from that of {split.paths[place]}"
        elif classes is not None and largest >= classes:
            found[place] = (
                f"{masks[place]}: It has the index {largest}; classes are 0 to {classes - 1}"
            )
    return found


def _rows(max_pixels):
    """Returns a function of an image's path, which decodes the image."""
    return lambda path: _checked(path, max_pixels)[0]


def _checked(path, max_pixels):
    """Decodes an image as cheaply as shows all damage.

    Returns:
        `(rows, size)`: number of decoded rows, int64 `(1,)`, which makes TensorFlow decode them;
        and `(height, width)`, int32.
    """
    content = limited(tf.io.read_file(path), max_pixels)

    def of_jpeg():
        # All data is read, but every block of 8x8 pixels becomes one pixel.
        small = tf.io.decode_jpeg(content, channels=3, ratio=8)
        return tf.shape(small, tf.int64)[:1], tf.io.extract_jpeg_shape(content)[:2]

    def of_another():
        image = decode_image(content, max_pixels=max_pixels)
        return tf.shape(image, tf.int64)[:1], tf.shape(image)[:2]

    return tf.cond(tf.io.is_jpeg(content), of_jpeg, of_another)


@contextlib.contextmanager
def naming_damaged_files(*splits: Split | None, max_pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Context manager for reading images: an error of TensorFlow becomes one that names the files.

    An error is passed on if all files of the splits can be read.

    Args:
        *splits: splits that the block reads.
        max_pixels: largest number of pixels in a file.

    Raises:
        UserError: if a file of the splits cannot be read.
    """
    try:
        yield
    except _NOT_OF_FILES:
        raise
    except (tf.errors.OpError, UnicodeDecodeError) as error:  # the latter about a file's name
        problems = [problem for split in splits for problem in _problems(split, max_pixels)]
        if not problems:
            raise
        raise UserError(f"An image cannot be read. {_listed(problems)}") from error


def _problems(split, max_pixels):
    """Returns `"PATH: REASON"` of each damaged file, or of the first damaged example."""
    if split is None or isinstance(split, TableSplit):
        return damaged_files(split, max_pixels=max_pixels).values()

    def decoded(image, label):
        return tf.shape(decode_image(image, max_pixels=max_pixels))

    images = parallel_map(split.examples(), decoded)
    place = 0
    try:
        for _ in images:
            place += 1
    except tf.errors.OpError as error:
        name = f"{split.builder.info.full_name}, split {split.name}, image {place}"
        return [f"{name}: {short_reason(error)}"]
    return []


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - _NAMED
    rest = [f"and {more:,} more"] if more > 0 else []
    return "; ".join([*list(problems)[:_NAMED], *rest]) + "."
