"""`python -m benchmarks.accelerator`: compares this project with timm on a GPU. See its --help."""

import argparse
import os
import platform
import sys
from pathlib import Path

from regnet_command import defer_library, run, start

_DESCRIPTION = """\
Measures this project on Keras' JAX and PyTorch backends, and timm on PyTorch, on the GPU of this
machine: images per second in training and inference, the first step, and GPU memory. TensorFlow is
not needed. Contenders take turns, so that a slowdown of the machine affects all of them. Without a
GPU, the CPU is measured."""

_EPILOG = """\
examples:
  python -m benchmarks.accelerator
  python -m benchmarks.accelerator --variant RegNetY-1.6GF --batch-size 128 --out runs/gpu
  python -m benchmarks.accelerator --contender regnet_tf_jax timm --precision mixed_bfloat16
  python -m benchmarks.accelerator --variant regnetx_002 --image-size 64 --batch-size 4
                                   --contender regnet_tf_torch timm --repeats 1 --seconds 1

Contenders:

{contenders}

Without --contender, those are measured whose packages are installed here. A contender that fails,
or takes longer than --timeout, is recorded with the reason, and the others continue.

The command writes OUT/comparison.md and OUT/comparison.json after each network and precision. Run
the same command again to resume: nothing is measured twice. Results of other networks, precisions
and batch sizes are added. --report-only writes the page anew from comparison.json.

Exit status: 0 after success, 2 after an error, 130 after Ctrl-C, 143 after SIGTERM."""

_PAGE, _NUMBERS = "comparison.md", "comparison.json"
_FILES = {_PAGE: "the table", _NUMBERS: "the same as numbers, turn by turn"}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    defer_library()
    parser = _parser()
    options = parser.parse_args(arguments)
    job = _rewrite if options.report_only else _compare
    stopped = "Stopped. Run the same command again to resume."
    return run(lambda: job(options), parser, stopped, tensorflow=False)


def _parser():
    from .accelerators.contenders import CONTENDERS, PARTS

    contenders = (f"  {name:20}  {one.how}" for name, one in CONTENDERS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(contenders="\n".join(contenders)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--contender",
        metavar="NAME",
        nargs="+",
        choices=list(CONTENDERS),
        help="contenders to measure (default: all installed)",
    )
    variants = ["regnetx_004", "regnety_004"]
    add(
        "--variant",
        metavar="NAME",
        nargs="+",
        default=variants,
        help=f"networks by any name (default: {' '.join(variants)})",
    )
    precisions = ["float32", "mixed_bfloat16"]
    add(
        "--precision",
        metavar="NAME",
        nargs="+",
        choices=precisions,
        default=precisions,
        help=f"{', '.join(precisions)} (default: both)",
    )
    parts = f"{' and '.join(PARTS)} (default: both)"
    add("--part", metavar="NAME", nargs="+", choices=PARTS, default=PARTS, help=parts)
    add("--batch-size", metavar="N", type=int, default=256, help="images (default: %(default)s)")
    add("--image-size", metavar="N", type=int, default=224, help="pixels (default: %(default)s)")
    add("--repeats", metavar="N", type=int, default=5, help="turns (default: %(default)s)")
    seconds = "seconds of a contender's turn in each part (default: %(default)s)"
    add("--seconds", metavar="S", type=float, default=2, help=seconds)
    timeout = "most seconds of a turn, or of the first steps (default: %(default)s)"
    add("--timeout", metavar="S", type=float, default=600, help=timeout)
    pages = "measure nothing; write the page from OUT/comparison.json"
    add("--report-only", action="store_true", help=pages)
    add(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("runs/accelerator"),
        help="folder for the results (default: %(default)s)",
    )
    return parser


def _compare(options):
    from regnet_tf._files import print_paths, write_json
    from regnet_tf._locking import writing_to

    from .accelerators.report import markdown
    from .accelerators.turns import measure

    settings, names = _settings(options), _names(options)
    options.out.mkdir(parents=True, exist_ok=True)
    with writing_to(options.out):
        report = _report(options, names)
        done = [_key(result) for result in report["results"]]
        for setting in settings:
            if _key(vars(setting)) in done:
                continue
            _say(f"{setting.variant}, {setting.precision}, batches of {setting.batch_size}:")
            numbers = options.repeats, options.seconds, options.timeout
            result = measure(setting, names, report["settings"]["parts"], *numbers, _say)
            _add(report, result, options.out / _NUMBERS)
            write_json(options.out / _NUMBERS, report, indent=1)
            _write_page(options.out, report)
    print(markdown(report))
    print_paths(options.out, _FILES)


def _settings(options):
    """Checks the options; returns a `Setting` for each network and precision."""
    from regnet_tf._checks import check_int, check_number
    from regnet_tf.variants import variant_key

    from .accelerators.turns import Setting

    for name, minimum in (("batch_size", 1), ("image_size", 32), ("repeats", 1)):
        check_int(name, getattr(options, name), minimum=minimum)
    check_number("seconds", options.seconds, minimum=0)
    check_number("timeout", options.timeout, above=0)
    sizes = options.batch_size, options.image_size
    variants = dict.fromkeys(variant_key(name, "--variant") for name in options.variant)
    precisions = dict.fromkeys(options.precision)
    return [Setting(variant, one, *sizes) for variant in variants for one in precisions]


def _names(options):
    """Returns the names of the contenders to measure."""
    import importlib.util

    from regnet_tf._errors import UserError

    from .accelerators.contenders import CONTENDERS

    missing = {
        name: [module for module in one.modules if importlib.util.find_spec(module) is None]
        for name, one in CONTENDERS.items()
    }
    asked = [name for name in CONTENDERS if name in (options.contender or CONTENDERS)]
    if options.contender is None:
        asked = [name for name in asked if not missing[name]]
    for name in asked:
        if missing[name]:
            raise UserError(f"{name} needs packages: pip install {' '.join(missing[name])}")
    if not asked:
        raise UserError("No contender is installed: pip install jax torch torchvision timm")
    return asked


def _report(options, names):
    """Returns the content of `comparison.json` so far, or a new one without results."""
    from regnet_tf._cpu import processor
    from regnet_tf._errors import UserError
    from regnet_tf._versions import installed_versions

    from .accelerators.contenders import CONTENDERS, PACKAGES, PARTS

    report = {
        "machine": {
            "device": None,
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": installed_versions(PACKAGES),
        "settings": {
            "parts": [part for part in PARTS if part in options.part],
            "image_size": options.image_size,
            "repeats": options.repeats,
            "seconds": options.seconds,
        },
        "contenders": [{"name": name, "how": CONTENDERS[name].how} for name in names],
        "results": [],
    }
    path = options.out / _NUMBERS
    if not path.exists():
        return report
    known = _read(path)
    for part in ("versions", "settings", "contenders"):
        if known[part] != report[part]:
            raise UserError(f"{path} has other {part}: choose another --out")
    return known


def _add(report, result, path):
    """Adds a result to a report; raises an error if another device gave it."""
    from regnet_tf._errors import UserError

    machine, device = report["machine"], result["device"]
    if machine["device"] not in (None, device):
        message = f"{path} is of {machine['device']}, not {device}: choose another --out"
        raise UserError(message)
    machine["device"] = device
    report["results"].append(result)


def _key(result):
    return tuple(result[name] for name in ("variant", "precision", "batch_size", "image_size"))


def _read(path):
    from regnet_tf._files import read_json

    return read_json(path, "machine", "versions", "settings", "contenders", "results")


def _rewrite(options):
    """Writes the page again, from `comparison.json`."""
    from regnet_tf._errors import UserError
    from regnet_tf._files import print_paths

    path = options.out / _NUMBERS
    try:
        _write_page(options.out, _read(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; --report-only writes the page from it.") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is not what this version of the command writes.") from error
    print_paths(options.out, {_PAGE: _FILES[_PAGE]})


def _write_page(folder, report):
    from regnet_tf._files import replacing

    from .accelerators.report import markdown

    page = markdown(report)
    with replacing(folder / _PAGE) as path:
        path.write_text(page)


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    start(".accelerator", __package__)
