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
from regnet_tf._files import naming_file, parse_json

#: The file in a folder that `writing_to` locks. It says who holds the lock.
FILE = ".lock"


@contextlib.contextmanager
def writing_to(folder: str | os.PathLike) -> Iterator[None]:
    """Context manager in which no other process enters the same context.

    The lock ends with this process, even if it is killed. File systems without locks have none.

    Raises:
        UserError: if another process is in it; the message says which one. Also if the lock's file
            cannot be written.
    """
    path = Path(folder) / FILE
    with contextlib.ExitStack() as stack:
        with naming_file(path):
            file = stack.enter_context(open(path, "ab+", buffering=0))
            if not _lock(file):
                raise UserError(f"Another process is writing to {folder}{_who(path)}.")
            if not _is_file_at(path, file):  # its holder removed it and let go just now
                raise UserError(f"Another process is writing to {folder}.")
            file.truncate(0)
            file.write(json.dumps(_this_process()).encode())
        yield


def _is_file_at(path, file):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _lock(file: IO) -> bool:
    """Locks an open file until it is closed; returns False if another process has locked it."""
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


def _this_process():
    return {
        "process": os.getpid(),
        "machine": platform.node(),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _who(path):
    """Returns a description of the process that holds the lock, or "" if it is unknown."""
    try:
        one = parse_json(path.read_bytes(), str(path), "process", "machine", "since", "command")
    except (OSError, UserError):
        return ""
    return (
        f": process {one['process']} on {one['machine']}, since {one['since']} (`{one['command']}`)"
    )
