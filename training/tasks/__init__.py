"""The tasks of recipes: classification, with one or several classes, segmentation, detection."""

from ..recipes import Recipe
from .classification import Classification
from .detection import Detection
from .multilabel import MultiLabel
from .segmentation import Segmentation
from .task import FILES, Evaluation, Task

__all__ = [
    "FILES",
    "Classification",
    "Detection",
    "Evaluation",
    "MultiLabel",
    "Segmentation",
    "Task",
    "task_of",
]


def task_of(recipe: Recipe, data_target: str = "class") -> Task:
    """Returns the task of a recipe.

    Args:
        recipe: a `Recipe`. With a decoder it is segmentation, with a detector detection.
        data_target: what the data set names, the `target` of a `training.data.DataSet`. "classes",
            several for an image, is the task `MultiLabel`.
    """
    if recipe.decoder is not None:
        return Segmentation(recipe.decoder)
    if recipe.detector is not None:
        return Detection(recipe.images.size, recipe.detector)
    if data_target == "classes":
        return MultiLabel()
    return Classification(independent=recipe.loss.name == "binary_cross_entropy")
