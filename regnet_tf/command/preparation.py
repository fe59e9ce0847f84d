"""Options of the command line that change how images are prepared."""

import argparse
import math
from typing import Any

_FIELDS = (
    *("image_size", "crop_fraction", "resize_size", "interpolation"),
    *("mean", "std", "exif_orientation", "max_pixels"),
)


def add_preprocessing_options(parser: argparse.ArgumentParser) -> None:
    """Adds a group of options for the fields of `regnet_tf.Preprocessing`."""
    group = parser.add_argument_group(
        "preprocessing (default: as published, or as in the run's recipe)"
    )
    group.add_argument("--image-size", metavar="N", type=int, help="side of the images in pixels")
    crop = group.add_mutually_exclusive_group()
    crop.add_argument(
        "--crop-fraction", metavar="F", type=float, help="share of the shorter side to keep"
    )
    crop.add_argument(
        "--resize-size", metavar="N", type=int, help="or: resize the shorter side to N pixels"
    )
    group.add_argument("--interpolation", metavar="NAME", help="bilinear, bicubic or pycls")
    group.add_argument(
        "--mean",
        metavar="M,M,M",
        type=_numbers,
        help="mean of each channel, or one number for all, for pixels from 0 to 1",
    )
    group.add_argument(
        "--std", metavar="S,S,S", type=_numbers, help="standard deviation, in the same way"
    )
    group.add_argument(
        "--scale",
        metavar="N",
        type=_scale,
        help="largest value of a pixel before --mean and --std: 255 for levels, 1 for 0 to 1;"
        " without --mean and --std the pixels are not normalized further",
    )
    group.add_argument(
        "--exif-orientation",
        action="store_true",
        default=None,
        help="turn images as the EXIF metadata in their files says",
    )
    group.add_argument(
        "--max-pixels",
        metavar="N",
        type=int,
        help="largest number of pixels in the file of an image",
    )


def preprocessing_changes(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields that the command line gives, for `Preprocessing.replace`."""
    given = {field: getattr(options, field) for field in _FIELDS}
    if options.scale is not None:
        given["mean"] = 0.0 if options.mean is None else options.mean
        std = 1.0 if options.std is None else options.std
        given["std"] = (
            tuple(one / options.scale for one in std)
            if isinstance(std, tuple)
            else std / options.scale
        )
    return {field: value for field, value in given.items() if value is not None}


def _scale(text):
    """Reads a number above 0; argparse names the option if it is none."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0. Received: {text}")
    return number


def _numbers(text):
    """Reads numbers separated by commas: a number, or a tuple of several."""
    numbers = tuple(float(part) for part in text.split(","))
    return numbers if len(numbers) > 1 else numbers[0]
