"""Report of a comparison, as markdown and as a figure."""

import math

from regnet_tf._markdown import markdown_table
from regnet_tf._regimes import in_a_shell
from training.figures import empty_figure

from .summary import COMPARED, is_same_network, metrics_of

#: By regime.
_COLORS = ("#1f5fa8", "#e07b1a", "#2e8b57", "#8c1f1f")
_MISSING = "-"
_MOST_COLUMNS = 6
#: An axis that holds numbers with this ratio is logarithmic.
_WIDE = 20


def markdown(report: dict) -> str:
    """Returns the report as a markdown page.

    Args:
        report: the content of `comparison.json`.
    """
    settings, machine = report["settings"], report["machine"]
    notes = _Notes()
    parts = [
        "# RegNets side by side",
        table(report["results"], notes),
        notes.text(),
        ratios(report["results"]),
        "![Medians, and the least and greatest number of each](comparison.png)",
        _about(settings),
        regimes_table(report["regimes"]),
        f"{machine['processor']}, {settings['threads']} threads of {machine['cores']} cores,"
        f" {machine['system']}.",
        contenders_table(report["contenders"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(settings):
    turns = settings["repeats"]
    numbers = "from one turn"
    if turns > 1:
        numbers = (
            f"the median (least to greatest) of {turns} turns. A number without a range is the"
            " same in all of them when rounded"
        )
    return (
        "All networks are untrained and in float32; images are random and in memory. Training and"
        f" inference take batches of {settings['batch_size']} images of {settings['image_size']}"
        " pixels, the other parts one image. Training is SGD with Nesterov's momentum on the cross"
        " entropy of logits. Building a network of Keras includes its optimizer's variables,"
        " without which Keras traces the first step twice. Building a runtime's network is loading"
        " its file, which another process has exported before. Each number is"
        f" {numbers}. In a turn each contender has a fresh process"
        f" for each part, which repeats the step for {settings['seconds']:g} s. Memory is the most"
        " that the process had: in training, and after the import of its libraries. SavedModels of"
        " all contenders run in the same TensorFlow, and TFLite files in the same LiteRT. A dash"
        " means that a contender takes no part, as in files that it does not export."
    )


def table(results: list[dict], notes: "_Notes") -> str:
    """Returns the medians and their ranges as a markdown table.

    Args:
        results: result of `summarize`.
        notes: the `_Notes` to which the table adds its footnotes.
    """
    metrics = metrics_of(results)
    headings = ["network", "regime", "contender", "parameters"]
    headings += [metric.heading for metric in metrics]
    rows = []
    for result in results:
        for row in result["rows"]:
            cells = [result["name"], result["regime"], row["contender"]]
            cells.append(_parameters(row, result, notes))
            cells += [_cell(row, metric, notes) for metric in metrics]
            rows.append(cells)
    return markdown_table(headings, rows, left=(0, 1, 2))


def ratios(results: list[dict]) -> str:
    """Returns a table with how many times as fast this project is; empty without peers."""
    if len(results[0]["rows"]) < 2:
        return ""
    metrics = [metric for metric in metrics_of(results) if metric.key in COMPARED]
    headings = ["network", "regime", "than"]
    headings += [metric.heading.rpartition(" (")[0] for metric in metrics]
    rows = []
    for result in results:
        for row in result["rows"][1:]:
            found = [row["regnet_tf_is_faster_by"].get(metric.key) for metric in metrics]
            cells = [_MISSING if ratio is None else f"{ratio:.2f}" for ratio in found]
            rows.append([result["name"], result["regime"], row["contender"], *cells])
    about = "How many times as fast `regnet_tf` is, the median of the ratios turn by turn:"
    return f"{about}\n\n{markdown_table(headings, rows, left=(0, 1, 2))}"


def regimes_table(regimes: list[dict]) -> str:
    """Returns a table with each regime's variables and the kernels that TensorFlow then uses."""
    rows = [
        [regime["name"], in_a_shell(regime["variables"]), regime["onednn"] or _MISSING]
        for regime in regimes
    ]
    headings = ["regime", "variables", "regnet_tf's kernels of oneDNN"]
    return markdown_table(headings, rows, left=(0, 1, 2))


def contenders_table(contenders: list[dict]) -> str:
    """Returns a table with versions and descriptions; for missing contenders, the reason."""
    rows = []
    for contender in contenders:
        versions = ", ".join(f"{name} {number}" for name, number in contender["versions"].items())
        if contender["python"] is None:
            rows.append([contender["name"], _MISSING, f"left out: {contender['reason']}"])
        else:
            python = f"Python {contender['python']}"
            rows.append([contender["name"], f"{versions}, {python}", contender["how"]])
    return markdown_table(["contender", "versions", "how"], rows, left=(0, 1, 2))


class _Notes:
    """Numbered footnotes; equal texts share a number."""

    def __init__(self):
        self._texts: list[str] = []

    def refer(self, text):
        """Returns the mark of a note, which is added if new."""
        if text not in self._texts:
            self._texts.append(text)
        return f"[{self._texts.index(text) + 1}]"

    def text(self):
        """Returns all notes as a markdown list."""
        return "\n".join(f"- [{n}] {text}" for n, text in enumerate(self._texts, 1))


def _parameters(row, result, notes):
    if row["parameters"] is None:
        return _MISSING
    text = f"{row['parameters']:,}"
    if is_same_network(row, result["parameters"]):
        return text
    mark = notes.refer(f"not the same network: {result['name']} has {result['parameters']:,}")
    return f"{text} {mark}"


def _cell(row, metric, notes):
    """Returns the number and its range, with a mark for each part that failed."""
    marks = [
        notes.refer(f"{row['contender']}, {part}: {row['failed'][part]}")
        for part in metric.parts
        if part in row["failed"]
    ]
    value = row["values"].get(metric.key)
    return " ".join([_MISSING if value is None else _spread(value, metric.digits), *marks])


def _spread(value, digits):
    median, least, most = (f"{value[name]:.{digits}f}" for name in ("median", "min", "max"))
    return median if least == most else f"{median} ({least} to {most})"


def draw(report):
    """Draws points of the medians with lines of their ranges; returns a matplotlib figure.

    The figure has a block for each network, and a color for each regime.

    Args:
        report: the content of `comparison.json`.
    """
    settings, results = report["settings"], report["results"]
    metrics, networks = metrics_of(results), _by_network(results)
    title = (
        f"batches of {settings['batch_size']} images of {settings['image_size']} pixels,"
        f" {settings['threads']} threads of {report['machine']['processor']}"
    )
    lines = math.ceil(len(metrics) / _MOST_COLUMNS)
    columns = math.ceil(len(metrics) / lines)
    height = len(networks) * (lines * (0.25 * len(results[0]["rows"]) + 0.8) + 0.7)
    figure = empty_figure((13, height + 0.4), title)
    blocks = figure.subfigures(len(networks), squeeze=False)[:, 0]
    for block, (name, regimes) in zip(blocks, networks.items(), strict=True):
        block.suptitle(name, fontsize=11, fontweight="bold")
        grid = block.subplots(lines, columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(metrics) :]:
            axes.set_axis_off()
        for axes, metric in zip(grid.flat, metrics, strict=False):
            _draw_metric(axes, regimes, metric)
        contenders = [row["contender"] for row in results[0]["rows"]]
        grid[0, 0].set_yticks(range(len(contenders)), contenders)
        grid[0, 0].set_ylim(len(contenders) - 0.4, -0.6)
        handles = grid[0, 0].get_legend_handles_labels()
        block.legend(*handles, loc="upper left", ncols=len(regimes), frameon=False, fontsize=9)
    return figure


def _by_network(results):
    """Returns a dict: network -> regime -> rows."""
    networks: dict[str, dict] = {}
    for result in results:
        networks.setdefault(result["name"], {})[result["regime"]] = result["rows"]
    return networks


def _draw_metric(axes, regimes, metric):
    """Draws a row of points for each contender; one regime's are labeled with their numbers.

    The axis is logarithmic if a linear one would hide the small numbers.
    """
    least, most = math.inf, 0
    for number, (regime, rows) in enumerate(regimes.items()):
        color, shift = _COLORS[number], 0.2 * (number - (len(regimes) - 1) / 2)
        found = [(place + shift, row["values"].get(metric.key)) for place, row in enumerate(rows)]
        found = [(place, value) for place, value in found if value]
        least = min([least, *(value["min"] for _, value in found)])
        most = max([most, *(value["max"] for _, value in found)])
        places = [place for place, _ in found]
        medians = [value["median"] for _, value in found]
        ranges = [[value["min"] for _, value in found], [value["max"] for _, value in found]]
        axes.hlines(places, *ranges, color=color, lw=1)
        axes.plot(medians, places, "o", color=color, markersize=5, alpha=0.85, label=regime)
        for place, value in found if len(regimes) == 1 else ():
            text = f"{value['median']:,.{metric.digits}f}"
            offset = {"xytext": (7, 0), "textcoords": "offset points"}
            axes.annotate(text, (value["max"], place), **offset, va="center", fontsize=8)
    better = "more" if metric.more_is_better else "less"
    axes.set_title(f"{metric.heading}: {better} is better", fontsize=9)
    if 0 < least < most / _WIDE:
        axes.set_xscale("log")
        axes.set_xlim(least / 2, 3 * most)
    else:
        axes.set_xlim(0, 1.3 * most or 1)
        axes.xaxis.get_major_locator().set_params(nbins=3)
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", labelsize=9, length=0)
    axes.spines[["top", "right"]].set_visible(False)
