"""Checksums of an export, to find damaged or changed files."""

import json
from pathlib import Path

from regnet_tf._errors import UserError
from regnet_tf._files import sha256_of, write_json

FILE = "manifest.json"


def write_manifest(folder, files):
    """Writes the size and SHA-256 of files.

    Args:
        folder: a `Path`: the folder of the export.
        files: paths of files or folders, relative to `folder`.
    """
    entries = {}
    for path in _expanded(folder, files):
        file = folder / path
        entries[path] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    write_json(folder / FILE, entries)


def faults(folder: Path) -> list[str]:
    """Lists the differences from the manifest: missing files, and files of other size or content.

    Args:
        folder: a `Path`: the folder of the export.

    Raises:
        UserError: if the manifest is missing or damaged.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        raise UserError(f"{folder} holds no export: there is no {FILE}.")
    try:
        entries = json.loads(file.read_text())
        return [fault for path, entry in entries.items() for fault in _fault(folder, path, entry)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged: {error}") from error


def _fault(folder, path, entry):
    file = folder / path
    if not file.is_file():
        yield f"{path} is missing"
        return
    size = file.stat().st_size
    if size != entry["bytes"]:
        yield f"{path} has {size:,} bytes instead of {entry['bytes']:,}"
    elif sha256_of(file) != entry["sha256"]:
        yield f"{path} was changed: its SHA-256 is another"


def _expanded(folder, files):
    for path in files:
        if (folder / path).is_dir():
            below = sorted(one for one in (folder / path).rglob("*") if one.is_file())
            yield from (str(one.relative_to(folder)) for one in below)
        else:
            yield str(path)
