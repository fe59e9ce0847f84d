"""Report of an export, as JSON, markdown and a chart."""

import datetime
import os
import platform
from pathlib import Path

import regnet_tf
from regnet_tf._checks import check_number
from regnet_tf._cpu import onednn, processor
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import read_json, write_json
from regnet_tf._markdown import markdown_table
from regnet_tf._versions import installed_versions

from . import bounds, manifest
from .checks import Checks
from .source import Source

FILE = "report.json"

_PACKAGES = (
    *("tensorflow", "keras", "numpy"),
    *("ai-edge-litert", "onnx", "onnxruntime", "openvino"),
)
_BLUE, _GREY, _LIGHT = "#1f5fa8", "#666666", "#dddddd"
_LEAST_DIFFERENCE = 1e-9  # where a difference of 0 is drawn
_WORST_LAYERS = 8
_OUTPUTS = (None, "features")


def facts(
    source: Source,
    number: int,
    checks: Checks,
    quantization: dict[str, list[dict]],
    warnings: list[str],
    artefacts: dict[str, dict],
    failed: dict[str, str],
) -> dict:
    """Returns the content of `report.json`.

    Args:
        source: an `export.source.Source`.
        number: version number.
        checks: the `export.checks.Checks`.
        quantization: dict: name of a file -> errors of its layers in integers, dicts with "layer"
            and "error".
        warnings: list of lines.
        artefacts: dict: name -> dict of a file with "path", "precision", "output", "bytes", and the
            results of `Checks.compare` and `measure_speed`.
        failed: dict: name of a file or format that could not be written -> reason.
    """
    return {
        "name": source.name,
        "version": number,
        "fingerprint": source.fingerprint,
        "classes": len(source.labels),
        "multi_label": checks.multi_label,
        "preprocessing": source.preprocessing.to_dict(),
        "checks": {
            "images": len(checks.images),
            "photographs": len(checks.photographs),
            "origin": checks.origin,
        },
        "keras": {"accuracy": checks.accuracy},
        "artefacts": artefacts,
        "failed": dict(failed),
        "quantization": quantization,
        "warnings": warnings,
        "machine": {
            "processor": processor(),
            "onednn": onednn(),
            "threads": os.cpu_count(),
        },
        "versions": {
            "python": platform.python_version(),
            "regnet_tf": regnet_tf.__version__,
            **installed_versions(_PACKAGES),
        },
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def write(folder, facts):
    """Writes `report.json`, `report.md` and `report.png`."""
    write_json(folder / FILE, facts)
    (folder / "report.md").write_text(markdown(facts))
    chart(facts).savefig(folder / "report.png", dpi=130)


def read_fingerprint(file: Path) -> str | None:
    """Reads the `Source.fingerprint` of the exported network from a `report.json`.

    Raises:
        UserError: if the report is damaged.
    """
    return read_json(file, "fingerprint")["fingerprint"]


def read_artefacts(file: Path) -> dict[str, dict]:
    """Reads the entries of the exported files in a `report.json`, as `facts` has them.

    Raises:
        UserError: if the report is damaged, or names files outside of its folder.
    """
    artefacts = read_json(file, "artefacts")["artefacts"]
    if not isinstance(artefacts, dict):
        raise UserError(f'{file} is damaged: "artefacts" is no object')
    for name, one in artefacts.items():
        if not isinstance(one, dict) or not manifest.is_inside(one.get("path")):
            raise UserError(f"{file} is damaged: {name} has no path in its folder")
        if one.get("precision") not in bounds.BOUNDS or one.get("output") not in _OUTPUTS:
            raise UserError(f"{file} is damaged: {name} has no known precision and output")
        for key in ("max_difference", "photographs", "top1_agreement"):
            try:
                check_number(key, one.get(key, 0), minimum=0)
            except ValueError as error:
                raise UserError(f"{file} is damaged: {name}: {error}") from error
    return artefacts


def table(artefacts: dict[str, dict], classifier: bool = True) -> str:
    """Returns the files as a markdown table."""
    columns = ["file", "size (MB)", "largest difference", "worst cosine"]
    columns += ["same decision (%)", "accuracy (%)"] if classifier else []
    columns += ["batch 1 (ms)", "images/s"]
    rows = []
    for name, one in artefacts.items():
        cells = [name, f"{one['bytes'] / 1e6:.2f}", f"{one['max_difference']:.1e}"]
        cells.append(f"{one['cosine']:.5f}")
        if classifier:
            cells += [_percent(one.get(key)) for key in ("top1_agreement", "accuracy")]
        cells += [f"{one['latency_ms']:.2f}", f"{one['images_per_second']:.1f}"]
        rows.append(cells)
    return markdown_table(columns, rows)


def markdown(facts: dict) -> str:
    """Returns the report as a markdown page."""
    classifier = facts["classes"] > 0
    output = "probabilities" if classifier else "features"
    machine, checks = facts["machine"], facts["checks"]
    parts = [
        f"# {facts['name']}, version {facts['version']}",
        f"Compared with the Keras model's {output} on {checks['images']} images"
        f" ({checks['origin']}). {_photographs(facts)}",
        table(facts["artefacts"], classifier),
    ]
    if facts["keras"]["accuracy"] is not None:
        parts.append(f"The Keras model's accuracy is {facts['keras']['accuracy']:.2f} %.")
    parts += [
        f"Speed: medians of turns, {machine['threads']} threads of {machine['processor']},"
        f" oneDNN {machine['onednn']};"
        " `.tflite` files run in their own batch size.",
        "![chart](report.png)",
    ]
    parts += [f"**Warning:** {warning}" for warning in facts["warnings"]]
    parts += [f"**Failed:** {name}: {reason}" for name, reason in facts["failed"].items()]
    if facts["quantization"]:
        parts += ["## Where integers lose", _ERROR]
        parts += [_layers(name, layers) for name, layers in facts["quantization"].items()]
    parts += ["## Bounds", _BOUNDS, bounds.table()]
    parts.append(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    return "\n\n".join(parts) + "\n"


def _photographs(facts):
    """Returns a sentence about the check from encoded files to outputs."""
    differences = {
        name: one["photographs"] for name, one in facts["artefacts"].items() if "photographs" in one
    }
    if not differences:
        return "No file takes image files."
    return (
        f"{facts['checks']['photographs']} whole photographs were also given as files. Largest"
        " difference from the Keras model on them: "
        + ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        + "."
    )


def _layers(name, layers):
    worst = sorted(layers, key=lambda layer: -layer["error"])[:_WORST_LAYERS]
    rows = [[f"`{layer['layer']}`", f"{layer['error']:.4f}"] for layer in worst]
    text = markdown_table(["layer", "error"], rows)
    return f"{name}, the worst of {len(layers)}:\n\n{text}"


_BOUNDS = (
    "An export fails if a file is farther from the Keras model than this table allows;"
    " `regnet verify` holds the same bounds. A decision is the class of an image or a pixel or,"
    " where an image can have several classes, whether it has a class. Only decisions that the"
    " Keras model clearly prefers, by a probability of 0.1, count as changed. One may always"
    " change."
)
_ERROR = (
    "Error is the distance of the outputs of an int8 file's layer from float32's, on calibration"
    " images, relative to their standard deviation."
)


def chart(facts):
    """Draws latency, size and largest difference of each file; returns a matplotlib figure."""
    artefacts = facts["artefacts"]
    names = list(artefacts)
    figure = import_optional("matplotlib.figure", extra="export").Figure(
        figsize=(11, 1.2 + 0.4 * len(names)), layout="constrained"
    )
    figure.suptitle(f"{facts['name']}, version {facts['version']}")
    latency, size, difference = figure.subplots(1, 3, sharey=True)
    _draw_bars(latency, names, [one["latency_ms"] for one in artefacts.values()])
    latency.set_xlabel("batch 1 (ms)")
    _draw_bars(size, names, [one["bytes"] / 1e6 for one in artefacts.values()])
    size.set_xlabel("size (MB)")
    _draw_differences(difference, names, [one["max_difference"] for one in artefacts.values()])
    difference.set_xlabel("largest difference (logarithmic)")
    difference.invert_yaxis()
    return figure


def _draw_bars(axes, names, values):
    bars = axes.barh(names, values, color=_BLUE)
    axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, color=_GREY)
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_differences(axes, names, values):
    """Draws dots on a logarithmic axis; differences of 6e-8 and 2e-3 are both seen."""
    places = [max(value, _LEAST_DIFFERENCE) for value in values]
    axes.hlines(names, min(places) / 3, places, color=_LIGHT)
    axes.plot(places, names, "o", color=_BLUE)
    for place, name, value in zip(places, names, values, strict=True):
        axes.annotate(
            f"{value:.0e}",
            (place, name),
            (7, 0),
            textcoords="offset points",
            va="center",
            color=_GREY,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(places) / 3, 30 * max(places))
    axes.spines[["top", "right"]].set_visible(False)


def _percent(value):
    return "" if value is None else f"{value:.2f}"
