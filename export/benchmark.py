"""`python -m export.benchmark`: how fast a network runs in its exported forms, and its peers.

All contenders hold the same weights. They run in one process and in turns, so that a machine that
slows down slows all of them; figures are medians, ratios are medians of the ratios turn by turn.
"""

import argparse
import collections
import contextlib
import dataclasses
import importlib
import importlib.metadata
import json
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from export.command import quietly
from export.machine import processor

_EPILOG = """\
examples:
  python -m export.benchmark
  python -m export.benchmark --variant regnetx_004 regnety_032 --threads 1 --profile
  python -m export.benchmark --timm --onnxruntime --repeats 15 --out runs/peers

Weights are random, and so are images. Forms that are compared:

  SavedModel, Keras' normalization   as Keras' own BatchNormalization writes it; ratios refer to it
  SavedModel, unfused                as model.export() writes regnet_tf's network
  SavedModel, fused                  as python -m export writes it
  timm, eager                        with --timm: PyTorch, channels_last, inference_mode
  ONNX Runtime                       with --onnxruntime: timm's network, exported by PyTorch
  TFLite float32, TFLite int8        as python -m export writes them, run by XNNPACK, batch 1 alone

Written are OUT/benchmark.md and OUT/benchmark.json.

Exit status: 0 if it worked, 2 if something asked for is not possible."""

KERAS = "SavedModel, Keras' normalization"
UNFUSED = "SavedModel, unfused"
FUSED = "SavedModel, fused"
TIMM = "timm, eager"
ONNX = "ONNX Runtime"
TFLITE = "TFLite {}"

#: Images of a call, for latency and for throughput.
BATCHES = (1, 32)
_SECONDS = 0.2  # a turn lasts at least so long
_CALIBRATION_IMAGES = 16
_SIGNATURE = "serving_default"
_PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert", "torch", "timm", "onnx")
_PACKAGES += ("onnxscript", "onnxruntime")
_RANGES = {
    "gamma": (0.5, 1.5),
    "beta": (-0.5, 0.5),
    "moving_mean": (-0.5, 0.5),
    "moving_variance": (0.5, 1.5),
    "bias": (-0.1, 0.1),
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """A network in one form.

    Attributes:
        name: of the form.
        prepare: function from levels, uint8 `(batch, size, size, 3)`, to what `run` takes; it is
            not measured.
        run: function to logits `(batch, classes)`, a numpy array (TFLite files give probabilities).
        batches: sizes of batches to measure.
    """

    name: str
    prepare: Callable
    run: Callable
    batches: tuple[int, ...] = BATCHES


def main(arguments=None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    with quietly():
        from regnet_tf._errors import UserError, fail
        from regnet_tf._files import print_paths
    try:
        variants = _checked(options)
        report = {**_environment(options), "results": []}
        for variant in variants:
            report["results"].append(_measure_variant(variant, options))
        _write(options.out, report)
    except (UserError, ValueError, OSError, ImportError) as error:
        return fail(parser, error)
    print(table(report["results"]))
    for result in report["results"]:
        if result["profile"]:
            print(f"\n{profile_table(result)}")
    print_paths(options.out, {"benchmark.md": "this table", "benchmark.json": "every turn"})
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m export.benchmark",
        description="Measures how fast a RegNet runs in its exported forms.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = "any names (default: regnetx_004)"
    add("--variant", metavar="NAME", nargs="+", default=["regnetx_004"], help=names)
    add("--image-size", metavar="N", type=int, default=224, help="pixels (default: %(default)s)")
    add("--repeats", metavar="N", type=int, default=7, help="turns (default: %(default)s)")
    add("--threads", metavar="N", type=int, help="cores to use (default: all)")
    add("--timm", action="store_true", help="also timm on PyTorch")
    add("--onnxruntime", action="store_true", help="also timm's network in ONNX Runtime")
    add("--profile", action="store_true", help="also the kernels of the fused SavedModel")
    default = Path("runs/export_benchmark")
    add("--out", metavar="DIR", type=Path, default=default, help="default: %(default)s")
    return parser


def _checked(options):
    """The variants' keys; sets threads. Raises for what is not possible, before anything runs."""
    from export.runners import THREADS
    from regnet_tf._checks import check_int
    from regnet_tf.variants import variant_key

    for name in ("image_size", "repeats", "threads"):
        if getattr(options, name) is not None:
            check_int(name, getattr(options, name), minimum=1)
    variants = [variant_key(name) for name in options.variant]
    if options.threads:
        _limit_tensorflow(options.threads)
    options.threads = options.threads or THREADS
    if options.timm or options.onnxruntime:
        _import_timm()
    if options.onnxruntime:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            _import_peer(package)
    return variants


def _limit_tensorflow(threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _measure_variant(variant, options):
    import numpy as np

    model = make_model(variant, options.image_size)
    shape = (max(BATCHES), *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        contenders = saved_models(model, folder)
        if options.timm or options.onnxruntime:
            contenders += peers(variant, model, folder, options)
        contenders += tflite_files(model, images[:_CALIBRATION_IMAGES], folder, options.threads)
        seconds = measure(contenders, images, options.repeats, _say(variant))
        kernels = None
        if options.profile:
            kernels = profile(folder / FUSED, _normalized(images), options.threads)
    return {
        "variant": variant,
        "image_size": options.image_size,
        "rows": rows(seconds),
        "profile": kernels,
    }


def _say(variant):
    return lambda text: print(f"{variant}: {text}", file=sys.stderr, flush=True)


def make_model(variant, image_size):
    """An untrained network of normalized images, to logits."""
    import regnet_tf

    shape = (image_size, image_size, 3)
    model = regnet_tf.create_model(variant, input_shape=shape, classifier_activation=None)
    randomize(model)
    return model


def randomize(model):
    """Gives a model random normalizations and biases.

    Those of a new network change nothing, and some runtimes drop what changes nothing.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    for variable in model.variables:
        kind = variable.path.rpartition("/")[2]
        if kind in _RANGES:
            variable.assign(rng.uniform(*_RANGES[kind], variable.shape))


def saved_models(model, folder) -> list[Contender]:
    """The three SavedModels of a network, from normalized images to logits.

    Args:
        model: of `make_model`.
        folder: a `Path` to write them to, each under its name.
    """
    from export.network import Network

    variables = [variable.value for variable in model.variables]

    def call(images):
        return model(images, training=False)

    network = Network(model)
    traced = network.traced(None, network.size)
    with _stock_normalization():
        stock = _saved_model(folder / KERAS, call, variables, network.size)
    return [
        stock,
        _saved_model(folder / UNFUSED, call, variables, network.size),
        _saved_model(
            folder / FUSED, lambda x: traced(x)["logits"], network.variables, network.size
        ),
    ]


@contextlib.contextmanager
def _stock_normalization():
    """Inside, regnet_tf's layers normalize as Keras' do."""
    import keras

    from regnet_tf import layers

    with mock.patch.object(layers.BatchNorm, "call", keras.layers.BatchNormalization.call):
        yield


def _saved_model(path, function, variables, size):
    """Writes a function to logits as a SavedModel, and loads it."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, *size, 3), tf.float32, name="images")
    module = tf.Module()
    module.variables_ = variables
    signature = tf.function(
        lambda images: {"logits": function(images)}, input_signature=[spec], autograph=False
    )
    tf.saved_model.save(module, str(path), signatures={_SIGNATURE: signature})
    loaded = tf.saved_model.load(str(path))

    def run(images):
        return loaded.signatures[_SIGNATURE](images=images)["logits"].numpy()

    return Contender(path.name, lambda images: tf.constant(_normalized(images)), run)


def tflite_files(model, calibration, folder, threads) -> list[Contender]:
    """The float32 and the int8 `.tflite` file of a network.

    Args:
        model: of `make_model`.
        calibration: levels, uint8 `(count, size, size, 3)`.
        folder: a `Path` to write them to.
        threads: to run them with.
    """
    from export.examples import Examples
    from export.network import Network
    from export.runners import open_tflite
    from export.source import Source
    from export.tflite import write_tflite
    from regnet_tf import Preprocessing

    examples = Examples(calibration, calibration, None, "random levels")
    preprocessing = Preprocessing(image_size=calibration.shape[1])
    source = Source(model.name, model, preprocessing, (), examples)
    network = Network(model)
    contenders = []
    for precision in ("float32", "int8"):
        path = folder / f"{precision}.tflite"
        write_tflite(path, network, source, precision, 1, "uint8", "1")
        run = open_tflite(path, threads)
        contenders.append(Contender(TFLITE.format(precision), lambda images: images, run, (1,)))
    return contenders


def peers(variant, model, folder, options) -> list[Contender]:
    """timm's network with a model's weights, in PyTorch and in ONNX Runtime.

    Args:
        variant: its name there.
        model: of `make_model`.
        folder: a `Path` to write to.
        options: with `timm` and `onnxruntime`, which of them, and `threads`.

    Raises:
        UserError: where timm has no such network.
    """
    network = _timm_network(variant, model)
    found = [_timm(network, options.threads)] if options.timm else []
    if options.onnxruntime:
        found.append(_onnxruntime(network, model.input_shape[1], folder, options.threads))
    return found


def _timm_network(variant, model):
    from regnet_tf import to_state_dict
    from regnet_tf._errors import UserError

    torch, timm = _import_timm()
    if not timm.is_model(variant):
        raise UserError(f"timm has no {variant}; leave --timm and --onnxruntime out.")
    network = timm.create_model(variant).eval()
    weights = to_state_dict(model)
    network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return network


def _timm(network, threads):
    import torch

    torch.set_num_threads(threads)
    network = network.to(memory_format=torch.channels_last)

    def prepare(images):
        images = torch.from_numpy(_normalized(images)).permute(0, 3, 1, 2)
        return images.contiguous(memory_format=torch.channels_last)

    def run(images):
        with torch.inference_mode():
            return network(images).numpy()

    return Contender(TIMM, prepare, run)


def _onnxruntime(network, size, folder, threads):
    """One file for batches of any size, as the SavedModels are."""
    import numpy as np
    import onnxruntime
    import torch

    path = str(folder / "network.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of its own insides
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            path,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            verbose=False,
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def prepare(images):
        return np.ascontiguousarray(_normalized(images).transpose(0, 3, 1, 2))

    return Contender(ONNX, prepare, lambda images: session.run(None, {"images": images})[0])


def _import_timm():
    """PyTorch and timm."""
    torch = _import_peer("torch")
    with contextlib.suppress(RuntimeError):
        # A CPU build of PyTorch beside torchvision's standard wheel lacks torchvision's compiled
        # operations, and torchvision does not import unless they are at least declared.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return torch, _import_peer("timm")


def _import_peer(package):
    from regnet_tf._errors import UserError

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"The peers need the package `{package}`:"
            " pip install torch timm onnx onnxscript onnxruntime"
        ) from error


def _normalized(images):
    import numpy as np

    from regnet_tf import Preprocessing

    return np.array(Preprocessing(image_size=images.shape[1]).normalize(images))


def measure(contenders, images, repeats, say) -> dict:
    """Measures contenders in turns.

    Args:
        contenders: list of `Contender`s.
        images: levels, uint8 `(count, size, size, 3)`, to take batches from.
        repeats: turns.
        say: called with a line about each turn.

    Returns:
        Name -> size of a batch -> seconds of a call, in each turn.
    """
    seconds = {contender.name: {} for contender in contenders}
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
    """Of one call; the mean of as many as there is time for."""
    run(inputs)  # the first one prepares, and finds the caches full of another's weights
    start, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < _SECONDS or not calls:
        run(inputs)
        calls += 1
    return passed / calls


def rows(seconds) -> list[dict]:
    """What a table says.

    Args:
        seconds: of `measure`.

    Returns:
        For each contender a dict: "name", "latency_ms" of a batch of one, "images_per_second" in
        batches of 32, for each of them how many times as fast as `KERAS` it is, and "seconds" of
        each turn; None for what was not measured.
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


def profile(path, images, threads) -> dict[str, float]:
    """The kernels that TensorFlow runs for a SavedModel.

    Args:
        path: of its folder.
        images: float32 `(batch, height, width, 3)`.
        threads: to run it with.

    Returns:
        Kernel -> percent of the time in kernels, the largest first.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    metadata = v1.RunMetadata()
    with v1.Session(graph=tf.Graph(), config=config) as session, _without_warnings():
        loaded = v1.saved_model.loader.load(session, ["serve"], str(path))
        signature = loaded.signature_def[_SIGNATURE]
        outputs = [output.name for output in signature.outputs.values()]
        feed = {signature.inputs["images"].name: images}
        session.run(outputs, feed)  # the first one prepares
        session.run(outputs, feed, options=options, run_metadata=metadata)
    return _shares(metadata.step_stats)


@contextlib.contextmanager
def _without_warnings():
    """Of functions that are deprecated: sessions alone tell what each kernel took."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _shares(step_stats):
    times = collections.Counter()
    for device in step_stats.dev_stats:
        for node in device.node_stats:
            kernel = node.timeline_label.partition(" = ")[2].partition("(")[0]
            times[kernel] += node.op_end_rel_nanos - node.op_start_rel_nanos
    total = times.total()
    return {kernel: 100 * time / total for kernel, time in times.most_common() if time}


def table(results) -> str:
    """The results as a markdown table."""
    lines = [
        "variant | pixels | form | batch 1 (ms) | ratio | batch 32 (images/s) | ratio",
        "--- | --: | --- | --: | --: | --: | --:",
    ]
    for result in results:
        for row in result["rows"]:
            cells = [result["variant"], str(result["image_size"]), row["name"]]
            cells += [_cell(row["latency_ms"], 2), _cell(row["latency_ratio"], 2)]
            cells += [_cell(row["images_per_second"], 1), _cell(row["throughput_ratio"], 2)]
            lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def profile_table(result) -> str:
    """The kernels of a result as a markdown table."""
    lines = [f"{result['variant']}: kernel | share of time (%)", "--- | --:"]
    lines += [f"`{kernel}` | {share:.1f}" for kernel, share in result["profile"].items()]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def _environment(options):
    """Machine, versions and settings, for whoever reads the figures later."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    settings = {"repeats": options.repeats, "threads": options.threads, "batches": BATCHES}
    return {"processor": processor(), "versions": versions, "settings": settings}


def _write(folder, report):
    from regnet_tf._files import replacing

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "benchmark.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(folder / "benchmark.md") as path:
        path.write_text(markdown(report))


def markdown(report) -> str:
    """The report as a page."""
    settings = report["settings"]
    parts = [
        "# Exported networks, side by side",
        table(report["results"]),
        f"Ratio: how many times as fast as `{KERAS}`. Medians of {settings['repeats']} turns,"
        f" {settings['threads']} threads of {report['processor']}; untrained weights.",
    ]
    profiled = [result for result in report["results"] if result["profile"]]
    if profiled:
        parts.append(f"## Kernels of `{FUSED}`, batch {max(BATCHES)}")
        parts += [profile_table(result) for result in profiled]
    parts.append(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
