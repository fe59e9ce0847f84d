"""Errors for the command line, which shows their message instead of a traceback."""

import difflib
import importlib
import os
import re
from collections.abc import Iterable

#: Characters that break a line or that steer a terminal (escape sequences, the direction of text),
#: and bytes that are not UTF-8, which Python represents as surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """A request cannot be fulfilled; the message says why, in one line.

    Examples:
        >>> try:
        ...     regnet_tf.get_config("no_such_file.json")
        ... except regnet_tf.UserError as error:
        ...     print(error)
        no_such_file.json cannot be read: No such file or directory
    """


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed; the message says what to install.

    Examples:
        >>> issubclass(regnet_tf.MissingPackageError, ImportError)
        True
    """


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


def printable(text: object) -> str:
    r"""Returns a text from outside, such as the name of a file, so that it prints as one line.

    Control characters, line breaks and bytes that are not UTF-8 become Python's escapes, such as
    `\n` and `\x1b`. All other characters stay.

    Args:
        text: a text, the path of a file, or any object that `str` accepts.
    """
    text = os.fspath(text) if isinstance(text, os.PathLike) else text
    text = os.fsdecode(text) if isinstance(text, bytes) else str(text)
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match):
    code = ord(match[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # "surrogateescape"
    return f"\\x{code - 0xDC00:02x}" if is_byte else ascii(match[0])[1:-1]


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
