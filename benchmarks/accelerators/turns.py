"""Measurements in turns: every contender builds its network once, then they alternate."""

import contextlib
import dataclasses
import statistics
from collections.abc import Callable

from ..comparison.processes import Failure
from .contenders import CONTENDERS, PARTS, PEERS
from .processes import Worker

_CLASSES = 1000
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all contenders run.

    Attributes:
        variant: key of the network.
        precision: Keras' dtype policy, "float32" or "mixed_bfloat16".
        batch_size: number of images in a step.
        image_size: height and width of the images, in pixels.
    """

    variant: str
    precision: str
    batch_size: int
    image_size: int


def measure(
    setting: Setting,
    names: list[str],
    parts: list[str],
    repeats: int,
    seconds: float,
    timeout: float,
    say: Callable[[str], None],
) -> dict:
    """Measures the contenders in one setting.

    All build their networks at once. Then one after another makes its first steps. In each turn
    after that, every contender repeats the step.

    Args:
        setting: a `Setting`.
        names: names in `CONTENDERS`.
        parts: names in `PARTS`.
        repeats: number of turns.
        seconds: duration of a contender's turn in each part.
        timeout: maximum seconds of a turn, and of the first steps.
        say: called with a line about each measurement.

    Returns:
        The fields of the setting, "device", and "rows", one for each contender; see `_row`. A
        contender that fails has "failed", the reason, and no speed.
    """
    found: dict[str, dict] = {name: {part: [] for part in parts} for name in names}
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(CONTENDERS[name].backend, timeout)) for name in names
        }
        for name, worker in workers.items():
            worker.send(_request(setting, name))
        for name, worker in workers.items():
            with _noting(found[name], name, say):
                found[name] |= worker.answer()
        for part in parts:
            for name in _remaining(found, part):
                with _noting(found[name], name, say):
                    first = workers[name].ask({"part": part, "seconds": 0})["first_seconds"]
                    found[name][f"first_{part}"] = first
                    say(f"{name}, {part}: first step {first:.1f} s")
        for turn in range(1, repeats + 1):
            for part in parts:
                for name in _remaining(found, part):
                    with _noting(found[name], name, say):
                        answer = workers[name].ask({"part": part, "seconds": seconds})
                        found[name][part].append(answer)
                        speed = setting.batch_size / answer["step_seconds"]
                        say(f"{name}, {part}, turn {turn}: {speed:.0f} images/s")
    devices = [one["device"] for one in found.values() if "device" in one]
    rows = {name: _row(one, setting.batch_size) for name, one in found.items()}
    _add_ratios(rows)
    return {
        **dataclasses.asdict(setting),
        "device": devices[0] if devices else None,
        "rows": [{"contender": name, **row} for name, row in rows.items()],
    }


@contextlib.contextmanager
def _noting(found, name, say):
    """Context manager that notes a failure instead of raising it."""
    try:
        yield
    except Failure as failure:
        found["failed"], found["log"] = failure.reason, failure.log
        say(f"{name}: {failure.reason}")


def _remaining(found, part):
    """Returns the names of the contenders that take part and have not failed."""
    names = [name for name, one in found.items() if "failed" not in one]
    return [name for name in names if part in CONTENDERS[name].parts]


def _request(setting, name):
    contender = CONTENDERS[name]
    return {
        "keras": contender.backend is not None,
        "compiled": contender.compiled,
        "network": {"key": setting.variant, "classes": _CLASSES},
        **dataclasses.asdict(setting),
    }


def _row(found, batch_size):
    """Returns what was measured of a contender.

    Returns:
        Dict: "parameters"; "memory_mib", the peak GPU memory of training, None on a CPU; and for
        each part a dict: "first_seconds", "images_per_second" (the median of the turns), "turns"
        (images per second in each turn). "failed", the reason, and "log" instead after a failure.
    """
    if "failed" in found:
        return {key: found[key] for key in ("failed", "log")}
    peaks = [turn["memory"] for turn in found.get("training", ())]
    row = {
        "parameters": found["parameters"],
        "memory_mib": max(peaks) / _MIB if peaks and None not in peaks else None,
    }
    for part in PARTS:
        if found.get(part):
            speeds = [batch_size / turn["step_seconds"] for turn in found[part]]
            row[part] = {
                "first_seconds": found[f"first_{part}"],
                "images_per_second": statistics.median(speeds),
                "turns": speeds,
            }
    return row


def _add_ratios(rows):
    """Adds "times": peer -> how many times as fast the contender is, the median over the turns."""
    for name, row in rows.items():
        for part in (part for part in PARTS if part in row):
            peers = [peer for peer in PEERS if peer != name and part in rows.get(peer, {})]
            row[part]["times"] = {
                peer: statistics.median(
                    own / other
                    for own, other in zip(
                        row[part]["turns"], rows[peer][part]["turns"], strict=True
                    )
                )
                for peer in peers
            }
