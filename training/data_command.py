"""`regnet data`: prepares data sets and inspects them as training sees them."""

import argparse
import sys
from pathlib import Path

from regnet_command import run, start_tensorflow

_EPILOG = """\
examples:
  regnet data prepare imagenet2012 --manual-dir ~/archives --data-dir /data
  regnet data prepare cifar10
  regnet data inspect digits
  regnet data inspect imagenet2012 --data-dir /data --recipe NAME
  regnet data inspect photographs --compare-torchvision"""

_PREPARE = """\
Writes a data set of tensorflow-datasets to disk, ready to be read. Most are downloaded. The
archives of ImageNet, ILSVRC2012_img_train.tar (147,897,477,120 bytes) and ILSVRC2012_img_val.tar
(6,744,924,160 bytes), have to be downloaded by hand, after registering at
https://image-net.org/download-images; what is written takes another 158 GB."""

_INSPECT = """\
Counts images and classes, draws a sheet of augmented training images, and measures how fast the
input pipeline is on its own. DATA is "digits", a folder with the folders train and validation and
a folder of images for each class in them, or a prepared data set of tensorflow-datasets."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser, commands = _parser()
    options = parser.parse_args(arguments)

    def job():
        start_tensorflow()
        _COMMANDS[options.command](options)

    return run(job, commands[options.command])


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="regnet data",
        description="Prepares data sets and shows what training makes of them.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    prepare = commands.add_parser(
        "prepare", help="write a data set to disk", description=_PREPARE, formatter_class=raw
    )
    add = prepare.add_argument
    add("name", metavar="NAME", help="as tensorflow-datasets has it, such as imagenet2012")
    add("--manual-dir", metavar="DIR", help="where archives are that were downloaded by hand")
    add("--data-dir", metavar="DIR", help="where to write (default: ~/tensorflow_datasets)")
    add("--any-size", action="store_true", help="take archives cut down to try things out")
    add("--files", metavar="N", type=int, help="of each split (default: by the size of the data)")
    inspect = commands.add_parser(
        "inspect", help="counts, a picture, speed", description=_INSPECT, formatter_class=raw
    )
    add = inspect.add_argument
    add("data", metavar="DATA", help="name or folder of a data set")
    add("--data-dir", metavar="DIR", help="where tensorflow-datasets keeps its data")
    add("--recipe", metavar="NAME", help="of the augmentation (default: one of this data set)")
    add("--batch-size", metavar="N", type=int, help="(default: the recipe's, or all images)")
    add("--out", metavar="FILE.png", type=Path, help="(default: runs/inspection/DATA.png)")
    add(
        "--wished-speed",
        metavar="N",
        type=float,
        default=1000,
        help="images per second that a device takes (default: %(default)s)",
    )
    add("--seconds", metavar="S", type=float, default=5, help="of measuring (default: 5)")
    add("--compare-torchvision", action="store_true", help="measure its loader, too")
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
