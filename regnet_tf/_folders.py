"""Lists the images below a folder, and what is left out."""

import os
from pathlib import Path
from typing import NamedTuple

from regnet_tf._files import IMAGE_SUFFIXES


class Listing(NamedTuple):
    """Names below a folder, as sorted paths relative to it, with slashes."""

    images: list[str]
    left_out: list[str]


def images_below(folder: Path) -> Listing:
    """Lists all images below a folder, at any depth. Symbolic links are followed.

    What is hidden, has no suffix of `IMAGE_SUFFIXES`, or is no file is left out: broken links,
    pipes, sockets and devices. A folder that contains itself by a link is entered once.
    """
    images: list[str] = []
    left_out: list[str] = []
    waiting: list[tuple[str, str, frozenset]] = [(os.fspath(folder), "", frozenset())]
    while waiting:
        path, prefix, above = waiting.pop()
        status = os.stat(path)
        here = (status.st_dev, status.st_ino)
        if here in above:
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if entry.name.startswith("."):
                    left_out.append(name)
                elif os.path.isdir(entry.path):
                    waiting.append((entry.path, f"{name}/", above | {here}))
                else:
                    (images if is_image(entry.path) else left_out).append(name)
    return Listing(sorted(images), sorted(left_out))


def is_image(path: str | Path) -> bool:
    """Returns whether a path is that of a file with the suffix of an image."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix in IMAGE_SUFFIXES and os.path.isfile(path)
