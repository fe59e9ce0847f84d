"""`regnet benchmark`: measures the speed of training and inference on this machine."""

import argparse
import os
from pathlib import Path

from regnet_command import run

from .speed import MODES, PRECISIONS, Setting, run_setting, set_threads, table

_DESCRIPTION = """\
Measures the speed of training and inference on this machine, in images per second.

All implementations run in one process and in turns, so that a slowdown of the machine affects all
of them. Speeds are medians. Ratios are medians of the ratios of each turn."""

_EPILOG = """\
examples:
  regnet benchmark
  regnet benchmark --variant regnetx_004 regnety_004 --timm --repeats 9
  regnet benchmark --features --mode forward --output-stride 16
  regnet benchmark --recipe digits --data digits --strategy mirrored"""


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet benchmark",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--variant",
        nargs="+",
        default=["regnetx_004"],
        metavar="NAME",
        help="networks by any name (default: regnetx_004)",
    )
    parser.add_argument(
        "--batch-size", metavar="N", type=int, help="default: 32, or 2 with --features"
    )
    parser.add_argument(
        "--image-size", metavar="N", type=int, help="pixels (default: 224, or 512 with --features)"
    )
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["float32"], help="default: float32"
    )
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES, help="default: both")
    parser.add_argument("--repeats", metavar="N", type=int, default=7, help="turns (default: 7)")
    parser.add_argument(
        "--threads", metavar="N", type=int, help="number of cores to use (default: all)"
    )
    parser.add_argument(
        "--stock", action="store_true", help="also measure Keras' own convolution and normalization"
    )
    parser.add_argument(
        "--timm", action="store_true", help="also measure timm on PyTorch, if installed"
    )
    features = parser.add_argument_group("feature maps for detection and segmentation")
    features.add_argument(
        "--features",
        action="store_true",
        help="measure the backbone with levels 2 to 5, without a classifier",
    )
    features.add_argument(
        "--output-stride",
        type=int,
        nargs="+",
        default=[32, 8],
        choices=(8, 16, 32),
        help="stride of the last level (default: 32 and 8)",
    )
    whole = parser.add_argument_group(
        "training by a recipe, instead of the above: its input, its step, and both together"
    )
    whole.add_argument("--recipe", metavar="NAME", help="default: paper")
    whole.add_argument("--data", metavar="DATA", help="data set, or synthetic (the default)")
    whole.add_argument("--data-dir", metavar="DIR", help="data directory of tensorflow-datasets")
    whole.add_argument("--strategy", metavar="NAME", help="none, mirrored, multiworker or tpu")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("runs/benchmark.json"),
        help="default: %(default)s",
    )
    return parser


def main(arguments=None):
    """Runs the command; returns its exit status.

    It prints a table and writes the same as JSON.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    return run(lambda: _benchmark(parser, options), parser)


def _benchmark(parser, options):
    if options.batch_size is None:
        options.batch_size = 2 if options.features else 32
    if options.image_size is None:
        options.image_size = 512 if options.features else 224
    for name in ("batch_size", "image_size", "repeats", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    from regnet_tf.variants import variant_or_file

    try:
        variants = list(map(variant_or_file, options.variant))
    except ValueError as error:
        parser.error(str(error))
    if options.threads:
        set_threads(options.threads)
    if options.recipe or options.data or options.strategy:
        return _measure_training(parser, options, variants[0])
    settings = [
        Setting(variant, options.batch_size, options.image_size, precision, output_stride)
        for variant in variants
        for precision in options.precision
        for output_stride in (options.output_stride if options.features else [None])
    ]
    results = []
    for setting in settings:
        results.append(
            run_setting(setting, options.mode, options.repeats, options.stock, options.timm)
        )
        if options.features and "train" in options.mode:
            _add_memory(setting, results[-1]["contenders"])
        print(table(results[-1:]), flush=True)
    _write(options, results)


def _add_memory(setting, rows):
    from .features import peak_memory

    for row, remat in zip(rows, (False, True), strict=False):
        row["training_memory"] = peak_memory(setting, remat)


def _measure_training(parser, options, variant):
    """Measures the training of a recipe under a strategy."""
    from ..loop.strategies import make_strategy
    from ..recipes import get_recipe
    from .recipe import SYNTHETIC, measure_training
    from .recipe import table as table_of_training

    try:
        changes = {
            "data.name": options.data or SYNTHETIC,
            "network.config": variant,
            "network.precision": options.precision[0],
            "images.size": options.image_size,
            "schedule.batch_size": options.batch_size,
        }
        recipe = get_recipe(options.recipe or "paper", changes)
        strategy = make_strategy(options.strategy or "none")
        result = measure_training(recipe, strategy, options.data_dir, options.repeats)
    except ValueError as error:
        parser.error(str(error))
    print(table_of_training(result))
    _write(options, [result])


def _write(options, results):
    from regnet_tf._files import write_json

    from .environment import environment

    report = {**environment(options.threads or os.cpu_count()), "results": results}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, report, indent=1)
    print(f"Written: {options.out}")
