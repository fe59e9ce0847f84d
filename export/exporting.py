"""A complete export: built in a temporary folder, checked, then moved into place."""

from collections.abc import Callable, Sequence
from pathlib import Path

from regnet_tf._decoding import CHANNELS
from regnet_tf._errors import UserError, import_optional
from regnet_tf.runtimes import open_file

from . import bounds, manifest, moving, report, serving, tflite
from .checks import Checks, measure_speed
from .descriptions import descriptions
from .examples import ENOUGH
from .graph import offending_ops
from .network import Network
from .saved_model import write_saved_model
from .source import Source

_PACKAGES = (
    "ai_edge_litert.interpreter",
    "matplotlib",
    "tensorflow_serving.apis.prediction_log_pb2",
)

#: Files of `serving` next to the networks' folders: path -> description.
SERVING = {f"serving/{name}": what for name, what in serving.FILES.items()}
#: Files of an export next to `serving`: name -> description.
FILES = {
    "tflite": "for phones, one file for each precision",
    "report.md": "how exact and how fast each file is",
    "report.png": "the same as a picture",
    "report.json": "the same as numbers",
    "checks.npz": "images and the Keras model's answers, for `regnet verify`",
    "manifest.json": "checksums",
}


def export(
    source: Source,
    out: Path,
    precisions: Sequence[str] = tflite.PRECISIONS,
    version: int | None = None,
    overwrite: bool = False,
    batch_size: int = 1,
    int8_output: str = "float32",
    say: Callable = print,
) -> dict:
    """Writes the SavedModel, the `.tflite` files, the report and the checks of a network.

    Args:
        source: an `export.source.Source`.
        out: a `Path`: the folder to write to. A second export adds a version to `serving` and
            replaces the other files.
        precisions: precisions of the `.tflite` files, from `export.tflite.PRECISIONS`.
        version: version number of the SavedModel; by default the next one.
        overwrite: whether to replace that version if it exists.
        batch_size: batch size of the `.tflite` files.
        int8_output: output dtype of the int8 file: "float32" or "uint8".
        say: called with a line about each step.

    Returns:
        The content of `report.json`.

    Raises:
        UserError: before anything is written: if the version exists, a precision is unknown,
            calibration images or packages are missing, another process exports to the folder, or
            the folder is not writable. Later: if the network cannot be converted, its run was
            more accurate, a file is out of the bounds of `export.bounds`, or the disk is full;
            `out` is then left as it was.
    """
    for package in _PACKAGES:
        import_optional(package, extra="export")
    tflite.check_options(precisions, batch_size, int8_output, source.examples)
    with moving.staging(out) as folder:
        _check_name(out, source.name)
        serving.read_stable(out / "serving")  # raises now instead of after the export
        target = serving.next_version(out / "serving" / source.name, version, overwrite)
        path = f"serving/{source.name}/{target}"
        kept = manifest.of_other_versions(out, path)
        facts = _build(source, folder, target, precisions, batch_size, int8_output, say)
        files = [path, *(name for name in FILES if name != manifest.FILE)]
        manifest.write_manifest(folder, files, kept)
        moving.move(folder, out, new_version=version is None)
    return facts


def _check_name(out, name):
    """Raises a UserError if the folder holds another network: it may hold only one."""
    others = [one.name for one in (out / "serving").glob("*/") if serving.versions(one)]
    if others and name not in others:
        raise UserError(
            f"{out} holds exports of {others[0]}. Give another --out, or --name {others[0]} to add"
            " a version to them."
        )


def _build(source, folder, version, precisions, batch_size, int8_output, say):
    network = Network(source.model, is_classifier=bool(source.labels))
    checks = Checks.make(source, network)
    warnings = list(_warnings(source, network, precisions))
    for warning in warnings:
        say(f"Warning: {warning}")
    lost = bounds.lost_accuracy(source.accuracy, checks)
    if lost:
        raise UserError(lost)
    saved_model = folder / "serving" / source.name / str(version)
    say(f"SavedModel, version {version} ...")
    files = descriptions(source, network)
    write_saved_model(saved_model, network, source.preprocessing, source.labels, files)
    offending = offending_ops(saved_model)
    if offending:
        raise UserError(
            "The SavedModel contains operations that TensorFlow Serving refuses:"
            f" {'; '.join(offending[:3])}"
        )
    serving.write_warm_up(saved_model, source.name, checks.images)
    artefacts = {"SavedModel": saved_model}
    (folder / "tflite").mkdir()
    quantization = None
    for precision in precisions:
        say(f"TFLite, {precision} ...")
        path = folder / "tflite" / f"{source.name}_{precision}.tflite"
        layers = tflite.write_tflite(
            path, network, source, precision, batch_size, int8_output, str(version)
        )
        quantization = layers or quantization
        artefacts[precision] = path
    for name, text in files.items():
        (folder / "tflite" / name).write_text(text, encoding="utf-8")
    say(
        f"Checks on {len(checks.images)} images ({checks.origin}) and"
        f" {len(checks.photographs)} whole photographs ..."
    )
    checks.write(folder / "checks.npz")
    facts = report.facts(
        source, version, checks, quantization, warnings, _compared(artefacts, checks, folder)
    )
    report.write(folder, facts)
    return facts


def _compared(artefacts, checks, folder):
    """Returns the entry of each file in `report.json`; a `UserError` if one is out of bounds."""
    runs = {name: open_file(path) for name, path in artefacts.items()}
    compared = {name: checks.compare(run) for name, run in runs.items()}
    faults = [
        f"{artefacts[name].name} {fault}"
        for name in artefacts
        for fault in bounds.faults(name, compared[name], checks)
    ]
    if faults:
        raise UserError(
            f"{'; '.join(faults)}. Nothing was written. --precision leaves files out; int8 needs"
            " calibration images like those of the network's use."
        )
    speeds = measure_speed(runs, checks.images)
    return {
        name: {
            "path": str(path.relative_to(folder)),
            "bytes": _size(path),
            **compared[name],
            **speeds[name],
        }
        for name, path in artefacts.items()
    }


def _warnings(source, network, precisions):
    yield from source.assumed
    if network.softmax_is_assumed:
        yield "The network's outputs are taken for logits: softmax makes probabilities of them."
    if network.channels not in CHANNELS:
        yield (
            f"No image file has {network.channels} channels, so the SavedModel takes only arrays"
            " of images and has no signature serving_default."
        )
    count = 0 if source.examples is None else len(source.examples.calibration)
    if "int8" in precisions and count < ENOUGH:
        yield f"int8 was calibrated on {count} images; {ENOUGH} and more are better."
    if source.examples is None:
        yield "Checked on made pictures; --calibration gives images to check with."


def _size(path):
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(file.stat().st_size for file in files)
