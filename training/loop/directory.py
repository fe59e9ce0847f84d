"""The directory of a run: its files, and how they are written and read."""

import shutil
import tempfile
from pathlib import Path

import keras

from regnet_tf._errors import UserError
from regnet_tf._files import read_json, replacing, write_json

from ..recipes import Recipe
from ..tasks import FILES as OF_TASKS

#: The files of a run's directory. `run.json` is written last and marks the run as finished.
FILES = {
    "model.keras": "trained model",
    "examples.npz": "training and test images, for export",
    "history.csv": "losses, accuracies, learning rate and speed of each epoch",
    "curves.png": "the same as a picture",
    **OF_TASKS,
    "checkpoints": "the last states of the run, and the best",
    "logs": "for TensorBoard",
    "run.json": "recipe, results, versions, times",
}
#: The directory inside it for the first run of a recipe with `pretraining`.
PRETRAINING = "pretraining"


def check_unfinished(workdir: Path, overwrite: bool) -> None:
    """Raises a `UserError` if the directory holds a finished run and `overwrite` is False."""
    if (workdir / "run.json").exists() and not overwrite:
        raise UserError(
            f"{workdir} holds a finished run. Give another --workdir, or --overwrite to replace it."
        )


def finished_run(workdir: Path, recipe: Recipe) -> dict | None:
    """Returns the content of `run.json`, or None if the run is not finished.

    Raises:
        UserError: if the file cannot be read, or the run is of another recipe.
    """
    path = workdir / "run.json"
    if not path.exists():
        return None
    run = read_json(path, "recipe", "data", "results", "seconds")
    advice = "Give another --workdir, or --overwrite to begin anew."
    try:
        same = Recipe.from_dict(run["recipe"]) == recipe
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} holds a recipe that cannot be read: {error} {advice}") from error
    if not same:
        raise UserError(f"{workdir} holds a run of another recipe. {advice}")
    return run


def make_directory(workdir: Path) -> None:
    """Creates the directory if missing; raises a `UserError` if it is not writable."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(f"Cannot write to the directory {workdir}: {error.strerror}.") from error


def clear(workdir: Path) -> None:
    """Deletes the files of an earlier run, `run.json` first, as it marks the run as finished."""
    for name in ("run.json", *FILES, PRETRAINING):
        path = workdir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_model(model: keras.Model, path: Path) -> None:
    """Saves only the network, so that no training code is needed to load it.

    Its layers hold its configuration, preprocessing and class names; see `regnet_tf.facts_of`.
    """
    network = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    with replacing(path) as partial:
        network.save(partial)


def write_run(run: dict, workdir: Path) -> None:
    """Writes `run.json`, which marks the run as finished."""
    write_json(workdir / "run.json", run)
