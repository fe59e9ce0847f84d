"""The folder of a run of `regnet train`: `run.json` tells size and SHA-256 of its files."""

from pathlib import Path

from regnet_tf._errors import UserError
from regnet_tf._files import read_json, sha256_of

#: The file that marks a run as finished.
RUN = "run.json"
#: The files of a run that others read. `RUN` describes them.
DESCRIBED = ("model.keras", "examples.npz")


def describe(folder: Path) -> dict[str, dict]:
    """Returns the entry "files" of `RUN`: name -> "bytes" and "sha256"."""
    return {name: _facts(folder / name) for name in DESCRIBED if (folder / name).is_file()}


def check_file(path: Path) -> None:
    """Checks that a file is the one that its run has written, if it is in the folder of a run.

    Raises:
        UserError: if it is another one, or `RUN` is damaged.
    """
    run = path.with_name(RUN)
    if path.name not in DESCRIBED or not run.is_file():
        return
    files = read_json(run, "files")["files"]
    if not isinstance(files, dict) or path.name not in files:
        raise UserError(f"{run} is damaged: it does not describe {path.name}")
    if files[path.name] != _facts(path):
        raise UserError(
            f"{path} is damaged or was replaced: its size or SHA-256 is not the one in {run.name}."
            " If you replaced it yourself, move it to another folder."
        )


def _facts(path):
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
