"""Worker processes: they take a request and return an answer, or the reason of a failure."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

_KEPT = 4000  # last characters of a failed worker's output to keep


class Failure(Exception):
    """Raised when a worker gives no answer.

    Attributes:
        reason: reason in one line.
        log: end of the worker's output.
    """

    def __init__(self, reason, log=""):
        super().__init__(reason)
        self.reason = reason
        self.log = log[-_KEPT:]


def run_worker(
    python: str, script: Path, request: dict, timeout: float, environment: dict[str, str]
) -> dict:
    """Runs a script in a fresh process, and ends all processes that it has started.

    Args:
        python: path of the interpreter.
        script: a `Path` of a script in `workers`, or of another script with two arguments: the
            JSON files of the request and of the answer. The script writes the answer as a dict. If
            it fails, the dict has the reason as "error".
        request: request, a dict.
        timeout: maximum seconds that the script may take.
        environment: environment variables of the process.

    Returns:
        The answer, a dict.

    Raises:
        Failure: if the script timed out, was killed, or failed.
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
    """Kills a process, and its children if the system has process groups."""
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
