"""Inspects a data set as training sees it: counts, a sheet of images, speed."""

import re
import statistics
from pathlib import Path

from regnet_tf._checks import check_number
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import print_paths

from ..recipes import RECIPES, get_recipe
from . import load, sheet, speed, torchvision_loader

#: Default for the images per second that a device consumes.
WISHED_SPEED = 1000.0
SECONDS = 5.0


def inspect(
    name,
    data_dir=None,
    recipe=None,
    batch_size=None,
    out=None,
    wished_speed=WISHED_SPEED,
    seconds=SECONDS,
    compare_torchvision=False,
):
    """Prints counts and the speed of the input pipeline, and writes a sheet of training images.

    Args:
        name: name of a data set, see `training.data.load`.
        data_dir: data directory of tensorflow-datasets.
        recipe: name of the recipe with the augmentation. None for the first recipe of this data
            set, else of ImageNet, else of the digits.
        batch_size: batch size; None for the recipe's, or the number of training images if that is
            smaller.
        out: `Path` of the sheet, a PNG file; None for a file in `runs/inspection`.
        wished_speed: images per second that the device consumes.
        seconds: duration of the measurement.
        compare_torchvision: whether to measure torchvision's loader as well.

    Raises:
        UserError, ValueError: before any work, if an argument is unknown, missing or out of range.
    """
    check_number("wished_speed", wished_speed, above=0)
    check_number("seconds", seconds, above=0)
    import_optional("matplotlib")
    changes = {} if batch_size is None else {"schedule.batch_size": batch_size}
    recipe = get_recipe(recipe or _recipe_for(name), changes)
    data = _load(name, data_dir, recipe)
    images, size = data.train.size, recipe.schedule.batch_size
    if batch_size is None and size > images:
        size = images
        recipe = recipe.replace({"schedule.batch_size": size})
    if size > images:
        raise UserError(
            f"`batch_size` must be at most {images}, the number of images to train on."
            f" Received: batch_size={size}"
        )
    if compare_torchvision:
        if not (Path(name) / "train").is_dir():
            raise UserError(f"The comparison needs a folder of images, not {name}.")
        torchvision_loader.import_torchvision()

    classes = len(data.class_names)
    print(f"{name}: {classes:,} classes")
    for purpose, split in (("train on", data.train), ("test with", data.test)):
        print(f"  {0 if split is None else split.size:>12,} images to {purpose}")
    path = out or Path("runs/inspection") / f"{_file_name(name)}.png"
    sheet.write_sheet(path, data, recipe)
    print_paths(path.parent, {path.name: f"training images of the recipe {recipe.name}"})
    print(f"The input pipeline alone, {recipe.images.size} pixels, batches of {size}:", flush=True)
    _print_speed(speed.measure(data.train, recipe, classes, seconds), wished_speed)
    if compare_torchvision:
        folder = Path(name) / "train"
        compared = torchvision_loader.compare(folder, data.train, recipe, classes, seconds=seconds)
        print_comparison(compared)


def _recipe_for(name):
    """Returns the first recipe of a data set, else one of ImageNet, else one of the digits."""
    made_for = {recipe.data.name: recipe.name for recipe in reversed(RECIPES.values())}
    return next(made_for[data] for data in (name, "imagenet2012", "digits") if data in made_for)


def _load(name, data_dir, recipe):
    """Loads the data set, restricted to the recipe's classes and images if it is the recipe's."""
    if recipe.data.name == name:
        data = load(name, data_dir, recipe.data.classes, recipe.data.images_per_class, recipe.seed)
    else:
        data = load(name, data_dir)
    if data.train is None:
        raise UserError(f"{name} has no images to train on. A folder has them in a folder `train`.")
    return data


def _print_speed(measured, wished):
    print(
        f"  {measured.images_per_second:>12,.0f} images/s on {_cores(measured.cores)}\n"
        f"  {measured.per_core:>12,.0f} images/s per core: {_cores(measured.cores_for(wished))} for"
        f" {wished:,.0f} images/s"
    )


def _cores(count):
    return "1 core" if count == 1 else f"{count:,} cores"


def print_comparison(compared):
    """Prints a `training.data.torchvision_loader.Comparison`."""
    print("The same files in turns with torchvision's loader, medians and ranges:")
    for name, rates in (("here", compared.ours), ("torchvision", compared.theirs)):
        middle, low, high = statistics.median(rates), min(rates), max(rates)
        print(f"  {middle:>12,.0f} images/s {name} ({low:,.0f} to {high:,.0f})")
    low, high = min(compared.ratios), max(compared.ratios)
    print(f"  {compared.ratio:>12.2f} times as fast ({low:.2f} to {high:.2f})")


def _file_name(name):
    """Returns a file name for a data set, whose name may be a path."""
    return re.sub(r"[^\w.-]+", "_", str(name)).strip("_.") or "data"
