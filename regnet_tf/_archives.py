"""Looks at what files and zip archives claim before memory is taken for it."""

import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from regnet_tf._errors import first_line

# A file may claim this number of bytes, and this multiple of its size. Weights compress to about
# nine tenths; new batch normalization and dark images compress far better, but they are small.
_FLOOR, _MULTIPLE = 2**26, 20
_CHUNK = 2**20
#: What reading a damaged zip archive raises.
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, KeyError, ValueError)


def check_claim(path: str | os.PathLike, claimed: int) -> None:
    """Raises ValueError if the content of a file claims far more bytes than the file has."""
    size = os.path.getsize(path)
    if claimed > _FLOOR + _MULTIPLE * size:
        raise ValueError(f"its content claims {claimed:,} bytes; the file has {size:,}")


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Reads a text of an archive, of at most 64 MiB.

    Raises:
        one of `DAMAGES`: if it is larger, missing or damaged.
    """
    size = archive.getinfo(name).file_size
    if size > _FLOOR:
        raise ValueError(f"its entry {name} has {size:,} bytes")
    return archive.read(name)


def check_archive(path: Path) -> None:
    """Reads a zip archive and compares each entry with its checksum.

    Raises:
        ValueError: if the archive is damaged or claims far more bytes than it has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            check_claim(path, sum(entry.file_size for entry in entries))
            if not any(entry.CRC for entry in entries):
                return  # PyTorch can leave the checksums out
            for entry in entries:
                with archive.open(entry) as file:
                    while file.read(_CHUNK):
                        pass
    except DAMAGES as error:
        raise ValueError(first_line(error)) from error


def check_arrays(archive: zipfile.ZipFile, path: str | os.PathLike) -> None:
    """Raises ValueError unless the arrays of an `.npz` file have as many bytes as they claim."""
    check_claim(path, sum(entry.file_size for entry in archive.infolist()))
    for entry in archive.infolist():
        with archive.open(entry) as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                continue  # numpy returns its bytes
        with archive.open(entry) as file:
            shape, dtype = _header(file)
            content = entry.file_size - file.tell()
        claimed = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and claimed != content:
            raise ValueError(f"its entry {entry.filename} claims {claimed:,} bytes")


def _header(file):
    """Returns shape and dtype from the header of an `.npy` file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0  # version 3 differs in its encoding alone
    shape, _, dtype = read(file)
    return shape, dtype
