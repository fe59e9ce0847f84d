"""`regnet benchmark files`: measures the speed of exported files."""

import argparse
import contextlib
import itertools
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from regnet_command import run

_EPILOG = """\
examples:
  regnet benchmark files shipped
  regnet benchmark files shipped/tflite/mine_int8.tflite shipped/onnx/mine_int8.onnx --threads 1 2 4
  regnet benchmark files --variant regnetx_004 --timm --timm-onnx
  regnet benchmark files --threads 1 2 --regime native avx2 off --repeats 3

PATH is a folder that regnet export wrote, or an exported file: a SavedModel, .tflite, .onnx or
.xml (OpenVINO). Without PATH, the command exports untrained networks in all formats that are
installed, and measures those. It can add the same network of others:

  --unfused      SavedModel by Keras' model.export(): normalization is not fused
  --timm-onnx    timm's network, exported by PyTorch, in ONNX Runtime; also with NumPy's
                 normalization in the call
  --timm         timm's network in PyTorch: eager, channels_last, inference_mode

These peers take normalized float32 images. Exported files take uint8 images and normalize them.

Each file is measured with one image, for latency, and with 32 images, for throughput. A .tflite
file of batch 1 is called 32 times for them. All files run in one process and take turns, so a
machine that slows down slows all of them. Each number of threads and each regime has a
separate process. Regimes set these variables. ONNX Runtime and LiteRT read none of them:

{regimes}

It writes OUT/benchmark.md, .png and .json, again after each process.

Exit status: 0 after success, 2 after an error, 130 after Ctrl-C."""

_PAGES = {"benchmark.md": "the tables", "benchmark.png": "the same as a picture"}
_FILES = {**_PAGES, "benchmark.json": "the same as numbers, turn by turn"}
_VARIANTS = ("regnetx_004", "regnety_004", "regnety_016")
_PACKAGES = (
    *("tensorflow", "keras", "numpy", "ai-edge-litert", "onnxruntime", "openvino", "nncf"),
    *("torch", "timm", "onnx", "onnxscript"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)

    def job():
        if options.report_only:
            _rewrite(options.out)
        else:
            _measure(options)

    return run(job, parser, "Stopped. OUT has what was measured before.")


def _parser():
    from regnet_tf._cpu import available_cores
    from regnet_tf._regimes import NATIVE, REGIMES, regimes_in_a_shell

    parser = argparse.ArgumentParser(
        prog="regnet benchmark files",
        description="Measures how fast exported files run on this machine.",
        epilog=_EPILOG.format(regimes=regimes_in_a_shell()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", metavar="PATH", type=Path, nargs="*", help="exports or exported files (see below)")
    threads = "number of threads; several are measured in turn (default: all cores)"
    add("--threads", metavar="N", type=int, nargs="+", default=[available_cores()], help=threads)
    add(
        "--regime",
        metavar="NAME",
        nargs="+",
        choices=list(REGIMES),
        default=[NATIVE],
        help=f"{', '.join(REGIMES)}, see below (default: {NATIVE})",
    )
    add("--repeats", metavar="N", type=int, default=5, help="turns (default: %(default)s)")
    seconds = "seconds of a file's turn (default: %(default)s)"
    add("--seconds", metavar="S", type=float, default=0.2, help=seconds)
    size = "pixels, for untrained networks and files of any size (default: %(default)s)"
    add("--image-size", metavar="N", type=int, default=224, help=size)
    default = Path("runs/export_benchmark")
    add("--out", metavar="DIR", type=Path, default=default, help="default: %(default)s")
    pages = "measure nothing; write the table and the picture from OUT/benchmark.json"
    add("--report-only", action="store_true", help=pages)
    untrained = parser.add_argument_group("untrained networks, without PATH")
    add = untrained.add_argument
    names = f"any names (default: {' '.join(_VARIANTS)})"
    add("--variant", metavar="NAME", nargs="+", help=names)
    add("--unfused", action="store_true", help="also measure Keras' own export")
    add("--timm", action="store_true", help="also measure timm on PyTorch")
    add("--timm-onnx", action="store_true", help="also measure timm's network in ONNX Runtime")
    return parser


def _measure(options):
    from regnet_tf._errors import import_optional
    from regnet_tf._files import print_paths, write_json

    from . import report
    from .processes import measure
    from .turns import BATCHES

    groups = _checked(options)
    import_optional("matplotlib", extra="export")
    content = {
        **_environment(),
        "settings": {
            "repeats": options.repeats,
            "seconds": options.seconds,
            "batches": BATCHES,
            "untrained": not options.paths,
        },
        "results": [],
    }
    progress = _Progress(len(groups) * len(options.regime) * len(options.threads))
    options.out.mkdir(parents=True, exist_ok=True)
    for opening in groups:
        with opening as group:
            for regime, threads in itertools.product(options.regime, options.threads):
                what = f"{group.name}, {regime}, {report.threads_in_words(threads)}"
                title = progress.title(what)
                measured = measure(group, regime, threads, title, options)
                content["results"].append(report.result(group, regime, threads, measured))
                write_json(options.out / "benchmark.json", content, indent=1)
                _write_pages(options.out, content)
    print(report.tables(content))
    print_paths(options.out, _FILES)


def _checked(options):
    """Checks the options; raises an error for impossible ones before anything runs.

    Returns:
        List of context managers, each of a `Group` that exists inside the block.
    """
    from regnet_tf._checks import check_int, check_number
    from regnet_tf._errors import UserError
    from regnet_tf.variants import variant_or_file

    from .contenders import groups_of
    from .peers import check_peers

    for name in ("image_size", "repeats"):
        check_int(name, getattr(options, name), minimum=1)
    check_number("seconds", options.seconds, minimum=0)
    for threads in options.threads:
        check_int("threads", threads, minimum=1)
    options.threads = list(dict.fromkeys(options.threads))
    options.regime = list(dict.fromkeys(options.regime))
    own = ("variant", "unfused", "timm", "timm_onnx")
    given = [f"--{name.replace('_', '-')}" for name in own if getattr(options, name)]
    if options.paths:
        if given:
            raise UserError(f"{given[0]} is for untrained networks; omit it, or PATH.")
        return [contextlib.nullcontext(group) for group in groups_of(options.paths)]
    check_peers(options)
    variants = dict.fromkeys(variant_or_file(name) for name in options.variant or _VARIANTS)
    return [_untrained(variant, options) for variant in variants]


@contextlib.contextmanager
def _untrained(variant, options):
    """Context manager of the `Group` of an untrained network, whose files live that long."""
    from regnet_tf import get_config

    from .contenders import Group
    from .networks import make_model, write_files
    from .peers import write_peers

    name = get_config(variant).name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _say(f"{name}: export ...")
        model = make_model(variant, options.image_size)
        files, left_out = write_files(model, folder)
        for line in left_out:
            _say(line)
        yield Group(name, files + write_peers(variant, model, folder, options))


class _Progress:
    """Counts the processes, and estimates the time that is left."""

    def __init__(self, count):
        self._count, self._done, self._start = count, 0, time.perf_counter()

    def title(self, what):
        """Returns the start of the lines of the next process."""
        self._done += 1
        left = ""
        if self._done > 1:
            passed = time.perf_counter() - self._start
            minutes = passed / (self._done - 1) * (self._count - self._done + 1) / 60
            left = f" (about {minutes:.0f} min left)"
        return f"[{self._done}/{self._count}] {what}{left}"


def _rewrite(folder):
    """Writes the pages again, from `benchmark.json`."""
    from regnet_tf._errors import UserError, import_optional
    from regnet_tf._files import print_paths, read_json

    import_optional("matplotlib", extra="export")
    path = folder / "benchmark.json"
    try:
        _write_pages(folder, read_json(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; --report-only writes the pages from it.") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is not what this version of the command writes.") from error
    print_paths(folder, _PAGES)


def _write_pages(folder, content):
    from regnet_tf._files import replacing

    from .report import draw, markdown

    with replacing(folder / "benchmark.md") as path:
        path.write_text(markdown(content))
    with replacing(folder / "benchmark.png") as path:
        draw(content).savefig(path, dpi=110)


def _environment():
    """Returns the machine and the versions, to be kept with the figures."""
    from regnet_tf._cpu import processor
    from regnet_tf._versions import installed_versions

    return {
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
        },
        "versions": {"python": platform.python_version(), **installed_versions(_PACKAGES)},
    }


def _say(text):
    print(text, file=sys.stderr, flush=True)
