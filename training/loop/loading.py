"""The data set of a recipe, checked against the recipe before any work."""

from pathlib import Path

from regnet_tf._errors import UserError

from ..data import CompleteDataSet, load
from ..recipes import Recipe


def load_for(recipe: Recipe, data_dir: str | Path | None = None) -> CompleteDataSet:
    """Returns the data set of a recipe, restricted to the recipe's classes and images.

    Raises:
        UserError: as in `training.data.load`; if the data set lacks a training or a test split; if
            its labels do not fit the recipe's task; or if it has fewer training images than a
            batch.
    """
    wanted = recipe.data
    data = CompleteDataSet.of(
        load(wanted.name, data_dir, wanted.classes, wanted.images_per_class, recipe.seed)
    )
    _check_labels(data, recipe.decoder)
    _check_batch_size(data, recipe.schedule.batch_size)
    return data


def _check_labels(data, decoder):
    if data.is_pixelwise == (decoder is not None):
        return
    what = "every pixel" if data.is_pixelwise else "whole images alone"
    wanted = "`decoder.name` must be fpn or unet" if data.is_pixelwise else "`decoder` must be None"
    raise UserError(f"{data.name} names the class of {what}: {wanted}. Received: decoder={decoder}")


def _check_batch_size(data, batch_size):
    if batch_size > data.train.size:
        raise UserError(
            f"`schedule.batch_size` must be at most {data.train.size}, the number of training"
            f" images of {data.name}. Received: schedule.batch_size={batch_size}"
        )
