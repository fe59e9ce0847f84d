"""`regnet benchmark files`: measures the speed of exported networks and of their peers.

All contenders have the same weights. They run in one process and take turns, so a machine that
slows down slows all of them. Figures are medians over the turns. Ratios are medians of the ratios
in each turn.
"""

import argparse
import collections
import contextlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regnet_command import run, start

from .contenders import (
    BATCHES,
    FUSED,
    KERAS,
    SIGNATURE,
    Contender,
    import_peer,
    make_model,
    normalized,
    peers,
    saved_models,
    tflite_files,
)

_EPILOG = """\
examples:
  regnet benchmark files
  regnet benchmark files --variant regnetx_004 regnety_032 --threads 1 --profile
  regnet benchmark files --timm --onnxruntime --repeats 15 --out runs/peers

Weights and images are random. The command compares these forms:

  SavedModel, Keras' normalization   with Keras' own BatchNormalization; the base of the ratios
  SavedModel, unfused                written by model.export()
  SavedModel, fused                  written by regnet export
  timm, eager                        with --timm: PyTorch, channels_last, inference_mode
  ONNX Runtime                       with --onnxruntime: timm's network, exported by PyTorch
  TFLite float32, TFLite int8        written by regnet export, run by XNNPACK, batch 1

It writes OUT/benchmark.md and OUT/benchmark.json.

Exit status: 0 after success, 2 after an error."""

#: Name of a contender -> batch size -> seconds of a call in each turn.
Seconds = dict[str, dict[int, list[float]]]

_SECONDS = 0.2  # minimum duration of a turn
_CALIBRATION_IMAGES = 16
_PACKAGES = (
    *("tensorflow", "keras", "numpy", "ai-edge-litert"),
    *("torch", "timm", "onnx", "onnxscript", "onnxruntime"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    return run(lambda: _measure(options), parser)


def _measure(options):
    from regnet_tf._files import print_paths

    variants = _checked(options)
    report = {**_environment(options), "results": []}
    for variant in variants:
        report["results"].append(_measure_variant(variant, options))
    _write(options.out, report)
    print(table(report["results"]))
    for result in report["results"]:
        if result["profile"]:
            print(f"\n{profile_table(result)}")
    print_paths(options.out, {"benchmark.md": "this table", "benchmark.json": "every turn"})


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet benchmark files",
        description="Measures how fast a RegNet runs in its exported forms.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = "any names (default: regnetx_004)"
    add("--variant", metavar="NAME", nargs="+", default=["regnetx_004"], help=names)
    add("--image-size", metavar="N", type=int, default=224, help="pixels (default: %(default)s)")
    add("--repeats", metavar="N", type=int, default=7, help="turns (default: %(default)s)")
    add("--threads", metavar="N", type=int, help="number of cores to use (default: all)")
    add("--timm", action="store_true", help="also measure timm on PyTorch")
    add("--onnxruntime", action="store_true", help="also measure timm's network in ONNX Runtime")
    add("--profile", action="store_true", help="also list the kernels of the fused SavedModel")
    default = Path("runs/export_benchmark")
    add("--out", metavar="DIR", type=Path, default=default, help="default: %(default)s")
    return parser


def _checked(options):
    """Checks the options, sets the threads and returns the variants' keys.

    Raises an error for impossible options before anything runs.
    """
    from regnet_tf._checks import check_int
    from regnet_tf._cpu import available_cores
    from regnet_tf._torch import import_timm
    from regnet_tf.runtimes.saved_model import limit_tensorflow
    from regnet_tf.variants import variant_key

    for name in ("image_size", "repeats", "threads"):
        if getattr(options, name) is not None:
            check_int(name, getattr(options, name), minimum=1)
    variants = [variant_key(name) for name in options.variant]
    if options.threads:
        limit_tensorflow(options.threads)
    options.threads = options.threads or available_cores()
    if options.timm or options.onnxruntime:
        import_timm()
    if options.onnxruntime:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            import_peer(package)
    return variants


def _measure_variant(variant, options):
    import numpy as np

    model = make_model(variant, options.image_size)
    shape = (max(BATCHES), *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contenders = saved_models(model, folder)
        if options.timm or options.onnxruntime:
            contenders += peers(variant, model, folder, options)
        contenders += tflite_files(model, images[:_CALIBRATION_IMAGES], folder, options.threads)
        seconds = measure(contenders, images, options.repeats, _say(variant))
        kernels = None
        if options.profile:
            kernels = profile(folder / FUSED, normalized(images), options.threads)
    return {
        "variant": variant,
        "image_size": options.image_size,
        "rows": rows(seconds),
        "profile": kernels,
    }


def _say(variant):
    return lambda text: print(f"{variant}: {text}", file=sys.stderr, flush=True)


def measure(contenders: list[Contender], images: Any, repeats: int, say: Callable) -> Seconds:
    """Measures contenders, which take turns.

    Args:
        contenders: list of `Contender`s.
        images: images to take batches from, with levels 0 to 255, uint8 `(count, size, size, 3)`.
        repeats: number of turns.
        say: called with a line about each turn.

    Returns:
        Dict: name -> batch size -> list with the seconds of a call in each turn.
    """
    seconds: Seconds = {contender.name: {} for contender in contenders}
    for batch in BATCHES:
        taking_part = [
            (contender, contender.prepare(images[:batch]))
            for contender in contenders
            if batch in contender.batches
        ]
        for turn in range(1, repeats + 1):
            for contender, inputs in taking_part:
                taken = _seconds(contender.run, inputs)
                seconds[contender.name].setdefault(batch, []).append(taken)
            say(f"batch {batch}, turn {turn} of {repeats}")
    return seconds


def _seconds(run, inputs):
    """Returns the mean seconds of a call, over `_SECONDS` seconds of calls."""
    run(inputs)  # warm-up: the first call prepares, and the caches hold another network's weights
    start, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < _SECONDS or not calls:
        run(inputs)
        calls += 1
    return passed / calls


def rows(seconds: Seconds) -> list[dict]:
    """Returns the rows of the table.

    Args:
        seconds: result of `measure`.

    Returns:
        A dict for each contender: "name", "latency_ms" for a batch of one, "images_per_second" in
        batches of 32, "latency_ratio" and "throughput_ratio", and the "seconds" of each turn. A
        ratio says how many times as fast as `KERAS` the contender is. None if not measured.
    """
    one, many = BATCHES
    found = []
    for name, times in seconds.items():
        medians = {batch: statistics.median(turns) for batch, turns in times.items()}
        row = {
            "name": name,
            "latency_ms": 1000 * medians[one],
            "latency_ratio": _ratio(seconds[KERAS], times, one),
            "images_per_second": many / medians[many] if many in medians else None,
            "throughput_ratio": _ratio(seconds[KERAS], times, many),
            "seconds": times,
        }
        found.append(row)
    return found


def _ratio(reference, times, batch):
    if batch not in times:
        return None
    return statistics.median(a / b for a, b in zip(reference[batch], times[batch], strict=True))


def profile(path: Path, images: Any, threads: int) -> dict[str, float]:
    """Profiles the kernels that TensorFlow runs for a SavedModel.

    Args:
        path: path of the SavedModel's folder.
        images: float32 `(batch, height, width, 3)`.
        threads: number of threads to run it with.

    Returns:
        Dict: kernel -> percent of the total kernel time, largest first.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    metadata = v1.RunMetadata()
    with v1.Session(graph=tf.Graph(), config=config) as session, _without_warnings():
        loaded = v1.saved_model.loader.load(session, ["serve"], str(path))
        signature = loaded.signature_def[SIGNATURE]
        outputs = [output.name for output in signature.outputs.values()]
        feed = {signature.inputs["images"].name: images}
        session.run(outputs, feed)  # warm-up
        session.run(outputs, feed, options=options, run_metadata=metadata)
    return _shares(metadata.step_stats)


@contextlib.contextmanager
def _without_warnings():
    """Silences deprecation warnings inside the block.

    Only TensorFlow 1's sessions, which are deprecated, report the time of each kernel.
    """
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _shares(step_stats):
    times: collections.Counter[str] = collections.Counter()
    for device in step_stats.dev_stats:
        for node in device.node_stats:
            kernel = node.timeline_label.partition(" = ")[2].partition("(")[0]
            times[kernel] += node.op_end_rel_nanos - node.op_start_rel_nanos
    total = times.total()
    return {kernel: 100 * time / total for kernel, time in times.most_common() if time}


def table(results: list[dict]) -> str:
    """Returns the results as a markdown table."""
    from regnet_tf._markdown import markdown_table

    columns = ["variant", "pixels", "form", "batch 1 (ms)", "ratio", "batch 32 (images/s)", "ratio"]
    rows = []
    for result in results:
        for row in result["rows"]:
            cells = [result["variant"], result["image_size"], row["name"]]
            cells += [_cell(row["latency_ms"], 2), _cell(row["latency_ratio"], 2)]
            cells += [_cell(row["images_per_second"], 1), _cell(row["throughput_ratio"], 2)]
            rows.append(cells)
    return markdown_table(columns, rows, left=(0, 2))


def profile_table(result: dict) -> str:
    """Returns the kernels of a result as a markdown table."""
    from regnet_tf._markdown import markdown_table

    columns = [f"{result['variant']}: kernel", "share of time (%)"]
    rows = [[f"`{kernel}`", f"{share:.1f}"] for kernel, share in result["profile"].items()]
    return markdown_table(columns, rows)


def _cell(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def _environment(options):
    """Returns the machine, versions and settings, to be kept with the figures."""
    from regnet_tf._cpu import onednn, processor
    from regnet_tf._versions import installed_versions

    versions = {"python": platform.python_version(), **installed_versions(_PACKAGES)}
    settings = {"repeats": options.repeats, "threads": options.threads, "batches": BATCHES}
    return {
        "processor": processor(),
        "onednn": onednn(),
        "versions": versions,
        "settings": settings,
    }


def _write(folder, report):
    from regnet_tf._files import replacing, write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "benchmark.json", report, indent=1)
    with replacing(folder / "benchmark.md") as path:
        path.write_text(markdown(report))


def markdown(report: dict) -> str:
    """Returns the report as a markdown page."""
    settings = report["settings"]
    parts = [
        "# Exported networks, side by side",
        table(report["results"]),
        f"Ratio: how many times as fast as `{KERAS}`. Medians of {settings['repeats']} turns,"
        f" {settings['threads']} threads of {report['processor']}, oneDNN {report['onednn']};"
        " untrained weights.",
    ]
    profiled = [result for result in report["results"] if result["profile"]]
    if profiled:
        parts.append(f"## Kernels of `{FUSED}`, batch {max(BATCHES)}")
        parts += [profile_table(result) for result in profiled]
    parts.append(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    start(".benchmark", __package__)
