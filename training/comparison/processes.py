"""Worker processes: a request in, an answer out, or the reason why there is none."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

_KEPT = 4000  # characters of what a worker that failed has said


class Failure(Exception):
    """A worker gave no answer.

    Attributes:
        reason: why, in a line.
        log: the end of what it said.
    """

    def __init__(self, reason, log=""):
        super().__init__(reason)
        self.reason = reason
        self.log = log[-_KEPT:]


def run_worker(python, script, request, timeout, environment) -> dict:
    """Runs a script in a fresh process, and ends all that it has started.

    Args:
        python: path of the interpreter.
        script: a `Path` of `workers`, or another that takes two JSON files: the request, and the
            answer to write, which is a dict; where it fails, one with the reason as "error".
        request: what to do, a dict.
        timeout: seconds that it may take.
        environment: its variables.

    Returns:
        The answer.

    Raises:
        Failure: where it ran out of time, was killed, or failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        log = Path(folder, "log")
        asked.write_text(json.dumps(request))
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [python, str(script), str(asked), str(answered)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        said = log.read_text(errors="replace")
        if code != 0:
            raise Failure(_reason(code, answered, timeout), said)
        return json.loads(answered.read_text())


def _end(process):
    """Kills a process and those it has started, where the system knows groups of them."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _reason(code, answered, timeout):
    if code is None:
        return f"took longer than {timeout:g} s"
    if code < 0:
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (", out of memory?" if name == "SIGKILL" else "")
    try:
        return json.loads(answered.read_text())["error"]
    except (OSError, ValueError, KeyError):
        return f"ended with status {code}"
