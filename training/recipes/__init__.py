"""Recipes by name. Each one's description has its command and what to expect."""

import difflib

from training.recipes import digits, imagenet
from training.recipes.changes import parse_change
from training.recipes.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "get_recipe", "parse_change"]

_ALL = (
    digits.DIGITS,
    digits.HALF_OF_THE_DIGITS,
    digits.DIGITS_FINETUNING,
    digits.SEGMENTATION_DIGITS,
    digits.SMOKE,
    imagenet.PAPER,
    imagenet.TORCHVISION_V2,
    imagenet.TIMM_RA,
)

#: name -> recipe.
RECIPES = {recipe.name: recipe for recipe in _ALL}


def get_recipe(name, **changes) -> Recipe:
    """A recipe by name.

    Args:
        name: key of `RECIPES`.
        **changes: fields of `Recipe` to change, such as `epochs=10`.

    Raises:
        ValueError: for an unknown name, with the nearest ones, an unknown field or a value out of
            range.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(str(name), RECIPES, cutoff=0.5) or RECIPES
        raise ValueError(f"No recipe is called {name!r}. Nearest: {', '.join(near)}.")
    return RECIPES[name].replace(**changes)
