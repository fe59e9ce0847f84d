"""Random augmentation of training images and of whole batches.

All functions are stateless: they depend only on their inputs and a seed of two int64 numbers. So
the result for an image does not depend on parallelism, or on whether a run was resumed.
"""

import tensorflow as tf

from .color import lighting
from .crop import (
    RATIO,
    random_flip,
    random_flip_boxes,
    random_map_crop,
    random_resized_crop,
    resize_map,
    whole_image,
)
from .decoding import decoded
from .erasing import ERASING_MODES, random_erasing
from .layers import random_affine
from .mixing import cutmix, mix, mixup
from .policies import RandAugment, check_policy, rand_augment, trivial_augment_wide

__all__ = [
    "CROPS",
    "ERASING_MODES",
    "RandAugment",
    "batch_augmentation",
    "check_policy",
    "cutmix",
    "decoded",
    "image_augmentation",
    "lighting",
    "mix",
    "mixup",
    "rand_augment",
    "random_affine",
    "random_erasing",
    "random_flip",
    "random_flip_boxes",
    "random_map_crop",
    "random_resized_crop",
    "resize_map",
    "trivial_augment_wide",
    "whole_image",
]

CROPS = ("whole", "random_resized")


def image_augmentation(augmentation, images):
    """Returns the augmentation of one training image.

    The order is: crop, flip, policy, lighting, normalization, erasing. Disabled steps cost nothing.

    Args:
        augmentation: an `Augmentation` of a recipe. The crop is `random_resized_crop` or
            `whole_image`; all other steps have the functions of their names.
        images: the `Images` of the recipe: size and interpolation of the crop, channels, and
            normalization.

    Returns:
        A function from an image and a seed to the normalized image, float32 `(size, size,
        channels)`. The image is uint8 `(height, width, channels)`, or an encoded file, a string
        scalar. The seed, int64 `(2,)`, determines all changes. A map of classes, `pixels`, uint8
        `(height, width)`, may be passed as well. It is cropped and flipped in the same way, and
        `(image, map)` is returned. So are `boxes`, float32 `(boxes, 5)`, but not cropped.
    """
    crop, change = _crop(augmentation, images), _policy(augmentation, images)

    def augment(image, seed, pixels=None, boxes=None):
        crop_seed, flip_seed, policy_seed, light_seed, erasing_seed = tf.unstack(
            tf.random.split(seed, 5)
        )
        image, pixels = crop(image, crop_seed, pixels)
        if augmentation.flip:
            image = random_flip(image, flip_seed)
            pixels = None if pixels is None else random_flip(pixels[..., None], flip_seed)[..., 0]
            boxes = None if boxes is None else random_flip_boxes(boxes, flip_seed)
        if change is not None:
            levels = tf.cast(tf.round(image), tf.uint8)
            image = tf.cast(change(levels, policy_seed), tf.float32)
        if augmentation.lighting:
            image = lighting(image, light_seed, augmentation.lighting)
        image = images.preprocessing.normalize(image)
        if augmentation.erasing:
            image = random_erasing(
                image, erasing_seed, augmentation.erasing, augmentation.erasing_mode
            )
        along = [one for one in (pixels, boxes) if one is not None]
        return (image, *along) if along else image

    return augment


def batch_augmentation(augmentation, seed):
    """Returns the augmentation of a batch of normalized training images.

    Args:
        augmentation: an `Augmentation` of a recipe. First `translation`, `rotation` and `zoom` are
            applied, see `random_affine`, then `mixup` and `cutmix`, see `mix`.
        seed: the recipe's seed.

    Returns:
        A function of images `(batch, height, width, channels)`, float32; labels, float32 `(batch,
        classes)`, or maps of classes, uint8 `(batch, height, width)`; and the number of the batch
        in the run, which determines all changes. It returns `(images, labels)` of the same shapes.
        Maps are moved with their images, and are 255 where nothing is.
    """
    move = random_affine(augmentation.translation, augmentation.rotation, augmentation.zoom, seed)

    def augment(images, labels, number):
        if len(labels.shape) == 3:
            return move(images, number, labels)
        seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
        images = move(images, number)
        seeds = tf.random.experimental.stateless_fold_in(seeds, 0)  # `move` counts from 1
        return mix(images, labels, seeds, augmentation.mixup, augmentation.cutmix)

    return augment


def _crop(augmentation, images):
    """Returns the crop as a function of an image, a seed and a map or None; returns both."""
    size, interpolation = images.size, images.interpolation
    form = (images.channels, images.exif_orientation, images.max_pixels)

    def whole(image, seed, pixels):
        pixels = None if pixels is None else resize_map(pixels, size)
        return whole_image(image, size, interpolation, *form), pixels

    def random(image, seed, pixels):
        area = augmentation.crop_area
        crop = random_resized_crop(image, seed, size, area, RATIO, interpolation, *form)
        return crop, None if pixels is None else random_map_crop(pixels, seed, size, area)

    return whole if augmentation.crop == "whole" else random


def _policy(augmentation, images):
    """Returns the policy as a function of a uint8 image and a seed, or None."""
    policy = check_policy(augmentation.policy)
    if not isinstance(policy, RandAugment):
        return policy and trivial_augment_wide
    fill = tuple(float(round(255 * mean)) for mean in images.mean)
    return lambda image, seed: rand_augment(image, seed, policy, fill)
