"""What earlier exports to a folder left there, and what of it stays."""

from collections.abc import Iterable
from pathlib import Path

from regnet_tf._errors import UserError

from . import manifest, report, serving
from .source import Source

_SERVING = "serving"


def version_to_write(
    out: Path, source: Source, folders: Iterable[str], version: int | None, overwrite: bool
) -> int:
    """Returns the version number of an export: a new one if it writes a SavedModel.

    Args:
        out: a `Path`: the folder of exports.
        source: the `export.source.Source`.
        folders: folders of the formats that are written.
        version: requested number; by default the one after the last version.
        overwrite: whether the version may exist.

    Raises:
        UserError: if the version exists or fits no SavedModel, or the folder holds another network.
    """
    others = [one.name for one in (out / _SERVING).glob("*/") if serving.versions(one)]
    if others and source.name not in others:
        raise UserError(
            f"{out} holds exports of {others[0]}. Give another --out, or --name {others[0]} to add"
            " a version to them."
        )
    models = out / _SERVING / source.name
    if _SERVING in folders:
        serving.read_stable(out / _SERVING)  # raises now instead of after the export
        return serving.next_version(models, version, overwrite)
    if version is not None:
        raise UserError(
            "`version` is the version of a SavedModel, a format that is not written. Received:"
            f" {version}"
        )
    return max(serving.versions(models), default=1)


def artefacts_that_stay(
    out: Path, source: Source, folders: Iterable[str], overwrite: bool
) -> dict[str, dict]:
    """Returns the entries in the report of the files that an export leaves where they are.

    These are files of formats that it does not write, of the same network and checked on the same
    images.

    Args:
        out: a `Path`: the folder of exports.
        source: the `export.source.Source`.
        folders: folders of the formats that are written.
        overwrite: whether files of another network may be removed.

    Raises:
        UserError: if files of another network are there, and may not be removed; or if a folder
            that is to be written is there, but is no part of an export.
    """
    there = manifest.formats(out) if (out / manifest.FILE).is_file() else set()
    for name in sorted({*folders} - {_SERVING} - there):
        if (out / name).exists():
            raise UserError(f"{out / name} is no part of an export. Move it away, or change --out.")
    others = there - {*folders}
    if (not others and _SERVING in folders) or not (out / manifest.FILE).is_file():
        return {}
    if report.read_fingerprint(out / report.FILE) == source.fingerprint:
        artefacts = report.read_artefacts(out / report.FILE)
        return {
            name: one
            for name, one in artefacts.items()
            if _top(one["path"]) not in folders and (out / one["path"]).exists()
        }
    if others and not overwrite:
        raise UserError(
            f"{out} also holds files of another network, or that were checked on other images:"
            f" {', '.join(sorted(others))}. Give another --out, a --format with all of these, or"
            " --overwrite to remove them."
        )
    return {}


def write_manifest(folder: Path, out: Path, staying: dict[str, dict]) -> None:
    """Writes the manifest of an export, also for the files that stay.

    Args:
        folder: a `Path`: the folder in which the export was built.
        out: a `Path`: the folder of exports.
        staying: result of `artefacts_that_stay`.
    """
    new = [path.name for path in folder.iterdir() if path.name != _SERVING]
    new += [path.relative_to(folder).as_posix() for path in folder.glob(f"{_SERVING}/*/*")]
    stay = {_top(one["path"]) for one in staying.values()}
    manifest.write_manifest(folder, new, manifest.of_others(out, new, stay))


def _top(path):
    return path.partition("/")[0]
