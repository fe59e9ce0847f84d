"""What a person at the command line reads instead of a traceback."""

import difflib
import importlib
from collections.abc import Iterable


class UserError(ValueError):
    """What was asked for cannot be done; the message says why, in one line."""


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed; the message says what to install."""


def nearest(name: object, known: Iterable[str]) -> str:
    """The words " Nearest: ..." for an unknown name; nothing where none is near.

    Args:
        name: what was asked for.
        known: the names there are.
    """
    near = difflib.get_close_matches(str(name), list(known), cutoff=0.5)
    return f" Nearest: {', '.join(near)}." if near else ""


def first_line(error: object) -> str:
    """What an error of another library says, in one line; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def import_optional(module, extra="training"):
    """Imports a module of an optional package.

    Args:
        module: dotted name, such as "sklearn.datasets".
        extra: of setup.cfg, which brings the package.

    Raises:
        MissingPackageError: naming the extra to install, if the package is not there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise MissingPackageError(
            f"This needs the package `{package}`: pip install 'regnet_tf[{extra}]'"
        ) from error
