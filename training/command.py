"""What the commands of `training` have in common."""

import contextlib
import os
import signal
import sys

#: TensorFlow reads these when it is imported. It takes oneDNN by itself on some CPUs only. Without
#: it, the second one keeps the memory of large tensors, which otherwise goes back to the system.
VARIABLES = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"}


def start_tensorflow():
    """Imports TensorFlow at its fastest, and without its start-up messages.

    The environment may ask for these. C++ writes them before the variable that silences the later
    ones counts.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(open(os.devnull, "w"))
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        stack.callback(os.dup2, stderr, 2)
        os.dup2(null.fileno(), 2)
        import tensorflow  # noqa: F401


def status_of(job, parser) -> int:
    """Does a job that the same command goes on with after it was stopped; the exit status.

    That is 0 if it worked, 2 after an error of the user's, 130 and 143 if it was stopped by SIGINT
    or SIGTERM, which ends it like an exception: what is being written is closed.

    Args:
        job: function without arguments.
        parser: of the command; errors name it.
    """
    from regnet_tf._errors import UserError, fail

    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        job()
    except (UserError, ValueError, OSError) as error:
        return fail(parser, error)
    except (KeyboardInterrupt, _Terminated) as stop:
        print("\nStopped; the same command goes on.", file=sys.stderr)
        return 143 if isinstance(stop, _Terminated) else 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


class _Terminated(BaseException):
    """SIGTERM, as `KeyboardInterrupt` is SIGINT."""


def _terminate(*_):
    raise _Terminated
