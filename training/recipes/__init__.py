"""Recipes by name. Each one's description has its command and what to expect."""

import difflib

from regnet_tf._checks import check

from . import digits, imagenet
from .changes import parse_change
from .recipe import Recipe

__all__ = ["RECIPES", "Recipe", "get_recipe", "parse_change", "pretraining_recipe"]

_ALL = (
    digits.DIGITS,
    digits.HALF_OF_THE_DIGITS,
    digits.DIGITS_FINETUNING,
    digits.DIGIT_CROPS,
    digits.SEGMENTATION_DIGITS,
    digits.SMOKE,
    imagenet.PAPER,
    imagenet.TORCHVISION_V2,
    imagenet.TIMM_RA,
)

# What the network to start from takes over from the recipe that starts from it; also the images,
# unless a decoder makes another task of it.
_NETWORK = ("network", "mean", "std", "precision", "max_steps", "seed")
_IMAGES = ("data", "image_size", "test_image_size", "crop_fraction", "interpolation")

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


def pretraining_recipe(recipe) -> Recipe:
    """The recipe of the network that another recipe starts from.

    The recipe named by `recipe.pretraining` gives the classes and the schedule; network,
    normalization, precision, `max_steps` and seed are those of `recipe`. So are data set and image
    sizes where `recipe` has no decoder.

    Raises:
        ValueError: for a recipe without `pretraining`, an unknown one, or one that starts from a
            third network.
    """
    named = recipe.pretraining is not None
    check("pretraining", recipe.pretraining, named, "the name of a recipe")
    first = get_recipe(recipe.pretraining)
    alone = first.pretraining is None and first.decoder is None
    allowed = "a recipe without a decoder that starts from no third network"
    check("pretraining", recipe.pretraining, alone, allowed)
    shared = _NETWORK if recipe.decoder else _NETWORK + _IMAGES
    return first.replace(**{field: getattr(recipe, field) for field in shared})
