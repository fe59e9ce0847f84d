"""Data sets by name or path: labelled images with a training and a test split.

A split (`TableSplit`, `TfdsSplit`) has a `size`, a `target`, the `paths` of its files (or None),
and two methods: `examples(shard)` in a fixed order and `shuffled(seed, epoch, shard)`. Both return
a `tf.data.Dataset` of `(image, label)`.

- The image is a uint8 tensor `(height, width, channels)`, or the content of its file, a string
  tensor of shape `()`.
- The label depends on the target. For "class" it is an int64 index into the data set's
  `class_names`. For "classes" it is a uint8 vector `(classes,)` of 0 and 1. For "pixels" it is a
  uint8 map of indices, `(height, width)`, or the content of its PNG file; 255 is no class. For
  "boxes" it is a float32 array `(most, 5)`, see `training.data.boxes.padded`.
"""

from collections.abc import Sequence
from pathlib import Path

from regnet_tf._checks import check_int
from regnet_tf._errors import UserError, import_optional, nearest_names, printable
from regnet_tf.preprocessing import MAX_PIXELS

from . import coco, csv_labels, digit_scenes, digits, fashion_mnist, folder, masks, tfds_catalog
from .dataset import CompleteDataSet, DataSet
from .restriction import with_classes, with_few_images, with_held_out
from .splits import Loaded

__all__ = ["EMBEDDED", "CompleteDataSet", "DataSet", "load", "target_of"]

#: name -> function that loads a data set included in an installed package.
EMBEDDED = {
    "digits": digits.load,
    "digit_crops": digit_scenes.load_crops,
    "digit_scenes": digit_scenes.load,
    "digit_boxes": digit_scenes.load_boxes,
}


def load(
    name: str | Path,
    data_dir: str | Path | None = None,
    classes: Sequence[str] | None = None,
    images_per_class: int | None = None,
    seed: int = 0,
    test_share: float | None = None,
    split_seed: int = 0,
    skip_damaged: bool = False,
    target: str | None = None,
    max_pixels: int = MAX_PIXELS,
    held_out: float | None = None,
) -> DataSet:
    """Loads a data set, or selected classes and images of it.

    Args:
        name: a key of `EMBEDDED`; "fashion_mnist"; a folder of images (see `training.data.folder`,
            `training.data.masks` and `training.data.coco`); a CSV file, or a folder with one (see
            `training.data.csv_labels`); or an image data set of tensorflow-datasets, such as
            "imagenet2012".
        data_dir: data directory of tensorflow-datasets, or of Fashion-MNIST's files; None for the
            default.
        classes: names of the classes to keep, in the order of their new labels; None for all.
        images_per_class: number of training images to keep of each class; None for all. Test
            images are always kept.
        seed: seed for the choice of training images.
        test_share: share of each class to hold out for tests, where a folder or CSV file names no
            test images. None to hold out none: where nothing names a split, all images are test
            images.
        split_seed: seed of this split and of `held_out`.
        skip_damaged: whether to leave out classes without images and images without masks,
            instead of an error. See `training.data.checking` for damaged files.
        target: "pixels" for the masks of a data set of tensorflow-datasets that has labels too.
        max_pixels: largest number of pixels in a mask that is read for its classes.
        held_out: share of each class of the training images to hold out; they take the place of the
            test images. None to hold out none.

    Raises:
        UserError: if the name is unknown (with the nearest names), a folder is empty, a class is
            unknown, a class has fewer than `images_per_class` images, or a package is missing.
        ValueError: if `images_per_class` is below 1.
    """
    if images_per_class is not None:
        check_int("images_per_class", images_per_class, minimum=1)
    name = str(name)
    loaded = _loaded(name, data_dir, test_share, split_seed, skip_damaged, target, max_pixels)
    data = DataSet(name=name, **loaded._asdict())
    if classes is not None:
        data = with_classes(data, classes)
    if held_out is not None:
        data = with_held_out(data, held_out, split_seed)
    if images_per_class is not None:
        data = with_few_images(data, images_per_class, seed)
    return data


def _loaded(name, data_dir, test_share, split_seed, skip_damaged, target, max_pixels):
    """Loads a whole data set. The arguments are those of `load`."""
    if name in EMBEDDED:
        return Loaded(*EMBEDDED[name]())
    if Path(name).is_dir() or Path(name).suffix.lower() == ".csv":
        return _of_files(Path(name), test_share, split_seed, skip_damaged, max_pixels)
    if name == fashion_mnist.NAME:
        return Loaded(*fashion_mnist.load(data_dir))
    if "/" in name and not tfds_catalog.is_known(name):
        raise UserError(f"There is no folder {name}.")
    if tfds_catalog.is_known(name):
        return _of_tfds(name, data_dir, target)
    folders = [path.name for path in Path().iterdir() if path.is_dir()]
    known = [*EMBEDDED, fashion_mnist.NAME, *tfds_catalog.known(), *folders]
    near = nearest_names(name, known) or list(EMBEDDED)
    if not tfds_catalog.known():  # tensorflow-datasets is missing; it may have the name
        import_optional("tensorflow_datasets")
    raise UserError(
        f"No data set is called {name!r}, and there is no such folder."
        f" Nearest: {', '.join(map(printable, near))}."
    )


def target_of(name: str | Path, data_dir: str | Path | None = None) -> str:
    """Returns the `target` of a data set, to choose a recipe before it is loaded.

    Raises:
        UserError: as in `load`.
    """
    path = Path(name)
    if coco.has_annotations(path):
        return "boxes"
    if path.is_dir() and csv_labels.find(path) is None:
        return "pixels" if masks.has_masks(path) else "class"
    return load(name, data_dir).target


def _of_tfds(name, data_dir, target):
    """Loads a data set of tensorflow-datasets. Any one of several labels is a right answer."""
    loaded = Loaded(*tfds_catalog.load(name, data_dir, target))
    split = loaded.train or loaded.test
    return loaded._replace(any_class=split is not None and split.target == "classes")


def _of_files(path, test_share, split_seed, skip_damaged, max_pixels):
    """Loads a CSV file, or a folder of any layout."""
    if coco.has_annotations(path):
        return coco.load(path)
    table = csv_labels.find(path)
    if table is not None:
        return csv_labels.load(table, test_share, split_seed)
    if masks.has_masks(path):
        return masks.load(path, test_share, split_seed, skip_damaged, max_pixels)
    return folder.load(path, test_share, split_seed, skip_damaged)
