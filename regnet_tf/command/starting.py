"""Start and end of every program's job: TensorFlow's variables, errors in one line, statuses."""

import argparse
import contextlib
import errno
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable

from . import process

#: TensorFlow reads these when it is imported. It takes oneDNN by itself on some CPUs only. Without
#: it, the second one keeps the memory of large tensors, which otherwise goes back to the system.
VARIABLES = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"}

_LIBRARY = "regnet_tf"
#: TensorFlow's errors about files end with the system's text of one of these.
_OF_FILES = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EFBIG")


def defer_library():
    """Makes Python import modules of `regnet_tf` without running `regnet_tf/__init__.py`.

    That file imports TensorFlow, which takes seconds. `start_tensorflow` runs it later.
    """
    spec = importlib.util.find_spec(_LIBRARY)
    if _LIBRARY not in sys.modules and spec is not None:
        sys.modules[_LIBRARY] = importlib.util.module_from_spec(spec)


def start(module: str = "", package: str = "regnet_command") -> None:
    """Runs a program in its own process, and ends the process.

    The program runs in its importable module, also if Python was started with that module: as
    `__main__` its classes would be others than those that the rest of the project imports.

    Args:
        module: name of the module with the program's `main`, relative to the package, such as
            ".command"; by default, the package itself.
        package: name of the package.
    """
    defer_library()
    process.finish(lambda: importlib.import_module(module or package, package).main())


def start_tensorflow():
    """Sets `VARIABLES`, and imports TensorFlow and this library without start-up messages.

    Set TF_CPP_MIN_LOG_LEVEL in the environment to see the messages. TensorFlow prints the first
    ones before it reads that variable, so standard error is closed during the import.
    """
    _import_tensorflow()
    library = sys.modules.get(_LIBRARY)
    if library is not None and not hasattr(library, "__version__"):
        importlib.reload(library)  # runs it for the first time


def import_tensorflow_of_program():
    """Imports TensorFlow as `start_tensorflow` does, if Python was started for a program."""
    if process.is_program():
        _import_tensorflow()


def _import_tensorflow():
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    silent = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
    with _without_file(2) if silent else contextlib.nullcontext():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def without_stderr():
    """Context manager that drops standard error, of Python and of C++ libraries.

    In a notebook, `sys.stderr` is not the file with number 2. Both are redirected.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null), _without_file(2):
        yield


@contextlib.contextmanager
def _without_file(number):
    """Context manager that drops what is written to a file descriptor. It may be closed."""
    try:
        kept = os.dup(number)
    except OSError:
        yield
        return
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
    only_prints: bool = False,
) -> int:
    """Starts TensorFlow, does the job of a program, and returns the exit status.

    The status is the job's own, or 0 if it returns None. It is 2 after an error of the user or of
    the machine, which is printed in one line. After SIGINT and SIGTERM it is 130 and 143. Both
    signals raise `Stopped` in the job, so files are closed.

    Args:
        job: function without arguments.
        parser: the program's parser; error messages name it.
        stopped: message after SIGINT or SIGTERM.
        tensorflow: whether the job needs TensorFlow.
        only_prints: whether the job has no other result than what it prints. If nobody reads that
            any more, the process ends. Other jobs go on to work and drop it.
    """
    try:
        if tensorflow:
            start_tensorflow()
        with process.job(stopped, only_prints):
            return job() or 0
    except KeyboardInterrupt as stop:
        process.tell()
        return 128 + getattr(stop, "signal", signal.SIGINT)
    except Exception as error:
        text = _explained(error)
        if text is None:
            raise
        print(f"{parser.prog}: error: {text}", file=sys.stderr)
        return 2


def _explained(error):
    """Returns an error of the user or of the machine in one line; None for any other error."""
    from regnet_tf._errors import first_line, printable

    if isinstance(error, MemoryError):
        return printable(f"Not enough memory. {first_line(error)}")
    if isinstance(error, (ValueError, OSError, ImportError)):
        return printable(" ".join(str(error).splitlines()))
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    text = first_line(error)
    if any(os.strerror(getattr(errno, name)) in text for name in _OF_FILES if hasattr(errno, name)):
        return printable(text)
    if isinstance(error, tensorflow.errors.ResourceExhaustedError):
        return printable(f"Not enough memory. {text}")
    return None
