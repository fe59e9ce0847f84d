"""The task of a recipe: classification or segmentation."""

from . import classification, segmentation


def task_of(recipe):
    """Returns the module of a recipe's task. Both modules have the same functions."""
    return classification if recipe.decoder is None else segmentation
