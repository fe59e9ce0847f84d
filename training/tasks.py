"""What a recipe's network learns to name."""

from . import classification, segmentation


def task_of(recipe):
    """The module with what is particular to a recipe's task; both have the same functions."""
    return classification if recipe.decoder is None else segmentation
