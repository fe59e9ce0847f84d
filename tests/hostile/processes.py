"""Starts processes, disturbs them, and tells what became of them.

A part of the suite is a list of scenarios. A scenario is a generator: it yields a `Process`, gets
an `Ended` for it, and yields a `Case` for each finding. `drive` runs several scenarios at a time.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import math
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import NamedTuple

from .cases import Case

ROOT = Path(__file__).parents[2]
MIB = 2**20
#: Bytes that a process may hold before it is ended: more would disturb the machine.
MOST_MEMORY = 5 * 2**30
_PAUSE = 0.004  # seconds between two looks at the processes
#: File operations that Python announces, and that change what is on disk.
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "open"}


def program(*words) -> list[str]:
    """Returns the command of `regnet WORDS...` as people start it."""
    return [sys.executable, "-m", "regnet_command", *map(str, words)]


def forked(*words) -> Callable[[], int]:
    """Returns a function that does the same in a fork of this process, without its imports."""

    def run():
        import regnet_command

        return regnet_command.main([str(word) for word in words])

    run.__name__ = shlex.join(["regnet", *map(str, words)])
    return run


def job(function: Callable, *arguments) -> Callable[[], int]:
    """Returns a function that ends as a program does: a user's error is one line and status 2."""

    def run():
        import regnet_command

        parser = argparse.ArgumentParser(prog="job")
        return regnet_command.run(lambda: function(*arguments), parser, tensorflow=False)

    words = [getattr(one, "__name__", str(one)) for one in (function, *arguments)]
    run.__name__ = " ".join(words)
    return run


def preload() -> None:
    """Imports what the programs need, so that forks need not. It computes nothing."""
    import regnet_command

    regnet_command.defer_library()
    regnet_command.start_tensorflow()
    modules = (
        *("ai_edge_litert.interpreter", "h5py", "keras", "matplotlib.figure"),
        *("onnxruntime", "openvino"),
        *("regnet_tf.training.loop.train", "regnet_tf.training.sweep.running"),
        *("regnet_tf.export.exporting", "regnet_tf.export.source"),
        *(one.module for one in regnet_command.PROGRAMS.values()),
        *(("torch",) if importlib.util.find_spec("torch") else ()),
    )
    for module in modules:
        importlib.import_module(module)


@dataclasses.dataclass
class Process:
    """A process to start.

    Args:
        command: words, or a function that runs in a fork of this process.
        folder: where it works; its output is kept in files there.
        signal: signal to send, if any.
        after: seconds from the start to the signal.
        once: function that says whether the clock of `after` may start; None for the start.
        group: whether the signal goes to all its processes, as Ctrl-C does.
        dies_at: number of the change on disk before which a fork kills itself; None for never.
        timeout: seconds after which it has hung.
        largest_file: most bytes of a file that it may write; None for any size.
    """

    command: list[str] | Callable[[], int | None]
    folder: Path
    signal: int | None = None
    after: float = math.inf
    once: Callable[[], bool] | None = None
    group: bool = False
    dies_at: int | None = None
    timeout: float = 180.0
    largest_file: int | None = None

    @property
    def text(self) -> str:
        """The command as a line for a shell."""
        if callable(self.command):
            return self.command.__name__
        return shlex.join(["python" if one == sys.executable else one for one in self.command])


class Ended(NamedTuple):
    """What became of a process.

    Attributes:
        status: exit status; negative for the signal that ended it.
        out: standard output.
        err: standard error.
        seconds: from start to end.
        peak: most memory in MiB.
        left: commands of the processes that it left behind.
        struck: whether the signal was sent.
        trouble: "hang", "huge memory" or "".
        changes: number of changes on disk that a fork made in Python.
    """

    status: int
    out: str
    err: str
    seconds: float
    peak: float
    left: list[str]
    struck: bool
    trouble: str
    changes: int

    @property
    def outcome(self) -> str:
        """The outcome in a few words; see `FAULTS` for the bad ones."""
        # Libraries written in C print before the program's error.
        error = re.search(r"^.*: error: (.*\n?)+", self.err, re.MULTILINE)
        lines = [line for line in (error[0] if error else self.err).splitlines() if line.strip()]
        if self.trouble:
            return self.trouble
        if self.left:
            return "processes left behind"
        if self.status < 0:
            return f"crash ({signal.Signals(-self.status).name})"
        if any(word in self.err + self.out for word in ("Traceback", "Exception ignored")):
            return "traceback"
        # A fork ends without Python's finalization, which would release semaphores.
        if re.search(r"\w+Warning: (?!resource_tracker)", self.err):
            return "warning of Python"
        if self.status == 0:
            return "worked"
        if self.status == 1:
            return "told, status 1"
        if self.status == 2:
            return "refused in one line" if len(lines) == 1 else f"refused in {len(lines)} lines"
        return f"status {self.status}"

    @property
    def is_bad(self) -> bool:
        """Whether the outcome is a fault whatever was done."""
        good = ("worked", "told, status 1", "refused in one line", "status 1")
        return not self.outcome.startswith(good)

    @property
    def last_words(self) -> str:
        """The end of what it printed."""
        return (self.err.strip() or self.out.strip())[-700:]


Scenario = Generator[Process | Case, Ended | None, None]


class _Running:
    """A process that runs, and the scenario that waits for it."""

    def __init__(self, process: Process, scenario: Scenario) -> None:
        self.process, self.scenario = process, scenario
        self.struck, self.trouble = False, ""
        self._files = tempfile.TemporaryDirectory(prefix="hostile-")
        self._counter = Path(self._files.name, "changes")
        with self._open("out") as out, self._open("err") as err:
            self._pid = self._start(out, err)
        self._clock = time.monotonic()
        self._aim = None if process.once else self._clock

    def _open(self, name):
        return open(Path(self._files.name, name), "w+b")

    def _start(self, out, err):
        process = self.process
        if callable(process.command):
            sys.stdout.flush()
            pid = os.fork()
            return pid or self._be_child(out, err)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        limit = [] if process.largest_file is None else [_limited(process.largest_file)]
        popen = subprocess.Popen(
            process.command,
            cwd=process.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=limit[0] if limit else None,
        )
        popen.returncode = 0  # `os.wait4` waits for it
        return popen.pid

    def _be_child(self, out, err):
        """Runs the function in the fork; never returns."""
        status = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            os.chdir(self.process.folder)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            if self.process.largest_file is not None:
                _limited(self.process.largest_file)()
            sys.addaudithook(_Changes(self.process.folder, self._counter, self.process.dies_at))
            status = self.process.command() or 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def look(self) -> Ended | None:
        """Sends what is to be sent; returns what became of the process, once it has ended."""
        pid, status, usage = os.wait4(self._pid, os.WNOHANG)
        now = time.monotonic()
        if pid == 0:
            self._disturb(now)
            return None
        left = self._left_behind()
        texts = [
            Path(self._files.name, name).read_text(errors="replace")[: 10**6]
            for name in ("out", "err")
        ]
        changes = self._counter.stat().st_size if self._counter.exists() else 0
        self._files.cleanup()
        return Ended(
            os.waitstatus_to_exitcode(status),
            *texts,
            now - self._clock,
            usage.ru_maxrss / 1024,
            left,
            self.struck or self.process.dies_at is not None,
            self.trouble,
            changes,
        )

    def _disturb(self, now):
        process = self.process
        if self._aim is None and process.once():
            self._aim = now
        if not self.struck and self._aim is not None and now - self._aim >= process.after:
            self.struck = True
            (os.killpg if process.group else os.kill)(self._pid, process.signal)
        if self.trouble:
            return
        if now - self._clock > process.timeout:
            self.trouble = "hang"
        elif _resident(self._pid) > MOST_MEMORY:
            self.trouble = "huge memory"
        if self.trouble:
            os.killpg(self._pid, signal.SIGKILL)

    def _left_behind(self, patience=4.0):
        """Returns the commands of processes of the session that do not end; ends them."""
        end = time.monotonic() + patience
        while (left := _session(self._pid)) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [*left.values()]


class _Changes:
    """An audit hook that counts changes on disk below a folder, and may kill the process at one."""

    def __init__(self, folder, counter, dies_at):
        self._folder, self._dies_at, self._count = str(folder), dies_at, 0
        self._counter = os.open(counter, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def __call__(self, event, arguments):
        if event not in _CHANGES or not isinstance(arguments[0], (str, Path)):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            return
        if not os.path.abspath(arguments[0]).startswith(self._folder):
            return
        if self._count == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1
        os.write(self._counter, b".")


def _limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _resident(pid):
    """Returns the memory of a process in bytes."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _session(number):
    """Returns the commands of the running processes of a session, by process number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == number and state != "Z":
                words = (folder / "cmdline").read_bytes().split(b"\0")
                found[int(folder.name)] = b" ".join(words).decode(errors="replace")[:200]
    return found


def drive(scenarios: Iterable[Scenario], workers: int, record: Callable[[Case], None]) -> None:
    """Runs scenarios until all have ended.

    Args:
        scenarios: generators; each is begun when there is room for it.
        workers: number of processes at a time.
        record: called with each `Case`.
    """
    waiting, running = iter(scenarios), []
    try:
        while True:
            while len(running) < workers and (scenario := next(waiting, None)) is not None:
                _go_on(scenario, None, running, record)
            if not running:
                return
            for one in [*running]:
                if (ended := one.look()) is not None:
                    running.remove(one)
                    _go_on(one.scenario, ended, running, record)
            time.sleep(_PAUSE)
    finally:
        for one in running:
            os.killpg(one._pid, signal.SIGKILL)


def _go_on(scenario, ended, running, record):
    """Takes a scenario to its next process, or to its end."""
    with contextlib.suppress(StopIteration):
        found = scenario.send(ended)
        while isinstance(found, Case):
            record(found)
            found = next(scenario)
        running.append(_Running(found, scenario))
