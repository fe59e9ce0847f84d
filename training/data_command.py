"""`regnet data`: prepares data sets and inspects them as training sees them."""

import argparse
import sys
from pathlib import Path

from regnet_command import run

_EPILOG = """\
examples:
  regnet data prepare imagenet2012 --manual-dir ~/archives --data-dir /data
  regnet data prepare cifar10
  regnet data inspect digits
  regnet data inspect imagenet2012 --data-dir /data --recipe NAME
  regnet data inspect photographs --compare-torchvision"""

_PREPARE = """\
Downloads a data set of tensorflow-datasets and writes it to disk. Download ImageNet's archives
yourself, after you register at https://image-net.org/download-images:
ILSVRC2012_img_train.tar (147,897,477,120 bytes) and ILSVRC2012_img_val.tar (6,744,924,160 bytes).
The prepared data set takes another 158 GB."""

_INSPECT = """\
Counts images and classes, draws a sheet of augmented training images, and measures the speed of
the input pipeline alone. DATA is "digits", a prepared data set of tensorflow-datasets, or a folder
with the folders train and validation, which have a folder of images for each class."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser, commands = _parser()
    options = parser.parse_args(arguments)
    return run(lambda: _COMMANDS[options.command](options), commands[options.command])


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="regnet data",
        description="Prepares data sets, and shows them as training sees them.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    prepare = commands.add_parser(
        "prepare", help="write a data set to disk", description=_PREPARE, formatter_class=raw
    )
    add = prepare.add_argument
    add("name", metavar="NAME", help="name in tensorflow-datasets, such as imagenet2012")
    add("--manual-dir", metavar="DIR", help="folder of archives that you downloaded by hand")
    add("--data-dir", metavar="DIR", help="folder to write to (default: ~/tensorflow_datasets)")
    add("--any-size", action="store_true", help="accept shortened archives, for tests")
    add(
        "--files",
        metavar="N",
        type=int,
        help="number of files of each split (default: by the data size)",
    )
    inspect = commands.add_parser(
        "inspect",
        help="count images, draw a sheet, measure the speed",
        description=_INSPECT,
        formatter_class=raw,
    )
    add = inspect.add_argument
    add("data", metavar="DATA", help="name or folder of a data set")
    add("--data-dir", metavar="DIR", help="data directory of tensorflow-datasets")
    add(
        "--recipe", metavar="NAME", help="recipe with the augmentation (default: one for this data)"
    )
    add("--batch-size", metavar="N", type=int, help="default: the recipe's, or all images")
    add("--out", metavar="FILE.png", type=Path, help="picture (default: runs/inspection/DATA.png)")
    add(
        "--wished-speed",
        metavar="N",
        type=float,
        default=1000,
        help="images per second that the device trains (default: %(default)s)",
    )
    add("--seconds", metavar="S", type=float, default=5, help="seconds to measure (default: 5)")
    add("--compare-torchvision", action="store_true", help="also measure torchvision's loader")
    return parser, {"prepare": prepare, "inspect": inspect}


def _prepare(options):
    from regnet_tf._checks import check_int

    from .data import EMBEDDED, prepare, tfds_catalog

    if options.files is not None:
        check_int("files", options.files, minimum=1)
    if options.name in EMBEDDED or Path(options.name).is_dir():
        print(f"{options.name} needs no preparation.")
        return
    builder = tfds_catalog.find(options.name, options.data_dir)
    progress = sys.stderr.isatty()  # in a file, bars would write many lines
    if not prepare.prepare(builder, options.manual_dir, options.any_size, options.files, progress):
        print(f"{options.name} is prepared already.")
    print(builder.data_dir)
    for name, split in builder.info.splits.items():
        print(f"  {name:10} {split.num_examples:>10,} images in {split.num_shards:,} files")


def _inspect(options):
    from .data.inspection import inspect

    inspect(
        options.data,
        options.data_dir,
        options.recipe,
        options.batch_size,
        options.out,
        options.wished_speed,
        options.seconds,
        options.compare_torchvision,
    )


_COMMANDS = {"prepare": _prepare, "inspect": _inspect}

if __name__ == "__main__":
    sys.exit(main())
