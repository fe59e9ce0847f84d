"""Random augmentation of training images and of whole batches.

All functions are stateless: they depend only on their inputs and a seed of two int64 numbers. So
the result for an image does not depend on parallelism, or on whether a run was resumed.
"""

import tensorflow as tf

from regnet_tf._checks import check_choice

from .color import lighting
from .crop import random_flip, random_resized_crop, whole_image
from .erasing import ERASING_MODES, random_erasing
from .layers import augmentation
from .mixing import cutmix, mix, mixup
from .policies import RandAugment, check_policy, rand_augment, trivial_augment_wide

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
    """Returns the augmentation of a recipe for one training image.

    The order is: crop, flip, policy, lighting, normalization, erasing. Disabled steps cost nothing.

    Args:
        recipe: a `Recipe`. These fields are used:
            - `crop`: "random_resized" for `random_resized_crop` with the shares `crop_area`, or
              "whole" for `whole_image`; both to `image_size` with `interpolation`;
            - `flip`: whether to mirror half of the images;
            - `policy`: see `check_policy`;
            - `lighting`: standard deviation for `lighting`, 0 for none;
            - `preprocessing.normalize`;
            - `erasing`: probability for `random_erasing`, 0 for none, and `erasing_mode`.

    Returns:
        A function from an image and a seed to the normalized image, float32 `(image_size,
        image_size, 3)`. The image is uint8 `(height, width, 3)`, or an encoded file, a string
        scalar. The seed, int64 `(2,)`, determines all changes.

    Raises:
        ValueError: if `crop`, `policy`, `erasing_mode` or `interpolation` is unknown. The last two
            are checked with the first image.
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
    """Returns the augmentation of a recipe for a batch of normalized training images.

    Args:
        recipe: a `Recipe`. First `translation`, `rotation` and `zoom` are applied, see
            `augmentation`, then `mixup` and `cutmix`, see `mix`. Its `seed` is used as well.

    Returns:
        A function of images `(batch, height, width, channels)`, float32; one-hot labels `(batch,
        classes)`, float32; and the number of the batch in the run, which determines all changes.
        It returns `(images, labels)` of the same shapes.
    """
    move = augmentation(recipe)

    def augment(images, labels, number):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), tf.cast(number, tf.int64)])
        images = move(images, number)
        seed = tf.random.experimental.stateless_fold_in(seed, 0)  # `move` counts from 1
        return mix(images, labels, seed, recipe.mixup, recipe.cutmix)

    return augment


def _crop(recipe):
    """Returns the crop of a recipe as a function of an image and a seed."""
    size, interpolation = recipe.image_size, recipe.interpolation
    if recipe.crop == "whole":
        return lambda image, seed: whole_image(image, size, interpolation)
    return lambda image, seed: random_resized_crop(
        image, seed, size, area=recipe.crop_area, interpolation=interpolation
    )


def _policy(recipe):
    """Returns the policy of a recipe as a function of a uint8 image and a seed, or None."""
    policy = check_policy(recipe.policy)
    if not isinstance(policy, RandAugment):
        return policy and trivial_augment_wide
    fill = tuple(float(round(255 * mean)) for mean in recipe.preprocessing.mean)
    return lambda image, seed: rand_augment(image, seed, policy, fill)
