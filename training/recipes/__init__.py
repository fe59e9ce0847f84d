"""Recipes by name. Each description has the command and the expected result."""

import operator
from collections.abc import Mapping
from typing import Any

from regnet_tf._checks import check
from regnet_tf._errors import nearest_names

from . import digits, fashion_mnist, imagenet, photographs
from .changes import parse_change
from .recipe import Recipe

__all__ = ["RECIPES", "Recipe", "get_recipe", "parse_change", "pretraining_recipe"]

_ALL = (
    digits.DIGITS,
    digits.DIGIT_CROPS,
    digits.SEGMENTATION_DIGITS,
    digits.DETECTION_SCENES,
    digits.SMOKE,
    fashion_mnist.FASHION_MNIST,
    photographs.FINETUNE,
    photographs.LINEAR_PROBE,
    photographs.FROM_SCRATCH,
    photographs.FINETUNE_SEGMENTATION,
    photographs.FROM_SCRATCH_SEGMENTATION,
    imagenet.PAPER,
    imagenet.TORCHVISION_V2,
    imagenet.TIMM_RA,
)

# Fields that the pretraining takes over from the recipe that starts from it. It also takes over
# `_IMAGES`, unless that recipe has a decoder or a detector, which makes it another task.
_NETWORK = (
    "network.config",
    "network.precision",
    "images.mean",
    "images.std",
    "schedule.max_steps",
    "seed",
)
_IMAGES = (
    "data.name",
    "images.size",
    "images.test_size",
    "images.crop_fraction",
    "images.interpolation",
)

#: name -> recipe.
RECIPES = {recipe.name: recipe for recipe in _ALL}


def get_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Returns a recipe by name.

    Args:
        name: key of `RECIPES`.
        changes: fields to change, as in `Recipe.replace`, such as `{"schedule.epochs": 10}`.

    Raises:
        ValueError: if the name is unknown (with the nearest names), or a field is unknown or out of
            range.
    """
    if name not in RECIPES:
        near = nearest_names(name, RECIPES) or RECIPES
        raise ValueError(f"No recipe is called {name!r}. Nearest: {', '.join(near)}.")
    return RECIPES[name].replace(changes or {})


def pretraining_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe of the pretraining of another recipe.

    The recipe named by `pretraining.recipe` provides the classes and the schedule. Network,
    normalization, precision, `schedule.max_steps` and seed come from `recipe`. If `recipe` has
    neither a decoder nor a detector, data set and image sizes come from `recipe` as well.

    Raises:
        ValueError: if `recipe` has no `pretraining`, or if that recipe is unknown, is no
            classifier, or has `pretraining` itself.
    """
    if recipe.pretraining is None:
        raise ValueError(
            "`pretraining` must be given, with the name of a recipe. Received: pretraining=None"
        )
    name = recipe.pretraining.recipe
    first = get_recipe(name)
    alone = all(one is None for one in (first.pretraining, first.decoder, first.detector))
    allowed = "a recipe of a classifier that starts from no third network"
    check("pretraining.recipe", name, alone, allowed)
    shared = _NETWORK if recipe.decoder or recipe.detector else _NETWORK + _IMAGES
    return first.replace({field: operator.attrgetter(field)(recipe) for field in shared})
