"""Chooses the recipe that suits a data set, and fits it to initial weights."""

import os
from collections.abc import Mapping
from typing import Any

from regnet_tf._errors import UserError

from .photographs import TO_BE_GIVEN
from .recipe import Recipe

#: Data set -> name of its recipe.
_OWN = {None: "digits", "digits": "digits", "digit_crops": "digit_crops"}
_OWN["digit_scenes"] = "segmentation_digits"
_OWN["digit_boxes"] = "detection_scenes"
_OWN["fashion_mnist"] = "fashion_mnist"
_SUGGESTED = "regnety_016.tv2_in1k"


def choose(data: str | None, target: str, weights: str | None) -> tuple[str, str]:
    """Chooses a recipe by its data set.

    Args:
        data: name or folder of the data set; None for the digits.
        target: what has classes in it: "class", "classes", "pixels" or "boxes".
        weights: initial weights, or None.

    Returns:
        `(name, reason)`: name of the recipe, and a line that explains the choice.

    Raises:
        UserError: if there are weights, but no data set to fine-tune them on.
    """
    if weights is not None:
        if data is None:
            raise UserError("`--weights` needs `--data`, the data set to fine-tune on.")
        name = "finetune_segmentation" if target == "pixels" else "finetune"
        return name, f"Recipe {name}, as --weights is given. --recipe names another one."
    if data in _OWN:
        return _OWN[data], f"Recipe {_OWN[data]}, as the data set has it."
    if target == "boxes":
        name = _OWN["digit_boxes"]
        return name, f"Recipe {name}, as the data set has boxes. --recipe names another one."
    pixels = target == "pixels"
    name, other = "from_scratch", "finetune"
    if pixels:
        name, other = f"{name}_segmentation", f"{other}_segmentation"
    return name, (
        f"Recipe {name}, as --weights is not given. --weights {_SUGGESTED}, for example, would"
        f" fine-tune published weights (recipe {other}), which needs far fewer images."
    )


def check_given(recipe: Recipe) -> None:
    """Raises a `UserError` if a recipe lacks the data set or the weights that it needs."""
    if recipe.data.name == TO_BE_GIVEN:
        raise UserError(f"The recipe {recipe.name} needs `--data`, a folder or name of images.")
    frozen = recipe.network.freeze is not None
    if frozen and recipe.network.weights is None and recipe.pretraining is None:
        raise UserError(
            f"The recipe {recipe.name} freezes layers, so it needs `--weights`, such as"
            f" {_SUGGESTED}."
        )


def fitted_to_data(recipe: Recipe, target: str, changes: Mapping[str, Any]) -> Recipe:
    """Returns a recipe with the loss that the data set needs, unless `changes` names one."""
    if target == "classes" and "loss.name" not in changes and "loss" not in changes:
        return recipe.replace({"loss.name": "binary_cross_entropy"})
    return recipe


def fitted_to_weights(
    recipe: Recipe, weights: str | os.PathLike, changes: Mapping[str, Any]
) -> Recipe:
    """Returns a recipe with the network and the normalization of its initial weights.

    Args:
        recipe: a `Recipe`.
        weights: a tag, or the path of a weight file, a `.keras` file or a run.
        changes: changes of the recipe, which take precedence: fields of `network.config` and
            `images`.

    Raises:
        UserError: if the weights do not tell their network, and `changes` does not either.
        ValueError: if the weights are published ones of another network than `changes` names.
    """
    from regnet_tf.finding import check_variant, config_of, preprocessing_of
    from regnet_tf.published import is_tag

    found: dict[str, Any] = {"network.weights": os.fspath(weights)}
    variant = changes.get("network.config")
    config = variant or config_of(weights)
    if config is None:
        raise UserError(f"{weights} does not tell its network. Name it by `--variant`.")
    found["network.config"] = config
    if isinstance(variant, str) and is_tag(weights):
        check_variant(str(weights), variant)
    preprocessing = preprocessing_of(weights, recipe.images.size)
    if preprocessing is not None:
        found |= {
            "images.mean": preprocessing.mean,
            "images.std": preprocessing.std,
            "images.interpolation": preprocessing.interpolation,
        }
        found["images.crop_fraction"] = preprocessing.crop_fraction
        if len(preprocessing.mean) not in (3, recipe.images.channels):
            found["images.channels"] = len(preprocessing.mean)
    return recipe.replace({name: one for name, one in found.items() if name not in changes})
