"""The data set of a recipe, checked against the recipe before any work."""

from pathlib import Path

from regnet_tf._errors import UserError
from regnet_tf.preprocessing import MAX_PIXELS

from ..data import CompleteDataSet, DataSet, load
from ..data.batches import steps_per_epoch
from ..recipes import Recipe
from ..recipes.parts import Data


def load_for(recipe: Recipe, data_dir: str | Path | None = None) -> CompleteDataSet:
    """Returns the data set of a recipe, restricted to the recipe's classes and images.

    Raises:
        UserError: as in `training.data.load`; if the data set lacks a training or a test split; if
            its labels do not fit the recipe's decoder or loss; or if no batch can be made of it.
    """
    target = None if recipe.decoder is None else "pixels"
    limit = recipe.images.max_pixels
    data = CompleteDataSet.of(load_part(recipe.data, data_dir, recipe.seed, target, limit))
    _check_target(data, recipe)
    steps_per_epoch(data.train, recipe.schedule)
    return data


def load_part(
    wanted: Data,
    data_dir: str | Path | None = None,
    seed: int = 0,
    target: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> DataSet:
    """Returns the data set that a recipe's `data` describes; see `training.data.load`."""
    return load(
        wanted.name,
        data_dir,
        wanted.classes,
        wanted.images_per_class,
        seed,
        wanted.test_share,
        wanted.split_seed,
        wanted.skip_damaged,
        target,
        max_pixels,
        wanted.held_out,
    )


def _check_target(data, recipe):
    """Raises a `UserError` unless a recipe can learn what the data set names."""
    of_boxes = data.target == "boxes"
    if of_boxes != (recipe.detector is not None):
        what = "boxes" if of_boxes else "no boxes"
        wanted = "must be given, as in the recipe detection_scenes" if of_boxes else "must be None"
        raise UserError(
            f"{data.name} has {what}: `detector` {wanted}. Received: detector={recipe.detector}"
        )
    of_pixels = data.target == "pixels"
    if of_pixels != (recipe.decoder is not None):
        what = "every pixel" if of_pixels else "whole images alone"
        wanted = "`decoder.name` must be fpn or unet" if of_pixels else "`decoder` must be None"
        raise UserError(
            f"{data.name} names the class of {what}: {wanted}. Received: decoder={recipe.decoder}"
        )
    loss = recipe.loss.name
    if data.target == "classes" and loss != "binary_cross_entropy":
        raise UserError(
            f"{data.name} names several classes of an image: `loss.name` must be"
            f" binary_cross_entropy. Received: loss.name={loss}"
        )
