"""Locks of folders that one process may write to at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from regnet_tf._errors import UserError

#: The file in a folder that `writing_to` locks.
FILE = ".lock"


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Context manager in which no other process enters the same context.

    Raises:
        UserError: if another process is in it.
    """
    with open(folder / FILE, "ab") as file:
        lock(file, folder)
        yield


def lock(file: IO, folder: Path) -> None:
    """Locks an open file until it is closed or this process ends, even if it is killed.

    Args:
        file: a file that is open for writing.
        folder: folder to name in the error.

    Raises:
        UserError: if another process has locked the file.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(f"Another process is writing to {folder}.") from error
