"""What the commands of `training` have in common."""

import contextlib
import os


def start_tensorflow():
    """Imports TensorFlow without its start-up messages, unless the environment asks for them.

    They are written by C++ before the variable that silences the later ones counts.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(open(os.devnull, "w"))
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        stack.callback(os.dup2, stderr, 2)
        os.dup2(null.fileno(), 2)
        import tensorflow  # noqa: F401
