"""The tasks of recipes: classification and segmentation."""

from ..recipes import Recipe
from .classification import Classification
from .segmentation import Segmentation
from .task import Task

__all__ = ["Classification", "Segmentation", "Task", "task_of"]


def task_of(recipe: Recipe, data_target: str = "class") -> Task:
    """Returns the task of a recipe: segmentation if it has a decoder, else classification."""
    return Classification() if recipe.decoder is None else Segmentation(recipe.decoder)
