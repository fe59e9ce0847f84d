"""Checkpoints to resume a killed run. They are written atomically: complete or absent."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from regnet_tf import write_state_dict
from regnet_tf._errors import UserError, first_line
from regnet_tf._files import naming_file, read_arrays

_NAME = re.compile(r"step-(\d+)\.npz")
_ABOUT = "about"  # the JSON entry of the file; all other entries are variables


@dataclasses.dataclass
class Progress:
    """The progress of a run.

    Attributes:
        step: number of batches since the start of the run.
        history: one dict for each finished epoch.
        best: best value so far of the metric that selects the epoch; None before the first test.
        best_step: step after the epoch with this value.
        seconds: time spent on the run.
    """

    step: int = 0
    history: list[dict] = dataclasses.field(default_factory=list)
    best: float | None = None
    best_step: int | None = None
    seconds: float = 0.0

    def compare(self, value: float, lower_is_better: bool = False) -> None:
        """Notes the value of an epoch that has just ended, if it is better than all before.

        Args:
            value: value of the metric that selects the epoch.
            lower_is_better: whether the lowest value is best, not the highest.
        """
        sign = -1 if lower_is_better else 1
        if math.isfinite(value) and (self.best is None or sign * value > sign * self.best):
            self.best, self.best_step = value, self.step

    def is_stale(self, patience: int | None, steps_per_epoch: int) -> bool:
        """Returns whether the last `patience` epochs were not better than one before them."""
        if patience is None:
            return False
        return self.step - (self.best_step or 0) >= patience * steps_per_epoch


class Checkpoints:
    """The checkpoints of a run: `step-N.npz` files in a folder.

    The last few checkpoints and the best one are kept. Each value is stored under its variable's
    name. Reading verifies the checksums of the file format.

    Args:
        folder: a `Path`; created with the first checkpoint.
        variables: function that returns the variables of the run by name: network, optimizer,
            moving averages and metrics.
        keep: number of last checkpoints to keep. The best one is kept as well.
    """

    def __init__(
        self,
        folder: Path,
        variables: Callable[[], Mapping[str, keras.Variable | tf.Variable]],
        keep: int = 3,
    ) -> None:
        self.folder = Path(folder)
        self.keep = keep
        self._variables = variables

    def save(self, progress: Progress) -> Path:
        """Writes a checkpoint, then deletes old ones.

        Raises:
            UserError: if it cannot be written; earlier checkpoints remain unchanged.
        """
        arrays = {name: local_value(variable) for name, variable in self._variables().items()}
        about = json.dumps(dataclasses.asdict(progress))
        target = self._path(progress.step)
        try:
            with naming_file(target):
                self.folder.mkdir(parents=True, exist_ok=True)
            write_state_dict(target, {_ABOUT: np.array(about), **arrays})
        except UserError as error:
            last = self.paths()
            raise UserError(
                f"{error} The last checkpoint is {last[-1] if last else 'none'}."
            ) from error
        for partial in self.folder.glob(".partial-*"):  # of a process that was killed
            partial.unlink()
        for old in self.paths()[: -self.keep]:
            if _step_of(old) != progress.best_step:
                old.unlink()
        return target

    def restore(self, say: Callable[[str], None] = print) -> Progress:
        """Restores the variables from the newest undamaged checkpoint.

        Args:
            say: function that is called with a message for each damaged checkpoint.

        Returns:
            The progress of the checkpoint, or of a new run if there is no checkpoint.

        Raises:
            UserError: if the checkpoint belongs to another network or optimizer; no variable is
                changed.
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

    def restore_step(self, step: int) -> None:
        """Restores the variables from the checkpoint of a step.

        Raises:
            UserError: if it is missing or damaged; no variable is changed.
        """
        path = self._path(step)
        try:
            arrays = read_arrays(path)
        except ValueError as error:
            raise UserError(f"{path} is damaged: {first_line(error)}") from error
        arrays.pop(_ABOUT, None)
        self._assign(path, arrays)

    def paths(self) -> list[Path]:
        """Returns the paths of the checkpoints, oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_step_of)

    def _path(self, step):
        return self.folder / f"step-{step:08}.npz"

    def _assign(self, path, arrays):
        variables = self._variables()
        wrong = sorted(arrays.keys() ^ variables.keys()) or [
            name for name, value in arrays.items() if value.shape != tuple(variables[name].shape)
        ]
        if wrong:
            raise UserError(
                f"{path} is of another network or recipe: {', '.join(wrong[:4])} do not fit."
                " Give another --out, or --overwrite to begin anew."
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])


def local_value(variable: keras.Variable | tf.Variable) -> np.ndarray:
    """Returns a variable's value as a numpy array, without communication with other processes.

    If the replicas hold different values, the result is their sum for metrics, and their mean for
    unsynchronized normalization statistics.
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
    return int(path.stem.removeprefix("step-"))
