"""Start and end of every program: TensorFlow's variables, errors in one line, exit statuses."""

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
    """Makes Python import modules of `regnet_tf` without running `regnet_tf/__init__.py`.

    That file imports TensorFlow, which takes seconds. `start_tensorflow` runs it later.
    """
    spec = importlib.util.find_spec(_LIBRARY)
    if _LIBRARY not in sys.modules and spec is not None:
        sys.modules[_LIBRARY] = importlib.util.module_from_spec(spec)


def start_tensorflow():
    """Sets `VARIABLES`, and imports TensorFlow and this library without start-up messages.

    Set TF_CPP_MIN_LOG_LEVEL in the environment to see the messages. TensorFlow prints the first
    ones before it reads that variable, so standard error is closed during the import.
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
    """Starts a process of `multiprocessing` that ignores Ctrl-C and ends with its parent."""
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
    """Context manager that drops standard error, of Python and of C++ libraries.

    In a notebook, `sys.stderr` is not the file with number 2. Both are redirected.
    """
    sys.stderr.flush()
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null), _without_file(2):
        yield


@contextlib.contextmanager
def _without_file(number):
    """Context manager that drops what is written to a file descriptor."""
    kept = os.dup(number)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), number)
        try:
            yield
        finally:
            os.dup2(kept, number)
            os.close(kept)


def run(
    job: Callable[[], int | None],
    parser: argparse.ArgumentParser,
    stopped: str = "Stopped.",
    tensorflow: bool = True,
) -> int:
    """Starts TensorFlow, does the job of a program, and returns the exit status.

    The status is the job's own, or 0 if it returns None. It is 2 after a user's error, which is
    printed in one line. After SIGINT and SIGTERM it is 130 and 143. Both signals raise an exception
    in the job, so files are closed.

    Args:
        job: function without arguments.
        parser: the program's parser; error messages name it.
        stopped: message after SIGINT or SIGTERM.
        tensorflow: whether the job needs TensorFlow.
    """
    before = _on_termination(_terminate)
    try:
        if tensorflow:
            start_tensorflow()
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
    """Sets the handler of SIGTERM and returns the previous one. Other threads cannot set it."""
    with contextlib.suppress(ValueError):
        return signal.signal(signal.SIGTERM, handler)
    return None


class _Terminated(BaseException):
    """SIGTERM, as `KeyboardInterrupt` is SIGINT."""


def _terminate(*_):
    raise _Terminated
