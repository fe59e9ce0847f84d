"""Data sets from a folder of images and a folder of masks, with the class of every pixel.

    garden/images/0001.jpg    garden/masks/0001.png    garden/classes.txt

A mask is a PNG file of its image's size and name. Its pixels are indices of classes, levels of gray
or of a palette; 255 is ignored. The file `classes.txt` names the classes, one a line. `train` and
`validation` (or `val`, `test`) may hold the two folders each.
"""

import os
from pathlib import Path

import tensorflow as tf

from regnet_tf._errors import UserError, printable
from regnet_tf._folders import images_below
from regnet_tf.preprocessing import MAX_PIXELS

from . import splitting
from .listing import (
    as_paths,
    left_out_note,
    shortened,
    split_folders,
)
from .maps import IGNORED, decode_map
from .reading import read_all
from .splits import Loaded
from .table import TableSplit, readable_paths

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"


def has_masks(path: Path) -> bool:
    """Returns whether a folder, or one of its splits, has the folders `images` and `masks`."""
    folders = [path, *(one for one in split_folders(path)[:2] if one is not None)]
    return any((one / IMAGES).is_dir() and (one / MASKS).is_dir() for one in folders)


def load(
    path: Path,
    test_share: float | None = None,
    split_seed: int = 0,
    skip_missing: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Loaded:
    """Loads images and masks of a folder.

    Args:
        path: the folder, see the module.
        test_share: share of the images to hold out, if there is no folder of test images. None to
            hold out none; then images outside of splits are all test images.
        split_seed: seed of that split.
        skip_missing: whether to leave out images without masks, instead of an error.
        max_pixels: largest number of pixels in a mask that is read for its classes.

    Raises:
        UserError: if there are no images, an image has no mask, or `classes.txt` is unfit.
    """
    train_folder, test_folder, notes = split_folders(path)
    if (path / IMAGES).is_dir():
        train_folder, test_folder, notes = None, None, ()
    if test_folder is None:
        names, whole, told = _list(train_folder or path, skip_missing)
        class_names, unnamed = _class_names(path, [whole], max_pixels)
        train, test, held_out = splitting.with_tests(
            printable(path),
            whole,
            names,
            test_share,
            split_seed,
            for_training=train_folder is not None,
        )
        return Loaded(class_names, train, test, (*held_out, *notes, *told, *unnamed))
    _, test, told = _list(test_folder, skip_missing)
    if train_folder is None:
        class_names, unnamed = _class_names(path, [test], max_pixels)
        return Loaded(class_names, None, test, (*notes, *told, *unnamed))
    _, train, also = _list(train_folder, skip_missing)
    class_names, unnamed = _class_names(path, [train, test], max_pixels)
    return Loaded(class_names, train, test, (*notes, *also, *told, *unnamed))


def largest_class(split: TableSplit, max_pixels: int = MAX_PIXELS) -> int:
    """Returns the largest index in the masks of a split, except for `IGNORED`; -1 without one.

    Raises:
        UserError: if a mask cannot be read; it names the file.
    """

    def largest(path):
        return _largest(decode_map(tf.io.read_file(path), max_pixels))[None]

    values, reasons = read_all(largest, split.labels)
    if reasons:
        place, reason = next(iter(reasons.items()))
        raise UserError(f"{readable_paths(split.labels)[place]} cannot be read: {reason}")
    return int(values.max())


def check_mask(size: tf.Tensor, content: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Returns whether a mask differs in size from its image, and its largest class; int64 `(2,)`.

    Args:
        size: size of the image, `(height, width)`, int32.
        content: content of the mask's file.
        max_pixels: largest number of pixels in the file.
    """
    pixels = decode_map(content, max_pixels)
    differs = tf.reduce_any(tf.shape(pixels) != size)
    return tf.stack([tf.cast(differs, tf.int64), _largest(pixels)])


def _largest(pixels):
    """Returns the largest class in a map, int64; -1 without one."""
    pixels = tf.cast(pixels, tf.int64)
    return tf.reduce_max(tf.where(pixels == IGNORED, tf.constant(-1, tf.int64), pixels))


def _list(folder, skip_missing):
    """Returns `(names, split, notes)` of a folder with both folders."""
    for name in (IMAGES, MASKS):
        if not (folder / name).is_dir():
            raise UserError(f"{printable(folder)} must hold the folders {IMAGES} and {MASKS}.")
    images, masks = images_below(folder / IMAGES), images_below(folder / MASKS)
    mask_of = {_stem(name): name for name in masks.images if name.lower().endswith(".png")}
    if len({_stem(name) for name in images.images}) < len(images.images):
        stems = [_stem(name) for name in images.images]
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise UserError(f"Images in {printable(folder / IMAGES)} share a name: {shortened(twice)}.")
    missing = [name for name in images.images if _stem(name) not in mask_of]
    names = [name for name in images.images if _stem(name) in mask_of]
    without = (
        f"{len(missing):,} of {len(images.images):,} images in {printable(folder / IMAGES)} have no"
        f" mask of their name in {printable(folder / MASKS)}: {shortened(missing)}"
    )
    if not names and not missing:
        raise UserError(f"{printable(folder / IMAGES)} holds no images.")
    if missing and not (skip_missing and names):
        raise UserError(f"{without}.")
    notes: tuple[str, ...] = (f"{without}. They are left out.",) if missing else ()
    paired = {mask_of[_stem(name)] for name in names}
    unused = [name for name in masks.images if name not in paired]
    notes += left_out_note(folder / IMAGES, images.left_out)
    notes += left_out_note(folder / MASKS, masks.left_out)
    if unused:
        notes += (f"{len(unused):,} masks have no image and are left out: {shortened(unused)}.",)
    image_paths = as_paths(folder / IMAGES, names)
    mask_paths = as_paths(folder / MASKS, [mask_of[_stem(name)] for name in names])
    return names, TableSplit(image_paths, mask_paths), notes


def _stem(name):
    return os.path.splitext(name)[0]


def _class_names(path, tables, max_pixels):
    """Returns the names of the classes, and a note if they have none."""
    file = path / CLASSES
    if file.is_file():
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        if len(set(lines)) < len(lines) or "" in lines or not 1 < len(lines) <= IGNORED:
            raise UserError(
                f"{printable(file)} must hold 2 to {IGNORED} different names, one a line."
                f" Received: {shortened(lines)}"
            )
        return tuple(lines), ()
    count = 1 + max(largest_class(table, max_pixels) for table in tables)
    if count < 2:
        raise UserError(
            f"The masks of {printable(path)} must hold two or more classes. Received: only 0"
            f" ({IGNORED} is ignored; a class must be 1, 2, ...)"
        )
    told = (
        f"{printable(path)} has no {CLASSES}: {count} classes, by the largest index in the masks."
    )
    return tuple(f"class {number}" for number in range(count)), (told,)
