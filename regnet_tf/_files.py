"""Files that are either complete or absent."""

import contextlib
import json
from pathlib import Path

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


def read_json(path, *keys) -> dict:
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
