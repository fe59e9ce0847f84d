"""The directory of a run: its files, and how they are written and read."""

import shutil
import tempfile
from pathlib import Path

import keras

from regnet_tf._errors import UserError
from regnet_tf._files import replacing, write_csv, write_json
from regnet_tf._locking import writing_to
from regnet_tf._runs import RUN, describe

from ..tasks import FILES as OF_TASKS

#: The directory of a run's checkpoints, inside its own.
CHECKPOINTS = "checkpoints"
#: The files of a run's directory. `run.json` is written last and marks the run as finished.
FILES = {
    "recipe.json": "recipe and data of the run",
    "model.keras": "trained model",
    "examples.npz": "training and test images, for export",
    "history.csv": "losses, accuracies, learning rate and speed of each epoch",
    "curves.png": "the same as a picture",
    **OF_TASKS,
    CHECKPOINTS: "the last states of the run, and the best",
    "logs": "for TensorBoard",
    "run.json": "recipe, results, versions, times",
}
#: The directory inside it for the first run of a recipe with `pretraining`.
PRETRAINING = "pretraining"


def make_directory(workdir: Path) -> None:
    """Creates the directory if missing; raises a `UserError` if it is not writable."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(f"Cannot write to the directory {workdir}: {error.strerror}.") from error


def clear(workdir: Path) -> None:
    """Deletes the files of an earlier run, in the reverse order of their writing.

    So a run that is half deleted is not finished, and its checkpoints are still known as its own.

    Raises:
        UserError: if another process trains in `PRETRAINING`; nothing is deleted.
    """
    inner = workdir / PRETRAINING
    if inner.is_dir():
        with writing_to(inner):
            _delete(workdir)
        shutil.rmtree(inner)
    else:
        _delete(workdir)


def _delete(workdir):
    for name in reversed(FILES):
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


def write_history(history: list[dict], workdir: Path) -> None:
    """Writes `history.csv`, a row for each epoch."""
    fields = list(dict.fromkeys(name for row in history for name in row))
    rows = [[row.get(name, "") for name in fields] for row in history]
    write_csv(workdir / "history.csv", [fields, *rows])


def write_run(run: dict, workdir: Path) -> dict:
    """Writes `run.json`, which marks the run as finished.

    Returns:
        Its content: `run`, and "files" with the size and the SHA-256 of the model and the examples.
    """
    run = {**run, "files": describe(workdir)}
    write_json(workdir / RUN, run)
    return run
