"""Reads and writes files. A written file is either complete or absent."""

import contextlib
import csv
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regnet_tf._archives import check_arrays
from regnet_tf._checks import shown
from regnet_tf._errors import UserError, first_line

#: Files about a network in an export: in a SavedModel's folder `assets.extra`, and in a `.tflite`
#: file's archive.
LABELS_FILE, FACTS_FILE = "labels.txt", "facts.json"

# Of JSON that is read. Keras' configurations have about 30 levels.
_MOST_DIGITS, _MOST_LEVELS = 4000, 100

#: Suffixes of files that are images, in lower case.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Context manager to write a temporary file, which is renamed to `path` when it is complete.

    Args:
        path: the file to create or replace. The temporary file is in the same folder. It has the
            same suffix, because writers choose their format by it.

    Yields:
        The `Path` of the temporary file. If the block raises an error, the temporary file is
        removed and `path` stays unchanged.

    Raises:
        UserError: if the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        with naming_file(path):
            yield partial
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())  # some file systems tell only here that they are full
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def naming_file(path: str | os.PathLike) -> Iterator[None]:
    """Context manager to write a file. An error of the file system gets the name of the file.

    Raises:
        UserError: if the file cannot be written; the message says why.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each library wraps errors of the file system in another way
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(f"{path} could not be written: {reason}.") from error


def _reason(error: BaseException | None) -> str | None:
    """Returns what the file system said, if an error comes from it; else None."""
    while error is not None:
        if isinstance(error, OSError):
            return os.strerror(error.errno) if error.errno else first_line(error)
        told = re.search(r"os error (\d+)", str(error))  # safetensors
        if told:
            return os.strerror(int(told[1]))
        error = error.__cause__ or error.__context__
    return None


def write_json(path: Path, content: dict | list, indent: int = 2) -> None:
    """Writes a JSON file; the old one is replaced when the new one is complete."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=indent) + "\n")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file; the old one is replaced when the new one is complete.

    Bytes of file names that are not UTF-8 are written as they are in the file system.
    """
    with (
        replacing(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file).writerows(rows)


def read_json(path: Path, *keys: str) -> dict:
    """Reads the object in a JSON file.

    Args:
        path: `Path` of the file.
        *keys: keys that the object must have.

    Raises:
        UserError: if the file is damaged; the message names it.
        OSError: if the file cannot be read.
    """
    return parse_json(path.read_bytes(), str(path), *keys)


def parse_json(text: str | bytes, origin: str, *keys: str) -> dict:
    """Returns the object in a JSON text.

    Args:
        text: the text, or its bytes in UTF-8.
        origin: what the error names, such as the path of a file.
        *keys: keys that the object must have.

    Raises:
        UserError: if the text is not a JSON object with these keys.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError as error:
        raise UserError(f"{origin} is damaged: it is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{origin} is damaged: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{origin} is damaged: it holds no JSON object")
    if _is_deep(content):
        raise UserError(f"{origin} is damaged: it is nested too deeply")
    missing = [key for key in keys if key not in content]
    if missing:
        raise UserError(f"{origin} is damaged: it lacks {', '.join(missing)}")
    return content


def _object(pairs):
    """Returns the dict of a JSON object, whose keys must differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {shown(double)} twice")
    return found


def _integer(digits):
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it has an integer of {len(digits):,} digits")
    return int(digits)


def _is_deep(content):
    """Whether lists and objects are nested so deeply that a walk through them may fail."""
    level = [content]
    for _ in range(_MOST_LEVELS):
        parts = (part.values() if isinstance(part, dict) else part for part in level)
        level = [one for part in parts for one in part if isinstance(one, (dict, list))]
        if not level:
            return False
    return True


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file, by name.

    Raises:
        ValueError: if the file is damaged or missing; the message says in one line what is wrong.
    """
    try:
        # If numpy opens the file itself and it is no archive, numpy does not close it.
        with open(path, "rb") as opened:
            with zipfile.ZipFile(opened) as archive:
                check_arrays(archive, path)
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except Exception as error:  # also errors of zipfile and zlib
        raise ValueError(first_line(error)) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # an entry without numpy's header is bytes
            raise ValueError(f"its entry {name} is not an array")
    return arrays


def print_paths(folder, files):
    """Prints the paths of files with their descriptions.

    Args:
        folder: `Path` of the folder.
        files: name of a file in the folder -> description.
    """
    paths = {str(folder / file): what for file, what in files.items()}
    width = max(map(len, paths))
    for path, what in paths.items():
        print(f"  {path:{width}}  {what}")
