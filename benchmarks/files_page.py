"""`python -m benchmarks.files_page`: writes recorded speeds of exported files into the guide."""

import argparse
import re
import statistics
from pathlib import Path

from regnet_command import run, start

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guides" / "which_file.md"
RECORD = ROOT / "docs" / "comparison" / "files_xeon_amx" / "benchmark.json"

_EPILOG = """\
The page has places for figures, between "<!-- figures: NAME -->" and "<!-- end -->". The record is
the file that regnet benchmark files writes, measured in several regimes with --timm-onnx.

Exit status: 0 after success, 2 if the file is no record or the page lacks a place."""

#: Pairs of files of which the times of one image are compared, and the ratio that is aimed at.
AIMS = (
    ("ONNX float32", "timm's ONNX", 1.0),
    ("ONNX float32", "timm's ONNX, normalizing", 1.0),
    ("ONNX int8", "ONNX float32", 0.6),
    ("OpenVINO int8", "OpenVINO float32", 0.6),
    ("TFLite float32", "ONNX float32", 1.0),
)
_MISSING = "-"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.files_page",
        description="Writes recorded speeds of exported files into the guide.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--record", metavar="FILE", type=Path, default=RECORD, help="default: %(default)s")
    add("--page", metavar="FILE", type=Path, default=PAGE, help="default: %(default)s")
    options = parser.parse_args(arguments)
    return run(lambda: _write(options.record, options.page), parser)


def _write(record, page):
    from regnet_tf._errors import UserError
    from regnet_tf._files import read_json, replacing

    try:
        texts = figures(read_json(record))
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"{record} is not a record of `regnet benchmark files`.") from error
    text = with_figures(page.read_text(), texts)
    with replacing(page) as path:
        path.write_text(text)
    print(f"Written: {page}")


def with_figures(text: str, figures: dict[str, str]) -> str:
    """Returns a page with new figures in their places.

    Args:
        text: the page.
        figures: dict: name of a place -> markdown.

    Raises:
        UserError: if the page has not exactly these places.
    """
    from regnet_tf._errors import UserError

    place = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    names = [found[2] for found in place.finditer(text)]
    if sorted(names) != sorted(figures):
        raise UserError(f"The page must have these places once: {', '.join(figures)}")
    return place.sub(lambda found: f"{found[1]}\n{figures[found[2]]}\n\n{found[3]}", text)


def figures(report: dict) -> dict[str, str]:
    """Returns the figures of a record, as markdown by the name of their place.

    Args:
        report: the content of `benchmark.json`.
    """
    first = report["results"][0]
    native = [one for one in report["results"] if one["regime"] == first["regime"]]
    return {
        "machine": _machine(report),
        "latency": _table(native, "latency_ms", 1),
        "throughput": _table(native, "images_per_second", 0),
        "fastest": _fastest(native),
        "aims": _aims(native),
        "regimes": _regimes(report),
    }


def _machine(report):
    machine, settings, versions = report["machine"], report["settings"], report["versions"]
    names = ("tensorflow", "ai-edge-litert", "onnxruntime", "openvino", "torch", "timm")
    used = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return (
        f"{machine['processor']}, {machine['cores']} cores; {used}."
        f" Medians of {settings['repeats']} turns of {settings['seconds']:g} s."
    )


def _columns(results):
    from export.benchmark.report import threads_in_words

    return [f"{one['group']}, {threads_in_words(one['threads'])}" for one in results]


def _names(results):
    """Returns the names of all files, in order."""
    return list(dict.fromkeys(row["name"] for one in results for row in one["rows"]))


def _row(result, name):
    return next((row for row in result["rows"] if row["name"] == name), None)


def _table(results, key, digits):
    """Returns a table of files, with a column for each result."""
    from regnet_tf._markdown import markdown_table

    rows = []
    for name in _names(results):
        found = [_row(one, name) for one in results]
        cells = [_MISSING if row is None else f"{row[key]:.{digits}f}" for row in found]
        rows.append([name, *cells])
    return markdown_table(["file", *_columns(results)], rows)


def _fastest(results):
    """Returns a line for each network and number of threads."""
    peers = ("timm", "SavedModel by")
    lines = []
    for column, one in zip(_columns(results), results, strict=True):
        rows = [row for row in one["rows"] if not row["name"].startswith(peers)]
        exact = [row for row in rows if row["name"] == "SavedModel" or "float32" in row["name"]]
        latency = min(rows, key=lambda row: row["latency_ms"])
        exact_latency = min(exact, key=lambda row: row["latency_ms"])
        throughput = max(rows, key=lambda row: row["images_per_second"])
        exact_throughput = max(exact, key=lambda row: row["images_per_second"])
        lines.append(
            f"- {column}: one image {latency['name']} ({latency['latency_ms']:.1f} ms), in float32"
            f" {exact_latency['name']} ({exact_latency['latency_ms']:.1f} ms); 32 images"
            f" {throughput['name']} ({throughput['images_per_second']:.0f}/s), in float32"
            f" {exact_throughput['name']} ({exact_throughput['images_per_second']:.0f}/s)"
        )
    return "\n".join(lines)


def ratio(result: dict, name: str, other: str) -> float | None:
    """Returns how many times as long one file takes for one image as another.

    Args:
        result: an entry of "results".
        name: name of the file.
        other: name of the other file.

    Returns:
        The median of the ratios in each turn; None if one of the files is missing.
    """
    rows = _row(result, name), _row(result, other)
    if None in rows:
        return None
    turns = [row["turns"]["latency_ms"] for row in rows]
    return statistics.median(a / b for a, b in zip(*turns, strict=True))


def _aims(results):
    from regnet_tf._markdown import markdown_table

    rows = []
    for name, other, aim in AIMS:
        ratios = [ratio(one, name, other) for one in results]
        cells = [_MISSING if one is None else f"{one:.2f}" for one in ratios]
        rows.append([name, other, f"{aim:.1f}", *cells])
    columns = ["time of", "divided by that of", "aim", *_columns(results)]
    return markdown_table(columns, rows, left=(0, 1))


def _regimes(report):
    """Returns a table of the first network with most threads, with columns for the regimes."""
    from regnet_tf._markdown import markdown_table

    first, last = report["results"][0], report["results"][-1]
    chosen = [
        one
        for one in report["results"]
        if (one["group"], one["threads"]) == (first["group"], last["threads"])
    ]
    columns, rows = ["file"], []
    for one in chosen:
        columns += [f"`{one['regime']}`: batch 1 (ms)", "batch 32 (images/s)"]
    for name in _names(chosen):
        cells = []
        for row in (_row(one, name) for one in chosen):
            cells += (
                [_MISSING] * 2
                if row is None
                else [f"{row['latency_ms']:.1f}", f"{row['images_per_second']:.0f}"]
            )
        rows.append([name, *cells])
    return markdown_table(columns, rows)


if __name__ == "__main__":
    start(".files_page", __package__)
