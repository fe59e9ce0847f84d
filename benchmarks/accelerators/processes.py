"""Worker processes that live for several requests."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from ..comparison.processes import Failure

_ROOT = Path(__file__).parents[2]
_WORKER = _ROOT / "benchmarks" / "comparison" / "workers" / "accelerated.py"


class Worker:
    """A process that answers requests until it is closed; a context manager.

    Args:
        backend: Keras' backend, or None.
        timeout: maximum seconds of a request.
        script: a `Path`: the script that answers.
    """

    def __init__(self, backend: str | None, timeout: float, script: Path = _WORKER):
        self._timeout = timeout
        self._log = tempfile.TemporaryFile()
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(backend),
            start_new_session=True,
            text=True,
        )
        assert self._process.stdin and self._process.stdout
        self._requests, self._lines = self._process.stdin, self._process.stdout
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self):
        for line in self._lines:
            self._answers.put(line)
        self._answers.put("")  # the process has ended

    def ask(self, request: dict) -> dict:
        """Sends a request and returns its answer; see `answer`."""
        self.send(request)
        return self.answer()

    def send(self, request: dict) -> None:
        """Sends a request. A worker that has ended gets it in vain; `answer` tells."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()

    def answer(self) -> dict:
        """Returns the answer to the oldest request that has none.

        Raises:
            Failure: if the worker failed, timed out or ended. It is closed then.
        """
        try:
            line = self._answers.get(timeout=self._timeout)
            answer = json.loads(line) if line else {"error": "the process ended"}
        except queue.Empty:
            answer = {"error": f"took longer than {self._timeout:g} s"}
        if "error" in answer:
            self._log.seek(0)
            log = self._log.read().decode(errors="replace")
            self.close()
            raise Failure(answer["error"], log)
        return answer

    def close(self):
        """Ends the process and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.join()
        for file in (self._log, self._lines, self._requests):
            with contextlib.suppress(BrokenPipeError):  # of a request that nobody has read
                file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _environment(backend):
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
        # The contenders share the GPU. By default, JAX takes three quarters of its memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if backend is not None:
        variables["KERAS_BACKEND"] = backend
    return {**os.environ, **variables}
