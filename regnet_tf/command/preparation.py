"""Options of the command line that change how images are prepared."""

import argparse
from typing import Any

_FIELDS = ("image_size", "crop_fraction", "resize_size", "interpolation")


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


def preprocessing_changes(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of `Preprocessing` that the command line gives."""
    given = {field: getattr(options, field) for field in _FIELDS}
    return {field: value for field, value in given.items() if value is not None}
