"""Inspects a data set as training sees it: counts, a sheet of images, speed."""

import re
import statistics
from pathlib import Path

from regnet_tf._checks import check_number
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import print_paths

from ..loop.loading import load_for
from ..recipes import RECIPES, choosing, get_recipe
from . import sheet, speed, target_of, torch_loader
from .checking import naming_damaged_files
from .description import describe

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
    compare_torch=False,
):
    """Prints counts and the speed of the input pipeline, and writes a sheet of training images.

    Args:
        name: name of a data set, see `training.data.load`.
        data_dir: data directory of tensorflow-datasets.
        recipe: name of the recipe with the augmentation. None for the first recipe of this data
            set, else for one that suits it.
        batch_size: batch size; None for the recipe's, or the number of training images if that is
            smaller.
        out: `Path` of the sheet, a PNG file; None for a file in `runs/inspection`.
        wished_speed: images per second that the device consumes.
        seconds: duration of the measurement.
        compare_torch: whether to measure PyTorch's loader with the same augmentation as well.

    Raises:
        UserError, ValueError: before any work, if an argument is unknown, missing or out of range.
    """
    check_number("wished_speed", wished_speed, above=0)
    check_number("seconds", seconds, above=0)
    import_optional("matplotlib")
    recipe = _recipe(name, data_dir, recipe, batch_size)
    data = load_for(recipe, data_dir)
    if batch_size is None and recipe.schedule.batch_size > data.train.size:
        recipe = recipe.replace({"schedule.batch_size": data.train.size})
    if compare_torch:
        if not (Path(name) / "train").is_dir() or data.target != "class":
            raise UserError(f"The comparison needs a folder of images, not {name}.")
        torch_loader.import_torchvision()

    print("\n".join([describe(data), *data.notes]))
    path = out or Path("runs/inspection") / f"{_file_name(name)}.png"
    classes, size = len(data.class_names), recipe.schedule.batch_size
    with naming_damaged_files(data.train, max_pixels=recipe.images.max_pixels):
        sheet.write_sheet(path, data, recipe)
        print_paths(path.parent, {path.name: f"training images of the recipe {recipe.name}"})
        pixels = recipe.images.size
        print(f"The input pipeline alone, {pixels} pixels, batches of {size}:", flush=True)
        _print_speed(speed.measure(data.train, recipe, classes, seconds), wished_speed)
    if compare_torch:
        folder = Path(name) / "train"
        compared = torch_loader.compare(folder, data.train, recipe, classes, seconds=seconds)
        print_comparison(compared)


def _recipe(name, data_dir, recipe, batch_size):
    """Returns a recipe for a data set: the named one, or the first one of the data set, or another.

    The recipe's choice of classes and images is kept if the data set is the recipe's own.
    """
    changes = {} if batch_size is None else {"schedule.batch_size": batch_size}
    target = target_of(name, data_dir)
    if recipe is None:
        own = [one.name for one in RECIPES.values() if one.data.name == name]
        recipe = own[0] if own else choosing.choose(name, target, None)[0]
    recipe = get_recipe(recipe)
    if recipe.data.name != name:
        fields = {"name": name, "classes": None, "images_per_class": None}
        changes |= {f"data.{field}": value for field, value in fields.items()}
    return choosing.fitted_to_data(recipe.replace(changes), target, changes)


def _print_speed(measured, wished):
    print(
        f"  {measured.images_per_second:>12,.0f} images/s on {_cores(measured.cores)}\n"
        f"  {measured.per_core:>12,.0f} images/s per core: {_cores(measured.cores_for(wished))} for"
        f" {wished:,.0f} images/s"
    )


def _cores(count):
    return "1 core" if count == 1 else f"{count:,} cores"


def print_comparison(compared):
    """Prints a `training.data.torch_loader.Comparison`."""
    print("In turns with PyTorch's loader, the same files and augmentation, medians and ranges:")
    for name, rates in (("here", compared.ours), ("PyTorch", compared.theirs)):
        for unit, speeds in zip(("s", "s of CPU time"), zip(*rates, strict=True), strict=True):
            middle, low, high = statistics.median(speeds), min(speeds), max(speeds)
            print(f"  {middle:>12,.0f} images/{unit} {name} ({low:,.0f} to {high:,.0f})")
    low, high = min(compared.ratios), max(compared.ratios)
    print(f"  {compared.ratio:>12.2f} times as fast by CPU time ({low:.2f} to {high:.2f})")


def _file_name(name):
    """Returns a file name for a data set, whose name may be a path."""
    return re.sub(r"[^\w.-]+", "_", str(name)).strip("_.") or "data"
