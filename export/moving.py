"""Moves a finished export into place, so that no program ever finds half of one.

An export is built in a temporary folder. One rename to `.complete-export` says that it is whole.
From then on it counts: whoever comes next finishes a move that was interrupted.
"""

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from regnet_tf import _locking
from regnet_tf._errors import UserError, first_line

from . import manifest, serving

_PARTIAL, _COMPLETE = ".partial-export", ".complete-export"


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Yields an empty temporary folder on the same disk as `out`, and removes it afterwards.

    No other process exports to `out` meanwhile. What killed exports left there is removed or, if it
    was whole, moved into place.

    Raises:
        UserError: if another process exports to `out`, or a file cannot be written.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    folder = out / _PARTIAL
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        try:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_alone(out))
            _finish(out)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        except OSError as error:
            raise UserError(f"Cannot write to the folder {out}: {error.strerror}.") from error
        try:
            yield folder
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"The export to {out} failed: {first_line(error)}") from error


def move(folder: Path, out: Path, new_version: bool) -> None:
    """Moves an export into place.

    Args:
        folder: the folder that `staging(out)` yielded, with `serving/NAME/VERSION`, the folders of
            other formats, and files, all of them in its manifest.
        out: the folder of exports.
        new_version: whether the version must not exist yet.

    Raises:
        UserError: if something else has the path of a file or folder; nothing is moved then.
    """
    for path in _parts(folder):
        there = out / path
        if there.exists() and path.parts[0] == "serving" and new_version:
            raise UserError(f"{there} was written by another process. Export again.")
        if there.exists() and there.is_dir() != (folder / path).is_dir():
            kind = "file" if there.is_dir() else "folder"
            raise UserError(f"{there} must be a {kind}. Move it away, and export again.")
    for path in _parts(folder):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(out / _COMPLETE)
    _finish(out)


def finish(out: Path) -> None:
    """Finishes a move whose process was killed, if there is one.

    Raises:
        UserError: if another process exports to `out` now.
        OSError: if `out` cannot be written to.
    """
    if (out / _COMPLETE).exists():
        with _alone(out):
            _finish(out)


@contextlib.contextmanager
def _alone(out):
    with _locking.writing_to(out):
        try:
            yield
        finally:
            (out / _locking.FILE).unlink(missing_ok=True)  # it is no part of an export


def _finish(out):
    complete = out / _COMPLETE
    if not complete.exists():
        return
    if (complete / manifest.FILE).is_file():  # else all is moved
        entries = manifest.read_manifest(complete)
        for name in manifest.gone(out, entries):
            _set_aside(out, Path(name))
        for path in _parts(complete):
            _put(complete, out, path, entries)
    serving.write_configuration(out / "serving")
    shutil.rmtree(complete)
    shutil.rmtree(out / _PARTIAL, ignore_errors=True)


def _parts(folder):
    """Returns the paths that are moved at once, relative to the folder; the manifest is last."""
    versions = [path.relative_to(folder) for path in sorted(folder.glob("serving/*/*"))]
    others = sorted(Path(path.name) for path in folder.iterdir() if path.name != "serving")
    others.sort(key=lambda path: path.name == manifest.FILE)
    return [*versions, *others]


def _put(complete, out, path, entries):
    """Moves a file or folder into place, and what it replaces to one of the temporary folders."""
    new, there = complete / path, out / path
    if not there.is_dir():
        new.replace(there)
        return
    new_entries = manifest.below(entries, path.as_posix())
    is_there = manifest.entries_of(out, [path]) == new_entries  # an earlier process moved it
    if not is_there and not _exchange(new, there):
        _set_aside(out, path)
        new.rename(there)


def _set_aside(out, path):
    """Moves a folder of an earlier export to the temporary folder, which is removed at the end."""
    (out / _PARTIAL).mkdir(exist_ok=True)
    (out / path).rename(out / _PARTIAL / path.name)


def _exchange(one, other):
    """Exchanges two folders in one step; returns whether the system can do that."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _remove_empty(folders):
    """Removes empty folders, innermost first, and stops at the first that is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()
