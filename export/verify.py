"""`regnet verify`: repeats the checks of an export."""

import argparse
from collections.abc import Callable
from pathlib import Path

from regnet_command import run, start

_EPILOG = """\
example:
  regnet verify exports/digits

The command checks the size and SHA-256 of each file, and that the folders of the versions and
formats hold no other file. If no file was changed, it runs each network on the images and the whole
photographs in checks.npz, and compares the outputs with those of the Keras model. The same bounds
hold as for the export; report.md lists them. Moreover, the largest difference may be at most twice
the one in report.json, because other processors round differently, and at most one image in a
hundred more may get another class. A version of a SavedModel may be missing as a whole, if a newer
one is there.

If an export was killed while it was moved into place, the command first finishes that move.

Exit status: 0 if all checks pass, 1 if one fails, 2 if the folder is not an export or its manifest,
report or checks cannot be read."""

_SLACK = 2.0
_LEAST_DIFFERENCE = 1e-4  # always allowed: of probabilities, or relative to the largest feature
_LESS_AGREEMENT = 1.0  # percentage points
_SUFFIXES = (".tflite", ".onnx", ".xml")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = argparse.ArgumentParser(
        prog="regnet verify",
        description="Repeats the checks of an export, for example on another machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder that regnet export wrote")
    options = parser.parse_args(arguments)
    return run(lambda: _verify(options.folder), parser)


def _verify(folder):
    """Prints the faults and returns the exit status."""
    from regnet_tf._errors import printable

    found = verify(folder)
    for fault in found:
        print(f"FAULT  {printable(fault)}")
    print(f"{printable(folder)}: {f'{len(found)} faults' if found else 'all is well'}")
    return 1 if found else 0


def verify(folder: Path, say: Callable = print) -> list[str]:
    """Repeats the checks of an export.

    Args:
        folder: a `Path`: the folder that `regnet export` wrote.
        say: called with a line about each file.

    Returns:
        The faults, one line each.

    Raises:
        UserError: if the folder holds no export.
    """
    from regnet_tf._errors import UserError
    from regnet_tf.runtimes import open_file

    from . import bounds, manifest, moving, report
    from .checks import Checks
    from .graph import offending_ops

    moving.finish(folder)
    found = manifest.faults(folder)
    if found:
        return found
    for version in manifest.removed_versions(folder):
        say(f"{version} was removed; a newer version is there")
    artefacts = report.read_artefacts(folder / report.FILE)
    found = list(_unlisted(manifest.read_manifest(folder), artefacts))
    checks = Checks.read(folder / "checks.npz")
    width = max(map(len, artefacts), default=0)
    for name, before in artefacts.items():
        path = folder / before["path"]
        try:
            expected = checks.of(before["output"])
            found += offending_ops(path) if path.is_dir() else []
            now = expected.compare(open_file(path))
        except UserError as error:
            found.append(f"{before['path']}: {error}")
            continue
        faults = bounds.faults(before["precision"], now, expected)
        faults += _faults(now, before, expected)
        found += [f"{before['path']}: {fault}" for fault in faults]
        say(f"{name:{width}} largest difference {now['max_difference']:.1e}" + _agreement(now))
    return found


def _unlisted(entries, artefacts):
    """Yields lines about files that only one of the manifest and the report lists."""
    from . import manifest, report

    named = [one["path"] for one in artefacts.values()]
    for path in ("checks.npz", report.FILE, *named):
        if not manifest.below(entries, path):
            yield f"{path} is not in {manifest.FILE}"
    for path in entries:
        is_network = Path(path).suffix in _SUFFIXES and not path.startswith("web/")
        if is_network and "/" in path and not path.startswith("serving/") and path not in named:
            yield f"{path} is not in {report.FILE}"


def _agreement(compared):
    if "top1_agreement" not in compared:
        return f", worst cosine {compared['cosine']:.5f}"
    accuracy = compared["accuracy"]
    text = f", same decision {compared['top1_agreement']:.2f} %"
    return text + ("" if accuracy is None else f", accuracy {accuracy:.2f} %")


def _faults(now, before, checks):
    least = _LEAST_DIFFERENCE * (1.0 if checks.classifier else checks.scale)
    for key, what in (("max_difference", ""), ("photographs", " on whole photographs")):
        allowed = max(_SLACK * before.get(key, 0.0), least)
        if not now.get(key, 0.0) <= allowed:
            yield f"differs by {now[key]:.1e}{what}, report.json allows {allowed:.1e}"
    if "top1_agreement" in now:
        least = before.get("top1_agreement", 100.0) - _LESS_AGREEMENT
        if now["top1_agreement"] < least:
            yield (
                f"decides as the Keras model in {now['top1_agreement']:.2f} %, report.json requires"
                f" {least:.2f} %"
            )


if __name__ == "__main__":
    start(".verify", __package__)
