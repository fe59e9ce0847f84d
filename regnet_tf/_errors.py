"""Errors for the command line, which shows their message instead of a traceback."""

import difflib
import importlib
from collections.abc import Iterable


class UserError(ValueError):
    """A request cannot be fulfilled; the message says why, in one line."""


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed; the message says what to install."""


def nearest_names(name: object, known: Iterable[str], count: int = 3) -> list[str]:
    """Returns at most `count` known names that are spelled like another name, nearest first."""
    return difflib.get_close_matches(str(name), list(known), n=count, cutoff=0.5)


def nearest(name: object, known: Iterable[str], count: int = 3) -> str:
    """Returns " Nearest: ..." for an unknown name, or "" if no known name is near.

    Args:
        name: the requested name.
        known: the known names.
        count: maximum number of names.
    """
    near = nearest_names(name, known, count)
    return f" Nearest: {', '.join(near)}." if near else ""


def first_line(error: object) -> str:
    """Returns the first line of another library's error; its type if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def import_optional(module, extra="training"):
    """Imports a module of an optional package.

    Args:
        module: dotted name, such as "sklearn.datasets".
        extra: the extra in setup.cfg that installs the package.

    Raises:
        MissingPackageError: if the package is not installed; the message names the extra.
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
