"""How programs start and end: TensorFlow at its fastest, one line for an error, 130 for Ctrl-C."""

import argparse
import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import connection

#: TensorFlow reads these when it is imported. It takes oneDNN by itself on some CPUs only. Without
#: it, the second one keeps the memory of large tensors, which otherwise goes back to the system.
VARIABLES = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"}

_LIBRARY = "regnet_tf"


def defer_library():
    """From here on modules of `regnet_tf` are imported without `regnet_tf/__init__.py`.

    That imports TensorFlow, which takes seconds; `start_tensorflow` does it later.
    """
    spec = importlib.util.find_spec(_LIBRARY)
    if _LIBRARY not in sys.modules and spec is not None:
        sys.modules[_LIBRARY] = importlib.util.module_from_spec(spec)


def start_tensorflow():
    """Imports TensorFlow and this library, at their fastest and without start-up messages.

    The environment may ask for these. C++ writes them before the variable that silences the later
    ones counts.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    silent = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
    with _without_file(2) if silent else contextlib.nullcontext():
        import tensorflow  # noqa: F401
    library = sys.modules.get(_LIBRARY)
    if library is not None and not hasattr(library, "__version__"):
        importlib.reload(library)  # runs it for the first time


def start_worker():
    """Starts a process of `multiprocessing`: it leaves Ctrl-C to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    defer_library()
    start_tensorflow()


def _end_with(sentinel):
    connection.wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def without_stderr():
    """Keeps what C++ libraries print off the screen. Python's own messages are lost too.

    In a notebook they go other ways: `sys.stderr` is not the file of that number there.
    """
    sys.stderr.flush()
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null), _without_file(2):
        yield


@contextlib.contextmanager
def _without_file(number):
    """What is written to the file of this number is lost."""
    kept = os.dup(number)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), number)
        try:
            yield
        finally:
            os.dup2(kept, number)
            os.close(kept)


def run(
    job: Callable[[], int | None], parser: argparse.ArgumentParser, stopped: str = "Stopped."
) -> int:
    """Does the job of a program; returns the exit status.

    That is the job's own, or 0 if it returns None; 2 after an error of the user's, which is printed
    in one line; 130 and 143 after SIGINT and SIGTERM, which end it like an exception: what is being
    written is closed.

    Args:
        job: function without arguments.
        parser: of the program; errors name it.
        stopped: what is printed where it is stopped.
    """
    before = _on_termination(_terminate)
    try:
        return job() or 0
    except (ValueError, OSError, ImportError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, _Terminated) as stop:
        print(f"\n{stopped}", file=sys.stderr)
        return 143 if isinstance(stop, _Terminated) else 130
    finally:
        _on_termination(before)


def _on_termination(handler):
    """Sets the handler of SIGTERM, which only the main thread may; returns the one before."""
    with contextlib.suppress(ValueError):
        return signal.signal(signal.SIGTERM, handler)
    return None


class _Terminated(BaseException):
    """SIGTERM, as `KeyboardInterrupt` is SIGINT."""


def _terminate(*_):
    raise _Terminated
