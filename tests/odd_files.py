"""Folders with everything that a file system allows, for tests of what lists images."""

import os
import socket

#: Names of files that are images, with their form in messages.
NAMES = {
    b"plain.jpg": "plain.jpg",
    b"caf\xe9.jpg": r"caf\xe9.jpg",  # Latin 1, no UTF-8
    b"two\nlines.jpg": r"two\nlines.jpg",
    b"\x1b[31mred.jpg": r"\x1b[31mred.jpg",
    b"deep/folder.jpg/inside.jpg": "deep/folder.jpg/inside.jpg",
}
#: Names of what is no image, in order.
OTHERS = ["broken.jpg", "deep/socket.jpg", "device.jpg", "loop.jpg", "pipe.jpg"]


def write_odd_files(folder, content):
    """Writes files of `NAMES` with a content, and `OTHERS`, into a new folder."""
    (folder / "deep" / "folder.jpg").mkdir(parents=True)
    for name in NAMES:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(content)
    (folder / "empty.jpg").mkdir()
    os.symlink("nowhere", folder / "broken.jpg")
    os.symlink("loop.jpg", folder / "loop.jpg")
    os.symlink("..", folder / "deep" / "up")
    os.symlink(os.devnull, folder / "device.jpg")
    os.mkfifo(folder / "pipe.jpg")
    # The path of a socket may have 107 bytes only.
    here = os.open(folder / "deep", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{here}/socket.jpg")
    os.close(here)
