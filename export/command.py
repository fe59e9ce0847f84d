"""What the commands of `export` have in common."""

import contextlib
import os
import sys

# TensorFlow reads these when it is imported. It takes oneDNN by itself on some CPUs only. Without
# it, the second one keeps the memory of large tensors, which otherwise goes back to the system.
_VARIABLES = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"}


@contextlib.contextmanager
def without_stderr():
    """Keeps what C++ libraries say off the screen. Python's own messages are lost too.

    In a notebook they go other ways: `sys.stderr` is not the file of that number there.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def quietly():
    """For the import of TensorFlow: at its fastest, and without its start-up messages.

    The environment may ask for these. C++ writes them before the variable that silences the later
    ones counts.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    with without_stderr():
        yield
