"""Ctrl-C, SIGTERM, closed pipes and full disks: a short line, the right status, nothing left."""

import math
import signal

from .originals import TINY_RUN
from .processes import ROOT, Process, forked, program

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
#: Ways to start a program with something closed, for the shell: how -> what "$@" is put into.
_SHELL = {
    "| head -1": 'set -o pipefail; "$@" | head -1',
    "| true": 'set -o pipefail; "$@" | true',
    ">&-": '"$@" >&-',
    "2>&-": '"$@" 2>&-',
    "<&-": '"$@" <&-',
    ">/dev/full": '"$@" >/dev/full',
}
#: Statuses of a program that nobody reads.
_CLOSED = {0, 1, 2, 128 + signal.SIGPIPE}
#: Seconds that a program may go on after a signal, since it had nothing left to do but to end.
_LATE = 2.0


def scenarios(suite):
    """Yields the scenarios of this part."""
    programs = _programs(suite.originals)
    if suite.is_quick:
        yield _interrupted(suite, "train", programs["train"])
        yield _closed(suite, "variants", programs["variants"], ("| head -1", ">&-", "2>&-"))
        yield _full(suite, "predict", programs["predict"])
        return
    for name, words in programs.items():
        yield _interrupted(suite, name, words)
    for name, words in programs.items():
        yield _closed(suite, name, words, _SHELL)
    for name in ("train", "export", "evaluate", "predict", "sweep run"):
        yield _full(suite, name, programs[name])


def _programs(originals):
    """Returns the words of each program, given a folder to write to."""
    photo = originals.photos / "cat" / "jpg.jpg"
    run = originals.run
    return {
        "train": lambda out: ("train", *TINY_RUN, "--out", out / "run"),
        "export": lambda out: ("export", run, "--format=tflite", "--out", out / "export"),
        "evaluate": lambda out: ("evaluate", run, "--out", out / "evaluation"),
        "predict": lambda out: (
            *("predict", run, originals.photos, "--out", out / "pictures"),
            *("--csv", out / "table.csv"),
        ),
        "verify": lambda _: ("verify", originals.export),
        "sweep run": lambda out: (
            *("sweep", "run", originals.spec, "--out", out / "sweep"),
            *("--workers", 2, "--threads", 1),
        ),
        "sweep analyze": lambda out: ("sweep", "analyze", originals.sweep, "--out", out / "page"),
        "show": lambda _: ("show", "RegNetY-400MF"),
        "variants": lambda _: ("variants",),
        "weights list": lambda _: ("weights", "list"),
        "data check": lambda _: ("data", "check", originals.photos),
        "data inspect": lambda out: (
            *("data", "inspect", originals.photos, "--seconds", 0.2, "--out", out / "sheet.png"),
        ),
        "ask --load": lambda _: (
            *("ask", photo, "--model", "tiny", "--port", 9, "--retries", 0, "--load", 3),
        ),
    }


def _interrupted(suite, name, words):
    """Interrupts a program at random moments, from its start to its end."""
    usual = suite.originals.ended["run"]
    if not suite.is_quick:
        folder = suite.scratch(name)
        usual = yield Process(program(*words(folder)), folder)
    kinds = (signal.SIGINT, signal.SIGTERM)
    for number in range(suite.count(8)):
        kind, folder = kinds[number % 2], suite.scratch(name)
        # Half of the moments are during the imports, which all programs share.
        most = usual.seconds if suite.is_quick or number % 4 < 2 else min(3.0, usual.seconds)
        process = Process(
            program(*words(folder)),
            folder,
            signal=kind,
            after=suite.random.uniform(0, most),
            group=kind == signal.SIGINT,
        )
        ended = yield process
        outcome, is_fault = _outcome_of(ended, kind, process.after)
        left = [str(one) for one in folder.rglob(".partial*")]
        if left and not is_fault:
            outcome, is_fault = "left-over files", True
        how = f"{kind.name} after {process.after:.2f} s"
        detail = "\n".join((*left, *ended.left, ended.last_words))
        yield suite.case(
            *(f"{kind.name} to {name}", process, ended, outcome, is_fault, how), detail=detail
        )


def _outcome_of(ended, kind, after):
    """Returns the outcome of an interrupt, and whether it is a fault."""
    lines = len([line for line in ended.err.splitlines() if line.strip()])
    if ended.trouble or ended.left or "Traceback" in ended.err:
        if ended.status == 1 and f"{ROOT}/regnet_tf" not in ended.err:
            return "ended before its first line", False
        return ended.outcome, True
    if not ended.struck:
        return "ended before", ended.is_bad
    if ended.status == -kind:
        return "ended by the signal itself", False  # the shell says the same status
    if ended.status == _STATUS[kind]:
        return (f"status {ended.status}, {lines} lines", not 0 < lines <= 2)
    if ended.status in (0, 1):
        return "went on to its end", ended.seconds - after > _LATE
    return f"status {ended.status} for {_STATUS[kind]}", True


def _closed(suite, name, words, ways):
    """Starts a program with closed pipes."""
    for way in ways:
        for _ in range(suite.count(1)):
            folder = suite.scratch(name)
            command = ["bash", "-c", _SHELL[way], "bash", *program(*words(folder))]
            process = Process(command, folder)
            ended = yield process
            outcome, is_fault = ended.outcome, ended.is_bad
            if not ended.trouble and not ended.left and "Traceback" not in ended.err:
                outcome, is_fault = f"status {ended.status}", ended.status not in _CLOSED
            if name == "train" and not (folder / "run" / "run.json").exists():
                outcome, is_fault = f"{outcome}, its work is lost", True
            yield suite.case(f"{name} {way}", process, ended, outcome, is_fault)


def _full(suite, name, words):
    """Lets the disk take small files only; afterwards, the same command must work."""
    folder = suite.scratch(name)
    process = Process(forked(*words(folder)), folder)
    usual = yield process
    if usual.is_bad:
        yield suite.case(f"{name}, disk with room", process, usual)
        return
    largest = max((one.stat().st_size for one in folder.rglob("*") if one.is_file()), default=0)
    for _ in range(suite.count(4)):
        folder = suite.scratch(name)
        size = round(math.exp(suite.random.uniform(math.log(8_000), math.log(max(largest, 9_000)))))
        process = Process(forked(*words(folder)), folder, largest_file=size)
        ended = yield process
        is_fault = ended.is_bad
        how = f"no file above {size} bytes"
        yield suite.case(f"full disk, {name}", process, ended, None, is_fault, how)
        process = Process(forked(*words(folder)), folder)
        ended = yield process
        is_fault = ended.outcome != "worked" and "finished" not in ended.err
        yield suite.case(
            f"full disk, {name}, the same command again", process, ended, None, is_fault, how
        )
