"""The command `regnet`: one program for each thing to do, found by its name.

Installed as a package of its own, `regnet_command`, because Python imports a package before what is
in it: `regnet_tf` imports TensorFlow, and no `--help` should wait for that.
"""

from .process import Stopped, say_when_stopped  # first: it handles Ctrl-C from here on

# isort: split

import importlib
import sys
from typing import NamedTuple

from .preparation import add_preprocessing_options, preprocessing_changes
from .starting import (
    VARIABLES,
    defer_library,
    import_tensorflow_of_program,
    run,
    start,
    start_tensorflow,
    without_stderr,
)

__all__ = [
    "PROGRAMS",
    "VARIABLES",
    "Stopped",
    "add_preprocessing_options",
    "defer_library",
    "import_tensorflow_of_program",
    "main",
    "preprocessing_changes",
    "run",
    "say_when_stopped",
    "start",
    "start_tensorflow",
    "without_stderr",
]


class Program(NamedTuple):
    """A program: a module with `main(arguments) -> int`, and what it does."""

    module: str
    does: str


#: By the words after `regnet`, in the order in which people need them.
PROGRAMS = {
    "train": Program("regnet_tf.training.command", "train a network by a recipe"),
    "evaluate": Program("regnet_tf.training.evaluate", "count the accuracy of a network"),
    "predict": Program("regnet_command.predict", "classify photographs with any network"),
    "export": Program("regnet_tf.export.command", "write a network for servers and phones"),
    "verify": Program("regnet_tf.export.verify", "repeat the checks of an export"),
    "ask": Program("regnet_tf.export.client.command", "send photographs to a model server"),
    "show": Program("regnet_command.show", "print the stages and costs of a network"),
    "variants": Program("regnet_command.variants", "list the networks of the paper"),
    "weights": Program("regnet_command.weights", "list, convert and share weights"),
    "data": Program("regnet_tf.training.data_command", "prepare and look at a data set"),
    "sweep": Program("regnet_tf.training.sweep.command", "train and compare many networks"),
    "benchmark": Program("regnet_tf.training.benchmark.command", "measure training and inference"),
    "benchmark files": Program("regnet_tf.export.benchmark.command", "measure exported files"),
}

_OVERVIEW = """\
usage: regnet PROGRAM ...

RegNet for Keras 3 and TensorFlow: design, train, export.

{programs}

examples:
  regnet train                                        digits, in a minute or two
  regnet evaluate runs/digits
  regnet export runs/digits --out exports/digits
  regnet predict runs/digits photo.jpg
  regnet show RegNetY-400MF

`regnet PROGRAM --help` explains a program. Exit status: 0 if it worked, 1 if a check failed, 2 if
something cannot be done, 130 after Ctrl-C, 143 after SIGTERM. If nobody reads the output, as in
`| head`, programs that write or check files go on to work. Those that only print end with 141."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program that the first words name.

    Args:
        arguments: list of strings; those of the process by default.

    Returns:
        Its exit status.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        from importlib import metadata

        print(f"regnet_tf {metadata.version('regnet_tf')}")
        return 0
    for words in (2, 1):
        program = PROGRAMS.get(" ".join(arguments[:words]))
        if program is not None:
            defer_library()
            return importlib.import_module(program.module).main(arguments[words:])
    print(f"regnet: error: {_unknown(arguments[0])}", file=sys.stderr)
    return 2


def _unknown(name):
    defer_library()
    from regnet_tf._errors import nearest

    known = ", ".join(program for program in PROGRAMS if " " not in program)
    return f"There is no program `{name}`.{nearest(name, PROGRAMS, count=1)} Known: {known}."


def overview() -> str:
    """All programs on one screen."""
    width = max(map(len, PROGRAMS))
    lines = [f"  {name:{width}}  {program.does}" for name, program in PROGRAMS.items()]
    return _OVERVIEW.format(programs="\n".join(lines))
