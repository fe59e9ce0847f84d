"""Checksums of an export, to find damaged, changed, missing and unknown files."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from regnet_tf._checks import is_int
from regnet_tf._errors import UserError
from regnet_tf._files import read_json, sha256_of, write_json

FILE = "manifest.json"

#: All files are listed at this depth: in `serving/NAME/VERSION`, and in the folders of the others.
_DEPTHS = {"serving": 3, "tflite": 1, "onnx": 1, "openvino": 1, "web": 1}


def write_manifest(folder: Path, files: Iterable[str], kept: dict[str, dict] | None = None) -> None:
    """Writes the size and SHA-256 of files, and the SHA-256 of this list itself.

    Args:
        folder: a `Path`: the folder of the export.
        files: paths of files or folders, relative to `folder`.
        kept: entries for other files.
    """
    entries = {**(kept or {}), **entries_of(folder, files)}
    write_json(folder / FILE, {"files": entries, "sha256": _checksum(entries)})


def entries_of(folder: Path, files: Iterable[str]) -> dict[str, dict]:
    """Returns a dict: path of a file, relative to `folder` -> its "bytes" and "sha256".

    Args:
        folder: a `Path`.
        files: paths of files or folders, relative to `folder`.
    """
    return {
        file.relative_to(folder).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": sha256_of(file),
        }
        for path in files
        for file in _files(folder / path)
    }


def read_manifest(folder: Path) -> dict[str, dict]:
    """Returns the entries of the manifest in a folder, as `entries_of` does.

    Raises:
        UserError: if the manifest is missing or damaged.
    """
    file = folder / FILE
    if not file.is_file():
        raise UserError(f"{folder} holds no export: there is no {FILE}.")
    content = read_json(file, "files", "sha256")
    entries = content["files"]
    if content["sha256"] != _checksum(entries):
        raise UserError(f"{file} is damaged: its list of files does not fit its own SHA-256")
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.items())):
        raise UserError(f"{file} is damaged: it is no list of files with sizes and checksums")
    return entries


def below(entries: dict[str, dict], path: str) -> dict[str, dict]:
    """Returns the entries of a file, or of the files in a folder at any depth."""
    return {
        name: one for name, one in entries.items() if name == path or name.startswith(f"{path}/")
    }


def of_others(folder: Path, new: Iterable[str], stay: Iterable[str]) -> dict[str, dict]:
    """Returns the entries of the files that a new export leaves in a folder.

    These are all SavedModels and the chosen formats. What was deleted has no entries.

    Args:
        folder: a `Path`: the folder of the export.
        new: paths of the files and folders of the new export, relative to `folder`.
        stay: folders of formats that stay.

    Raises:
        UserError: if the manifest is damaged.
    """
    if not (folder / FILE).exists():
        return {}
    there = _folders(folder).keys() - {*new}
    there = {name for name in there if name.startswith("serving/") or name in stay}
    return {path: one for path, one in read_manifest(folder).items() if _folder_of(path) in there}


def gone(folder: Path, entries: dict[str, dict]) -> list[str]:
    """Returns the folders of formats that the manifest in a folder lists, but a new one does not.

    Args:
        folder: a `Path`: the folder of the export.
        entries: entries of the new manifest.
    """
    before = formats(folder) if (folder / FILE).exists() else set()
    return sorted(name for name in before - {*map(_folder_of, entries)} if (folder / name).exists())


def formats(folder: Path) -> set[str]:
    """Returns the folders of formats that the manifest lists, without `serving`.

    Raises:
        UserError: if the manifest is missing or damaged.
    """
    return {path.partition("/")[0] for path in read_manifest(folder) if "/" in path} - {"serving"}


def faults(folder: Path) -> list[str]:
    """Lists the differences from the manifest, one line each.

    Files may be missing, or of other size or content. The folders of the formats may hold only
    files that the manifest lists. The versions of `removed_versions` are no fault.

    Args:
        folder: a `Path`: the folder of the export.

    Raises:
        UserError: if the manifest is missing or damaged.
    """
    entries = read_manifest(folder)
    there = _folders(folder)
    known = _folders_of(entries)
    missing = known - there.keys() - _removed(known, there.keys())
    found = [f"{name} is missing" for name in sorted(missing)]
    for path, entry in entries.items():
        if _folder_of(path) in (None, *there):
            found += _fault(folder, path, entry)
    for name, files in there.items():
        unknown = [name] if name not in known else [file for file in files if file not in entries]
        found += [f"{path} is not in {FILE}" for path in unknown]
    return found


def removed_versions(folder: Path) -> list[str]:
    """Returns the listed versions of SavedModels that are gone, but have a newer one in a folder.

    Users remove old versions when a server needs them no longer.

    Args:
        folder: a `Path`: the folder of the export.

    Raises:
        UserError: if the manifest is missing or damaged.
    """
    return sorted(_removed(_folders_of(read_manifest(folder)), _folders(folder).keys()))


def is_inside(path: object) -> bool:
    """Whether a path from a file, with "/" between its parts, stays in the folder of that file."""
    if not isinstance(path, str):
        return False
    one = PureWindowsPath(path)  # takes "/" and "\\", and knows drives
    return bool(one.parts) and not one.anchor and ".." not in one.parts


def _removed(known, there):
    """Returns the `known` folders that are not `there`, but of which a newer version is."""
    return {name for name in known - there if any(_is_newer(one, name) for one in known & there)}


def _is_newer(one, other):
    """Whether two folders are versions of the same model, and the first is the newer one."""
    (model, _, version), (same, _, before) = one.rpartition("/"), other.rpartition("/")
    numbered = version.isdecimal() and before.isdecimal()
    return numbered and model == same and int(version) > int(before)


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


def _is_entry(item):
    path, entry = item
    ok = is_inside(path) and isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"}
    return ok and is_int(entry["bytes"]) and isinstance(entry["sha256"], str)


def _folders(folder):
    """Returns a dict: path of each folder whose files are all listed -> paths of its files."""
    patterns = ["/".join([top, *["*"] * (depth - 1)]) for top, depth in _DEPTHS.items()]
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return {
        path.relative_to(folder).as_posix(): [
            file.relative_to(folder).as_posix() for file in _files(path)
        ]
        for path in found
        if path.is_dir()
    }


def _folder_of(path):
    """Returns the folder that holds a listed file, as in `_folders`; None if none does."""
    parts = path.split("/")
    depth = _DEPTHS.get(parts[0], len(parts))
    return "/".join(parts[:depth]) if len(parts) > depth else None


def _folders_of(entries):
    """Returns the folders that hold the listed files, as in `_folders`."""
    return {_folder_of(path) for path in entries} - {None}


def _files(path):
    """Returns a file, or the files in a folder at any depth."""
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _checksum(entries):
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
