"""Random changes of training images: of each by itself, and of whole batches.

Everything is a function of its inputs and of a seed, two int64 numbers, and keeps no state: an
image at its place in a run is changed in the same way however many are prepared at once, and in a
run that goes on where another one ended.
"""

import tensorflow as tf

from regnet_tf._checks import check_choice

from .color import lighting
from .crop import random_flip, random_resized_crop, whole_image
from .erasing import ERASING_MODES, random_erasing
from .layers import augmentation
from .mixing import cutmix, mix, mixup
from .policies import (
    RandAugment,
    check_policy,
    rand_augment,
    trivial_augment_wide,
)

__all__ = [
    "CROPS",
    "ERASING_MODES",
    "RandAugment",
    "augmentation",
    "batch_augmentation",
    "check_policy",
    "cutmix",
    "image_augmentation",
    "lighting",
    "mix",
    "mixup",
    "rand_augment",
    "random_erasing",
    "random_flip",
    "random_resized_crop",
    "trivial_augment_wide",
    "whole_image",
]

CROPS = ("whole", "random_resized")


def image_augmentation(recipe):
    """What a recipe does to one training image.

    In this order: crop, flip, policy, lighting, normalization, erasing. What a recipe does without
    costs nothing.

    Args:
        recipe: a `Recipe`; of it count
            - `crop`: "random_resized", `random_resized_crop` with the shares `crop_area`; or
              "whole", `whole_image`; to `image_size` with `interpolation`;
            - `flip`: whether to mirror half of the images;
            - `policy`: see `check_policy`;
            - `lighting`: standard deviation for `lighting`, 0 for none;
            - `preprocessing.normalize`;
            - `erasing`: probability for `random_erasing`, 0 for none, and `erasing_mode`.

    Returns:
        A function of an image (uint8 `(height, width, 3)`, or an encoded file, a string scalar) and
        a seed (int64 `(2,)`, which alone decides all changes) to the normalized image, float32
        `(image_size, image_size, 3)`.

    Raises:
        ValueError: for another `crop`, `policy`, `erasing_mode` or `interpolation`; of the last
            two not before an image comes.
    """
    check_choice("crop", recipe.crop, CROPS)
    crop, change = _crop(recipe), _policy(recipe)

    def augment(image, seed):
        crop_seed, flip_seed, policy_seed, light_seed, erasing_seed = tf.unstack(
            tf.random.split(seed, 5)
        )
        image = crop(image, crop_seed)
        if recipe.flip:
            image = random_flip(image, flip_seed)
        if change is not None:
            levels = tf.cast(tf.round(image), tf.uint8)
            image = tf.cast(change(levels, policy_seed), tf.float32)
        if recipe.lighting:
            image = lighting(image, light_seed, recipe.lighting)
        image = recipe.preprocessing.normalize(image)
        if recipe.erasing:
            image = random_erasing(image, erasing_seed, recipe.erasing, recipe.erasing_mode)
        return image

    return augment


def batch_augmentation(recipe):
    """What a recipe does to a batch of normalized training images.

    Args:
        recipe: a `Recipe`; its `translation`, `rotation` and `zoom` count, see `augmentation`, then
            `mixup` and `cutmix`, see `mix`; and its `seed`.

    Returns:
        A function of images `(batch, height, width, channels)`, float32; their labels `(batch,
        classes)`, one-hot, float32; and the number of their batch in the run, which alone decides
        the changes. It returns `(images, labels)` of the same shapes.
    """
    move = augmentation(recipe)

    def augment(images, labels, number):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), tf.cast(number, tf.int64)])
        images = move(images, number)
        seed = tf.random.experimental.stateless_fold_in(seed, 0)  # `move` counts from 1
        return mix(images, labels, seed, recipe.mixup, recipe.cutmix)

    return augment


def _crop(recipe):
    """The crop of a recipe, a function of an image and a seed."""
    size, interpolation = recipe.image_size, recipe.interpolation
    if recipe.crop == "whole":
        return lambda image, seed: whole_image(image, size, interpolation)
    return lambda image, seed: random_resized_crop(
        image, seed, size, area=recipe.crop_area, interpolation=interpolation
    )


def _policy(recipe):
    """The policy of a recipe, a function of a uint8 image and a seed; None for none."""
    policy = check_policy(recipe.policy)
    if not isinstance(policy, RandAugment):
        return policy and trivial_augment_wide
    fill = tuple(float(round(255 * mean)) for mean in recipe.preprocessing.mean)
    return lambda image, seed: rand_augment(image, seed, policy, fill)
