"""What the commands of `training` have in common."""

import contextlib
import os
import sys


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


def fail(parser, error) -> int:
    """Prints an error in one line; returns the exit status for it."""
    print(f"{parser.prog}: error: {error}", file=sys.stderr)
    return 2


def print_paths(folder, files):
    """Prints where files are.

    Args:
        folder: a `Path`.
        files: name of a file in it -> what it is.
    """
    paths = {str(folder / file): what for file, what in files.items()}
    width = max(map(len, paths))
    for path, what in paths.items():
        print(f"  {path:{width}}  {what}")
