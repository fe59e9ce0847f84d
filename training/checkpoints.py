"""What a run needs to go on where it was killed, in files that are whole or absent."""

import dataclasses
import json
import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError, first_line
from regnet_tf._files import read_arrays, replacing

_NAME = re.compile(r"step-(\d+)\.npz")
_ABOUT = "about"  # the entry of JSON beside the arrays


@dataclasses.dataclass
class Progress:
    """Where a run is.

    Attributes:
        step: batches done, of the whole run.
        history: a dict for each finished epoch.
        best: the highest test accuracy so far, 0 to 1; None before the first test.
        best_step: when it was reached.
        seconds: that the run has taken.
    """

    step: int = 0
    history: list[dict] = dataclasses.field(default_factory=list)
    best: float | None = None
    best_step: int | None = None
    seconds: float = 0.0


class Checkpoints:
    """The checkpoints of a run: `step-N.npz` files in a folder, the last few and the best one.

    Every value is stored under its variable's name and checked against the checksum of the file's
    format when it is read.

    Args:
        folder: a `Path`; made when the first checkpoint is written.
        variables: function that gives the variables of the run, by name: of the network, the
            optimizer, averages and metrics.
        keep: how many of the last ones stay, beside the best one.
    """

    def __init__(self, folder, variables, keep=3):
        self.folder = Path(folder)
        self.keep = keep
        self._variables = variables

    def save(self, progress) -> Path:
        """Writes a checkpoint, then deletes those that are no longer kept.

        Raises:
            UserError: if it can not be written; earlier ones are as they were.
        """
        arrays = {name: local_value(variable) for name, variable in self._variables().items()}
        about = json.dumps(dataclasses.asdict(progress))
        target = self.folder / f"step-{progress.step:08}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(target) as path:
                np.savez(path, **{_ABOUT: np.array(about)}, **arrays)
        except OSError as error:
            last = self.paths()
            raise UserError(
                f"No checkpoint could be written to {self.folder}: {error.strerror or error}."
                f" The last one is {last[-1] if last else 'none'}."
            ) from error
        for old in self.paths()[: -self.keep]:
            if _step_of(old) != progress.best_step:
                old.unlink()
        return target

    def restore(self, say=print) -> Progress:
        """Sets the variables to the newest checkpoint that is whole.

        Args:
            say: told of each damaged checkpoint.

        Returns:
            Where that run was; the beginning, if there is no checkpoint.

        Raises:
            UserError: where the checkpoint is of another network or optimizer; nothing is changed.
        """
        for path in reversed(self.paths()):
            try:
                arrays = read_arrays(path)
                progress = Progress(**json.loads(str(arrays.pop(_ABOUT))))
            except (ValueError, KeyError, TypeError) as error:
                say(f"{path} is damaged ({first_line(error)}); the one before it is used.")
                continue
            self._assign(path, arrays)
            return progress
        return Progress()

    def paths(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_step_of)

    def _assign(self, path, arrays):
        variables = self._variables()
        wrong = sorted(arrays.keys() ^ variables.keys()) or [
            name for name, value in arrays.items() if value.shape != tuple(variables[name].shape)
        ]
        if wrong:
            raise UserError(
                f"{path} is of another network or recipe: {', '.join(wrong[:4])} do not fit."
                " Give another --workdir, or --overwrite to begin anew."
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])


def local_value(variable):
    """A variable's value as numpy, without talking to other processes.

    Where replicas keep values of their own it is their mean (normalization statistics that are not
    synchronized) or their sum (metrics).
    """
    value = variable.value if isinstance(variable, keras.Variable) else variable
    if not isinstance(value, tf.distribute.DistributedValues):
        return np.asarray(value)
    copies = [np.asarray(copy) for copy in value.values]
    if value.synchronization == tf.VariableSynchronization.ON_READ:
        return np.sum(copies, axis=0, dtype=copies[0].dtype)
    if all((copy == copies[0]).all() for copy in copies):
        return copies[0]
    return np.mean(copies, axis=0, dtype=copies[0].dtype)


def _step_of(path):
    return int(_NAME.fullmatch(path.name)[1])
