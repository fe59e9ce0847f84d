"""Locks of folders that one process may write to at a time."""

import contextlib
import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from regnet_tf._errors import UserError

#: The file in a folder that `writing_to` locks. It says who holds the lock.
FILE = ".lock"


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Context manager in which no other process enters the same context.

    The lock ends with this process, even if it is killed.

    Raises:
        UserError: if another process is in it; the message says which one.
    """
    path = Path(folder) / FILE
    with open(path, "a+", encoding="utf-8") as file:
        lock(file, folder, path)
        if not _is_file_at(path, file):  # its holder removed it and let go just now
            raise UserError(f"Another process is writing to {folder}.")
        file.truncate(0)
        json.dump(_this_process(), file)
        file.flush()
        yield


def _is_file_at(path, file):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def lock(file: IO, folder: Path, holder: Path | None = None) -> None:
    """Locks an open file until it is closed or this process ends, even if it is killed.

    Args:
        file: a file that is open for writing.
        folder: folder to name in the error.
        holder: file that says who holds the lock, if there is one.

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
        raise UserError(f"Another process is writing to {folder}{_who(holder)}.") from error


def _this_process():
    return {
        "process": os.getpid(),
        "machine": platform.node(),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _who(holder):
    """Returns a description of the process that holds the lock, or "" if it is unknown."""
    try:
        one = json.loads(holder.read_text(encoding="utf-8"))
        return (
            f": process {one['process']} on {one['machine']}, since {one['since']}"
            f" (`{one['command']}`)"
        )
    except (AttributeError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
