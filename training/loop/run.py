"""A network in training, with its checkpoints (`Run`)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from ..data import CompleteDataSet
from ..data.batches import steps_per_epoch, training_batches
from ..recipes import Recipe
from ..tasks import task_of
from . import callbacks, strategies
from .averaging import ModelAverage
from .checkpoints import Checkpoints, Progress, local_value
from .fitting import build, fit
from .monitoring import TensorBoardLog
from .precise_statistics import precise_statistics
from .record import announcement
from .testing import Test


class Run:
    """A network in training, with its checkpoints.

    Args:
        recipe: a `Recipe`.
        data: its data set.
        workdir: directory for the files of the run.
        strategy: a `tf.distribute.Strategy`.
        verbose: as in `training.loop.train.train_and_evaluate`.
        state_dict: initial weights, see `training.loop.fitting.build`.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: CompleteDataSet,
        workdir: Path,
        strategy: tf.distribute.Strategy,
        verbose: int | str,
        state_dict: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.recipe, self.data, self.strategy = recipe, data, strategy
        self.workdir, self.verbose = workdir, verbose
        self.task = task_of(recipe)
        self.model = build(recipe, data, state_dict, strategy)
        self.average = None
        if recipe.average is not None:
            self.average = ModelAverage(self.model, recipe.average.decay, strategy)
        self.checkpoints = Checkpoints(workdir / "checkpoints", self._state)
        self.progress = Progress()

    def restore(self) -> None:
        """Restores the last checkpoint, if any, and prints what will be trained."""
        say = print if self.verbose else lambda text: None
        self.progress = self.checkpoints.restore(say)
        self._metrics = {}
        if self.progress.step % self._steps:
            self._metrics = {name: local_value(v) for name, v in self._metric_variables().items()}
        say(announcement(self.model, self.recipe, self.data, self.strategy))
        if self.progress.step:
            steps = self._steps * self.recipe.schedule.epochs
            say(f"Resuming after step {self.progress.step:,} of {steps:,}.")

    def train(self, checkpoint_steps: int) -> None:
        """Trains until the last epoch, or until a stop signal arrives.

        Args:
            checkpoint_steps: steps between checkpoints.

        Raises:
            UserError: if the loss is not finite, or a file cannot be written.
            Stopped: after SIGTERM or SIGINT, once the state is saved.
        """
        bars = 1 if self.verbose in ("auto", 1) else 0
        with callbacks.StopSignals() as stop_signals:
            own = [
                callbacks.KeptMetrics(self._metric_variables(), self._metrics),
                *self._averaging(),
                *self._testing(),
                self._bookkeeping(checkpoint_steps, stop_signals),
                *self._records(),
            ]
            first_step = self.progress.step
            fit(self.model, self.recipe, self.data, self.strategy, own, first_step, bars)

    @property
    def _steps(self):
        return steps_per_epoch(self.data.train, self.recipe.schedule)

    @property
    def _writes(self):
        return strategies.is_chief(self.strategy)

    def _averaging(self):
        """Returns the callback that updates the moving average, if the recipe has one."""
        average = self.recipe.average
        if self.average is None or average is None:
            return []
        first_step = average.warmup_epochs * self._steps
        return [callbacks.Averaging(self.average, average.steps, first_step, self.progress)]

    def _testing(self):
        """Returns the callbacks that test after each epoch and measure the speed."""
        images, schedule = self.recipe.images, self.recipe.schedule
        split, measure = self.data.test, self.task.measure
        test = Test(self.model, measure, split, images, schedule, self.strategy)
        prepare = precise_statistics(self.model, self.recipe, self.data, self.strategy)
        say = callbacks.say_epoch(schedule.epochs) if self.verbose else None
        return [
            callbacks.EpochTest(test, self.task.named_metrics, prepare, self.average),
            callbacks.Speed(schedule.batch_size, schedule.epochs, say),
        ]

    def _bookkeeping(self, checkpoint_steps, stop_signals):
        return callbacks.Bookkeeping(
            self.checkpoints if self._writes else None,
            self.progress,
            checkpoint_steps,
            self._steps,
            stop_signals,
            f"val_{self.task.score}",
        )

    def _records(self):
        """Returns the callbacks that write the history and the logs; none in other workers."""
        if not self._writes:
            return []
        # Create the samples here, as augmentation layers have variables. A callback must not
        # create variables: it runs inside the strategy's scope and on one worker only.
        samples, size = self._samples(), self.recipe.images.size
        return [
            callbacks.HistoryFile(self.workdir / "history.csv", self.progress),
            TensorBoardLog(self.workdir / "logs", size, self.progress, samples),
        ]

    def _state(self):
        """Returns the variables of the run, by name."""
        state = {f"network/{variable.path}": variable for variable in self.model.variables}
        state |= {f"optimizer/{v.path}": v for v in self.model.optimizer.variables}
        if self.average is not None:
            state |= {f"average/{name}": v for name, v in self.average.variables.items()}
        return state | self._metric_variables()

    def _metric_variables(self):
        """Returns the metrics' variables, by name. They hold the sums of the current epoch."""
        variables = self.model.metrics_variables
        return {f"metrics/{number}": variable for number, variable in enumerate(variables)}

    def _samples(self):
        """Returns a few training images, from 0 to 1."""
        data, normalization = self.data, self.recipe.images
        images, _ = next(iter(training_batches(data.train, self.recipe, len(data.class_names))))
        return tf.clip_by_value(images[:16] * normalization.std + normalization.mean, 0, 1)
