"""Summary of a comparison: medians, ranges, ratios, and reasons of failures."""

import collections
import dataclasses
import statistics
from collections.abc import Callable

from regnet_tf import complexity, get_config
from regnet_tf._regimes import REGIMES
from training.results import FAILED

from .contenders import Installed
from .parts import LIBRARY


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of the measurements.

    Attributes:
        key: key in JSON.
        heading: heading of the column, with the unit.
        parts: the parts that give the metric.
        value: function from a measurement's facts and settings to the number, or to None where
            the measurement has none.
        digits: number of decimals to print.
        more_is_better: whether a larger number is better.
    """

    key: str
    heading: str
    parts: tuple[str, ...]
    value: Callable[[dict, dict], float | None]
    digits: int = 1
    more_is_better: bool = False


def _speed(facts, settings):
    return settings["batch_size"] / facts["step_seconds"]


def _latency(facts, settings):
    return 1000 * facts["step_seconds"]


def _file_size(facts, settings):
    return facts.get("file_mib")


METRICS = (
    Metric("import_seconds", "import (s)", LIBRARY, lambda facts, _: facts["import_seconds"]),
    Metric(
        "import_memory_mib",
        "import memory (MiB)",
        LIBRARY,
        lambda facts, _: facts["import_memory_mib"],
        0,
    ),
    Metric("build_seconds", "build (s)", LIBRARY, lambda facts, _: facts["build_seconds"]),
    Metric(
        "first_step_seconds",
        "first training step (s)",
        ("training",),
        lambda facts, _: facts["first_seconds"],
    ),
    Metric("training", "training (images/s)", ("training",), _speed, more_is_better=True),
    Metric("inference", "inference (images/s)", ("inference",), _speed, more_is_better=True),
    Metric("latency_ms", "latency (ms)", ("latency",), _latency),
    Metric(
        "memory_mib",
        "training memory (MiB)",
        ("training",),
        lambda facts, _: facts["memory_mib"],
        0,
    ),
    Metric("saved_model_ms", "SavedModel (ms)", ("saved_model",), _latency),
    Metric("tflite_ms", "TFLite (ms)", ("tflite",), _latency),
    Metric("saved_model_mib", "SavedModel (MiB)", ("saved_model",), _file_size),
    Metric("tflite_mib", "TFLite (MiB)", ("tflite",), _file_size),
    Metric("file_mib", "file of the runtime (MiB)", ("inference", "latency"), _file_size),
)

#: Keys of the metrics for which ratios are reported.
COMPARED = ("training", "inference", "latency_ms", "saved_model_ms", "tflite_ms")


def metrics_of(results: list[dict]) -> list[Metric]:
    """Returns the metrics for which any contender has a number or failed, in order.

    Args:
        results: result of `summarize`.
    """
    rows = [row for result in results for row in result["rows"]]
    numbers = {key for row in rows for key in row["values"]}
    failed = {part for row in rows for part in row["failed"]}
    return [one for one in METRICS if one.key in numbers or failed & set(one.parts)]


def summarize(
    results: list[dict], variants: list[str], regimes: list[str], installed: list[Installed]
) -> list[dict]:
    """Summarizes the results by medians over the turns.

    Args:
        results: result of `Runner.run`.
        variants: keys of the networks.
        regimes: names of the regimes.
        installed: list of `Installed`.

    Returns:
        A dict for each network in each regime: "variant"; "name"; "regime"; "parameters", as this
        project counts them; and "rows", a dict for each contender:

        - "contender"; "parameters", None if it was not built;
        - "values": `Metric.key` -> "median", "min", "max" and "turns", the number in each turn;
        - "regnet_tf_is_faster_by": `Metric.key` -> median of the ratios in each turn;
        - "failed": part -> reason.
    """
    by_what = collections.defaultdict(list)
    for result in results:
        by_what[result["variant"], result["regime"], result["contender"]].append(result)
    names = [one.contender.name for one in installed]
    return [
        {
            "variant": variant,
            "name": get_config(variant).name,
            "regime": regime,
            "parameters": complexity(variant).parameters,
            "rows": _rows({name: by_what[variant, regime, name] for name in names}),
        }
        for variant in variants
        for regime in regimes
    ]


def describe_regimes(results: list[dict], regimes: list[str]) -> list[dict]:
    """Describes each regime: "name", "variables", and "onednn", the kernels that TensorFlow used.

    Args:
        results: result of `Runner.run`.
        regimes: names of the regimes.
    """
    kernels = {
        result["regime"]: result["facts"]["onednn"]
        for result in results
        if result["part"] in LIBRARY and "onednn" in result.get("facts", {})
    }
    return [
        {"name": regime, "variables": REGIMES[regime], "onednn": kernels.get(regime)}
        for regime in regimes
    ]


def _rows(results):
    """Returns the row of each contender, this project first."""
    rows = [_row(name, found) for name, found in results.items()]
    ours = rows[0]["values"]
    for row in rows:
        row["regnet_tf_is_faster_by"] = {
            key: _ratio(key, ours[key]["turns"], row["values"][key]["turns"])
            for key in COMPARED
            if key in ours and key in row["values"]
        }
    return rows


def _row(name, results):
    failed = {result["part"]: result["reason"] for result in results if result["status"] == FAILED}
    measured = [result for result in results if result["status"] != FAILED]
    counts = [r["facts"]["parameters"] for r in measured if "parameters" in r["facts"]]
    values = {metric.key: _value(metric, measured) for metric in METRICS}
    return {
        "contender": name,
        "parameters": counts[0] if counts else None,
        "values": {key: value for key, value in values.items() if value is not None},
        "failed": failed,
    }


def _value(metric, results):
    """Summarizes a metric over the turns; returns None without numbers.

    If several parts of a turn give the metric, the turn has their mean.
    """
    turns = collections.defaultdict(list)
    for result in results:
        if result["part"] in metric.parts:
            number = metric.value(result["facts"], result["settings"])
            if number is not None:
                turns[result["turn"]].append(number)
    if not turns:
        return None
    means = {turn: statistics.mean(numbers) for turn, numbers in sorted(turns.items())}
    return {
        "median": statistics.median(means.values()),
        "min": min(means.values()),
        "max": max(means.values()),
        "turns": means,
    }


def _ratio(key, ours, theirs):
    """Returns how many times as fast this project is: the median over the common turns."""
    (more_is_better,) = (metric.more_is_better for metric in METRICS if metric.key == key)
    ratios = [
        ours[turn] / theirs[turn] if more_is_better else theirs[turn] / ours[turn]
        for turn in ours.keys() & theirs.keys()
    ]
    return statistics.median(ratios) if ratios else None


def is_same_network(row: dict, parameters: int) -> bool:
    """Whether a contender's network has the expected number of parameters; True if unknown."""
    return row["parameters"] in (None, parameters)
