"""Files that are either complete or absent."""

import contextlib
import json
from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError, first_line


@contextlib.contextmanager
def replacing(path):
    """Gives a path beside `path` to write to, and renames it to `path` once all is written.

    Args:
        path: the file to create or replace. The temporary one has the same ending, since writers
            choose their format by it.

    Yields:
        The `Path` to write. If the block raises, it is removed and `path` stays as it was.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path, *keys: str) -> dict:
    """The object in a JSON file.

    Args:
        path: of the file, a `Path`.
        *keys: that it must have.

    Raises:
        UserError: naming the file, where it is damaged.
        OSError: where it can not be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    missing = [key for key in keys if key not in content]
    if missing:
        raise UserError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return content


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file, by name.

    Raises:
        ValueError: saying in one line what is wrong, where the file is damaged or missing.
    """
    try:
        # numpy leaves a file open that it opened itself and that is no archive.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # numpy passes on those of zipfile and zlib too
        raise ValueError(first_line(error)) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # without numpy's mark an entry is bytes
            raise ValueError(f"its entry {name} is no array")
    return arrays


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
