"""What the commands of `export` have in common."""

import contextlib
import os
import sys


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
    """Keeps TensorFlow's start-up messages off the screen, but for whom asks for them.

    They are written before the variable that silences the later ones counts.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    with without_stderr():
        yield
