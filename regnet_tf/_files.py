"""Files that are either complete or absent."""

import contextlib
from pathlib import Path


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
