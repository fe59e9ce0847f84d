"""What the commands of `export` have in common."""

import os
import sys
from contextlib import contextmanager


@contextmanager
def quietly():
    """Keeps the start-up messages of C++ libraries off the screen, but for whom asks for them.

    They are written before the variable that silences the later ones counts.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
