"""`regnet data`: prepares data sets, checks their files, and shows them as training sees them."""

import argparse
import sys
from pathlib import Path

from regnet_command import run, start

_EPILOG = """\
examples:
  regnet data prepare imagenet2012 --manual-dir ~/archives --data-dir /data
  regnet data prepare cifar10
  regnet data prepare fashion_mnist --from /usr/share/datasets/fashion-mnist
  regnet data check photos
  regnet data inspect photos
  regnet data inspect photos/labels.csv
  regnet data inspect digits
  regnet data inspect imagenet2012 --data-dir /data --recipe NAME
  regnet data inspect photos --recipe timm_ra --compare-torch"""

_PREPARE = """\
Downloads a data set of tensorflow-datasets and writes it to disk. Download ImageNet's archives
yourself, after you register at https://image-net.org/download-images:
ILSVRC2012_img_train.tar (147,897,477,120 bytes) and ILSVRC2012_img_val.tar (6,744,924,160 bytes).
The prepared data set takes another 158 GB.

With --from, nothing is downloaded: the four files of fashion_mnist are checked and copied."""

_LAYOUTS = """\
A folder of images may have one of these layouts:
  photos/cat/1.jpg                     a folder of images for each class
  photos/train/cat/1.jpg               the same for each split: train and validation (or val, test)
  photos/labels.csv                    a table with the columns path, label, and optionally split;
                                       several classes of an image are separated by ;
  photos/images/1.jpg, masks/1.png     a mask of class indices for each image, 255 for no class"""

_CHECK = f"""\
Decodes every image and mask on all cores. Prints one line for each file that cannot be read, and
exits with status 1 if there are any.

{_LAYOUTS}"""

_INSPECT = f"""\
Counts images and classes, draws a sheet of augmented training images, and measures the speed of
the input pipeline alone. DATA is a name such as "digits" or "fashion_mnist", a prepared data set of
tensorflow-datasets, a folder of images, or a CSV file.

{_LAYOUTS}"""


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
        description="Prepares data sets, checks them, and shows them as training sees them.",
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
    add("--from", dest="source", metavar="DIR", help="folder of the files of fashion_mnist")
    add("--data-dir", metavar="DIR", help="folder to write to (default: ~/tensorflow_datasets)")
    add("--any-size", action="store_true", help="accept shortened archives, for tests")
    add(
        "--files",
        metavar="N",
        type=int,
        help="number of files of each split (default: by the data size)",
    )
    check = commands.add_parser(
        "check", help="find files that cannot be read", description=_CHECK, formatter_class=raw
    )
    add = check.add_argument
    add("data", metavar="DATA", help="folder of images, or CSV file")
    add(
        "--max-pixels",
        metavar="N",
        type=int,
        help="largest number of pixels in a file (default: 89,478,485)",
    )
    inspect = commands.add_parser(
        "inspect",
        help="count images, draw a sheet, measure the speed",
        description=_INSPECT,
        formatter_class=raw,
    )
    add = inspect.add_argument
    add("data", metavar="DATA", help="name of a data set, a folder of images, or a CSV file")
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
    add(
        "--compare-torch",
        action="store_true",
        help="also measure PyTorch's loader with the same augmentation, of torchvision and timm",
    )
    return parser, {"prepare": prepare, "check": check, "inspect": inspect}


def _prepare(options):
    from regnet_tf._checks import check_int

    from .data import EMBEDDED, prepare, tfds_catalog

    if options.files is not None:
        check_int("files", options.files, minimum=1)
    if options.source is not None:
        _prepare_files(options)
        return
    if options.name in EMBEDDED or Path(options.name).exists():
        print(f"{options.name} needs no preparation.")
        return
    builder = tfds_catalog.find(options.name, options.data_dir)
    progress = sys.stderr.isatty()  # in a file, bars would write many lines
    if not prepare.prepare(builder, options.manual_dir, options.any_size, options.files, progress):
        print(f"{options.name} is prepared already.")
    print(builder.data_dir)
    for name, split in builder.info.splits.items():
        print(f"  {name:10} {split.num_examples:>10,} images in {split.num_shards:,} files")


def _prepare_files(options):
    """Checks and copies files that came by hand."""
    from regnet_tf._checks import check
    from regnet_tf._files import print_paths

    from .data import fashion_mnist

    is_known = options.name == fashion_mnist.NAME
    allowed = f"left out for {options.name}: only {fashion_mnist.NAME} has it"
    check("--from", options.source, is_known, allowed)
    folder = fashion_mnist.prepare(options.source, options.data_dir)
    print_paths(folder, dict.fromkeys(fashion_mnist.SHA256, "checked"))


def _check(options):
    from regnet_tf._checks import check, check_int
    from regnet_tf.preprocessing import MAX_PIXELS

    from .data import EMBEDDED, load
    from .data.checking import damaged_files

    path = Path(options.data)
    is_files = options.data not in EMBEDDED and (path.is_dir() or path.suffix.lower() == ".csv")
    check("DATA", options.data, is_files, "a folder or a CSV file")
    limit = MAX_PIXELS if options.max_pixels is None else options.max_pixels
    check_int("--max-pixels", limit, minimum=1)
    data = load(path, skip_damaged=True, max_pixels=limit)
    problems: list[str] = []
    images = 0
    for split in (data.train, data.test):
        if split is not None:
            progress = int(sys.stdout.isatty())
            problems += damaged_files(split, len(data.class_names), progress, limit).values()
            images += split.size
    for line in (*data.notes, *problems):
        print(line)
    if problems:
        print(f"{len(problems):,} of {images:,} images of {options.data} are damaged.")
        return 1
    print(f"All {images:,} images of {options.data} can be read.")
    return 0


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
        options.compare_torch,
    )


_COMMANDS = {"prepare": _prepare, "check": _check, "inspect": _inspect}

if __name__ == "__main__":
    start(".data_command", __package__)
