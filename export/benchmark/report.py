"""Report of the measurements, as numbers, as markdown and as a figure."""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

from regnet_tf._errors import import_optional
from regnet_tf._markdown import markdown_table
from regnet_tf._regimes import REGIMES, in_a_shell

from .contenders import Group
from .turns import BATCHES

_COLORS = ("#1f5fa8", "#e07b1a", "#2e8b57", "#8c1f1f")  # one for each regime
_GREY, _LIGHT = "#666666", "#dddddd"
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of a file.

    Attributes:
        key: key in JSON.
        heading: heading of the column, with the unit.
        batch: number of images in a call.
        value: function from the seconds of a call to the number.
        digits: number of decimals to print.
        more_is_better: whether a larger number is better.
    """

    key: str
    heading: str
    batch: int
    value: Callable[[float], float]
    digits: int
    more_is_better: bool

    def text(self, row: dict) -> str:
        """Returns the number in a row as text."""
        return f"{row[self.key]:.{self.digits}f}"

    def times(self, row: dict, base: dict) -> float:
        """Returns how many times as fast one row is as another: the median of the turns' ratios."""
        turns = zip(row["turns"][self.key], base["turns"][self.key], strict=True)
        return statistics.median(a / b if self.more_is_better else b / a for a, b in turns)


LATENCY = Metric("latency_ms", "batch 1 (ms)", BATCHES[0], lambda s: 1000 * s, 2, False)
THROUGHPUT = Metric(
    "images_per_second", "batch 32 (images/s)", BATCHES[1], lambda s: BATCHES[1] / s, 1, True
)
METRICS = (LATENCY, THROUGHPUT)


def result(group: Group, regime: str, threads: int, measured: dict) -> dict:
    """Returns an entry of "results" in `benchmark.json`.

    Args:
        group: the `Group`.
        regime: name of the regime.
        threads: number of threads.
        measured: return value of `take_turns`.

    Returns:
        Dict: "group", "regime", "threads"; "onednn" and "left_out" as measured; and "rows", a dict
        for each file: "name"; "bytes"; "latency_ms" for one image and "images_per_second" in
        batches of 32, medians over the turns; "turns", both in each turn; and "times_first": how
        many times as fast as the first file, the median of the ratios in each turn.
    """
    rows: list[dict] = []
    for contender in group.contenders:
        if contender.name not in measured["seconds"]:
            continue
        seconds = measured["seconds"][contender.name]
        turns = {
            metric.key: [metric.value(one) for one in taken]
            for metric, taken in zip(METRICS, seconds, strict=True)
        }
        medians = {key: statistics.median(values) for key, values in turns.items()}
        row = {"name": contender.name, "bytes": contender.bytes, **medians, "turns": turns}
        first = rows[0] if rows else row
        row["times_first"] = {metric.key: metric.times(row, first) for metric in METRICS}
        rows.append(row)
    return {
        "group": group.name,
        "regime": regime,
        "threads": threads,
        "onednn": measured["onednn"],
        "left_out": measured["left_out"],
        "rows": rows,
    }


def markdown(report: dict) -> str:
    """Returns the report as a markdown page.

    Args:
        report: the content of `benchmark.json`.
    """
    machine, versions = report["machine"], report["versions"]
    parts = ["# Exported files, side by side", about(report), regimes_table(report), tables(report)]
    parts.append(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}.")
    parts.append(", ".join(f"{name} {number}" for name, number in versions.items()))
    return "\n\n".join(parts) + "\n"


def about(report: dict) -> str:
    """Returns how the figures were measured, as text."""
    settings = report["settings"]
    weights = ""
    if settings["untrained"]:
        weights = " Weights are random. Peers, such as timm, get images normalized before the call."
    return (
        f"Random images are in memory, as uint8 levels; each file normalizes them itself.{weights}"
        " `batch 1` is the time of one image, and `batch 32` the speed of a call with 32 images."
        " A `.tflite` file has a fixed batch, of 1 unless its export says otherwise, and is called"
        f" as often as needed. Numbers are medians of {settings['repeats']} turns. In a turn, each"
        f" file runs for {settings['seconds']:g} s, one after the other in the same process."
        " `times` is how many times as fast as the first file, the median of the ratios turn by"
        " turn. Each regime and each number of threads has a separate process."
    )


def regimes_table(report: dict) -> str:
    """Returns a table with each regime's variables and TensorFlow's kernels."""
    kernels = {one["regime"]: one["onednn"] for one in report["results"]}
    rows = [[name, in_a_shell(REGIMES[name]), onednn] for name, onednn in kernels.items()]
    columns = ["regime", "variables", "TensorFlow's kernels of oneDNN"]
    table = markdown_table(columns, rows, left=(0, 1, 2))
    return f"ONNX Runtime and LiteRT read none of these variables.\n\n{table}"


def tables(report: dict) -> str:
    """Returns a section with a table for each group in each regime."""
    parts = []
    for (group, regime), results in by_regime(report).items():
        parts += [f"## {group}, {regime}", table(results)]
        left_out = {k: v for one in results for k, v in one["left_out"].items()}
        parts += [f"- {name} is left out. {reason}" for name, reason in left_out.items()]
    return "\n\n".join(parts)


def by_regime(report: dict) -> dict[tuple[str, str], list[dict]]:
    """Returns the results, one for each number of threads, by group and regime."""
    found: dict[tuple[str, str], list[dict]] = {}
    for one in report["results"]:
        found.setdefault((one["group"], one["regime"]), []).append(one)
    return found


def table(results: list[dict]) -> str:
    """Returns a table of files.

    Args:
        results: entries of the same group and regime, one for each number of threads.
    """
    files = results[0]["rows"]
    headings = ["file", "MiB"]
    columns = [[row["name"] for row in files], [f"{row['bytes'] / _MIB:.1f}" for row in files]]
    for one in results:
        threads = threads_in_words(one["threads"])
        for metric in METRICS:
            headings += [f"{threads}: {metric.heading}", "times"]
            columns += [
                [metric.text(row) for row in one["rows"]],
                [f"{row['times_first'][metric.key]:.2f}" for row in one["rows"]],
            ]
    return markdown_table(headings, zip(*columns, strict=True))


def threads_in_words(count: int) -> str:
    """Returns "1 thread", "2 threads" and so on."""
    return f"{count} thread{'' if count == 1 else 's'}"


def draw(report: dict) -> Any:
    """Draws a dot for each file and regime, on a logarithmic axis; returns a matplotlib figure.

    The figure has a row for each group, and columns for each metric and number of threads.

    Args:
        report: the content of `benchmark.json`.
    """
    groups: dict[str, dict[int, list[dict]]] = {}
    for one in report["results"]:
        groups.setdefault(one["group"], {}).setdefault(one["threads"], []).append(one)
    threads = next(iter(groups.values()))
    heights = [0.32 * len(next(iter(one.values()))[0]["rows"]) + 0.9 for one in groups.values()]
    size = (2.5 + 3.4 * len(METRICS) * len(threads), sum(heights) + 0.6)
    figure = import_optional("matplotlib.figure", extra="export").Figure(size, layout="constrained")
    regimes = list(dict.fromkeys(one["regime"] for one in report["results"]))
    title = report["machine"]["processor"]
    if len(regimes) > 1:
        title += f". Numbers at the right: {regimes[0]}"
    figure.suptitle(title, fontsize=11, parse_math=False)
    blocks = figure.subfigures(len(groups), height_ratios=heights, squeeze=False)[:, 0]
    for block, (name, by_threads) in zip(blocks, groups.items(), strict=True):
        block.suptitle(name, fontsize=11, fontweight="bold", parse_math=False)
        panels = block.subplots(1, len(METRICS) * len(by_threads), sharey=True, squeeze=False)[0]
        chosen = [(count, metric) for count in by_threads for metric in METRICS]
        for axes, (count, metric) in zip(panels, chosen, strict=True):
            _draw_panel(axes, by_threads[count], metric, count)
        names = [row["name"] for row in next(iter(by_threads.values()))[0]["rows"]]
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
    if len(regimes) > 1:
        figure.legend(*blocks[0].axes[0].get_legend_handles_labels(), loc="upper left", ncols=4)
    return figure


def _draw_panel(axes, results, metric, threads):
    """Draws a metric of the same files in each regime; the numbers are those of the first one."""
    count = len(results)
    for place, (one, color) in enumerate(zip(results, _COLORS, strict=False)):
        turns = [row["turns"][metric.key] for row in one["rows"]]
        heights = [line + 0.5 * (place + 0.5) / count - 0.25 for line in range(len(turns))]
        axes.hlines(heights, [*map(min, turns)], [*map(max, turns)], color=color, lw=1, alpha=0.6)
        medians = [row[metric.key] for row in one["rows"]]
        axes.scatter(medians, heights, 22, color=color, label=one["regime"], zorder=3)
    for line, row in enumerate(results[0]["rows"]):
        place = axes.get_yaxis_transform()
        style = {"va": "center", "ha": "left", "fontsize": 8, "color": _GREY}
        axes.text(1.02, line, metric.text(row), transform=place, **style)
    better = "more" if metric.more_is_better else "less"
    axes.set_title(f"{metric.heading}, {threads_in_words(threads)}: {better} is better", fontsize=8)
    axes.set_xscale("log")
    ticker = import_optional("matplotlib.ticker", extra="export")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.grid(axis="both", color=_LIGHT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
