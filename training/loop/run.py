"""A network in training, with its checkpoints (`Run`)."""

import dataclasses
from pathlib import Path

import tensorflow as tf

from regnet_tf._runs import RUN
from regnet_tf.weights import Checkpoint

from ..data import CompleteDataSet
from ..data.batches import steps_per_epoch, training_batches
from ..recipes import Recipe
from ..recipes.parts import Selection
from ..tasks import task_of
from . import callbacks, strategies
from .averaging import ModelAverage
from .checkpoints import Checkpoints, Progress, local_value
from .directory import CHECKPOINTS
from .distillation import Teacher
from .fitting import build, fit
from .initial import load_initial
from .monitoring import TensorBoardLog
from .optimization import learning_rate
from .precise_statistics import precise_statistics
from .testing import Test

_SAMPLES = 16  # training images in the logs


class Run:
    """A network in training, with its checkpoints.

    Args:
        recipe: a `Recipe`.
        data: its data set.
        workdir: directory for the files of the run.
        strategy: a `tf.distribute.Strategy`.
        verbose: as in `training.loop.train.train_and_evaluate`.
        teacher: the `Teacher` of a recipe with `distillation`, or None.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: CompleteDataSet,
        workdir: Path,
        strategy: tf.distribute.Strategy,
        verbose: int | str,
        teacher: Teacher | None = None,
    ) -> None:
        self.recipe, self.data, self.strategy = recipe, data, strategy
        self.workdir, self.verbose = workdir, verbose
        self.task = task_of(recipe, data.target)
        selection = recipe.selection or Selection()
        self.selection = dataclasses.replace(selection, metric=selection.metric or self.task.score)
        self.model = build(recipe, data, strategy, teacher)
        self.average = None
        if recipe.average is not None:
            self.average = ModelAverage(self.model, recipe.average.decay, strategy)
        self.checkpoints = Checkpoints(workdir / CHECKPOINTS, self._state)
        self.progress = Progress()

    def restore(self, weights: str | Path | None = None) -> None:
        """Restores the last checkpoint, or loads initial weights if there is none.

        Args:
            weights: initial weights as a tag or a path; None for random ones.

        Raises:
            UserError: if the checkpoint or the weights do not fit, or the weights are damaged.
        """
        self.progress = self.checkpoints.restore(self._say)
        self._metrics = {}
        if self.progress.step % self._steps:
            self._metrics = {name: local_value(v) for name, v in self._metric_variables().items()}
        if self.progress.step:
            self._say_position()
        elif weights is not None:
            self._load(Checkpoint.find(weights))

    def _load(self, weights):
        """Loads initial weights into the network, and into its average."""
        lines = load_initial(self.model, weights)
        if self.average is not None:
            self.average.copy()
        for line in lines:
            self._say(line)

    def _say_position(self):
        step, epochs = self.progress.step, self.recipe.schedule.epochs
        self._say(f"Resuming after step {step:,} of {self._steps * epochs:,}.")
        epoch = step // self._steps
        if (self.workdir / RUN).exists() and epoch < epochs:
            rate = learning_rate(self.recipe.schedule, epoch)
            self._say(
                f"The learning rate follows the schedule of {epochs} epochs: {rate:.4g} in epoch"
                f" {epoch + 1}."
            )

    def train(self, checkpoint_steps: int) -> None:
        """Trains until the last epoch, until the patience is over, or until a stop signal arrives.

        Args:
            checkpoint_steps: steps between checkpoints.

        Raises:
            UserError: if the loss is not finite, or a file cannot be written.
            Stopped: after SIGTERM or SIGINT, once the state is saved.
        """
        if self.is_stale:
            return
        bars = 1 if self.verbose in ("auto", 1) else 0
        with callbacks.StopSignals() as stop_signals:
            own = [
                callbacks.KeptMetrics(self._metric_variables(), self._metrics),
                *self._averaging(),
                *self._testing(),
                *self._logs(),
                self._bookkeeping(checkpoint_steps, stop_signals),
                *self._history_file(),
            ]
            first_step = self.progress.step
            fit(self.model, self.recipe, self.data, self.strategy, own, first_step, bars)

    @property
    def is_stale(self) -> bool:
        """Whether the patience of the recipe is over."""
        return self.progress.is_stale(self.selection.patience, self._steps)

    def select(self) -> dict:
        """Sets the network to the epoch that the recipe selects.

        Returns:
            The entry "selection" of `run.json`: a dict with "epochs", the number of epochs that
            were trained; "epoch", the one that is kept; "metric" and "value", its test metric.
        """
        metric, history = self.selection.metric, self.progress.history
        step = self.progress.step
        if self.recipe.selection is not None and self.progress.best_step is not None:
            step = self.progress.best_step
        epoch = step // self._steps
        value = history[epoch - 1][f"val_{metric}"]
        if self.recipe.selection is not None and len(history) > 1:
            self._say(
                f"The best of {len(history)} epochs is epoch {epoch}: test"
                f" {str(metric).replace('_', ' ')} {value:.4f}."
            )
        if step != self.progress.step:
            self.checkpoints.restore_step(step)
        if self.average is not None:
            self.average.load_into_model()
        return {"epochs": len(history), "epoch": epoch, "metric": metric, "value": value}

    def _say(self, text):
        if self.verbose:
            print(text, flush=True)

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
            callbacks.EpochTest(test, self.task.named_metrics, schedule, prepare, self.average),
            callbacks.Speed(schedule.batch_size, schedule.epochs, self._steps, test, say),
        ]

    def _bookkeeping(self, checkpoint_steps, stop_signals):
        return callbacks.Bookkeeping(
            self.checkpoints if self._writes else None,
            self.progress,
            checkpoint_steps,
            self._steps,
            stop_signals,
            self.selection,
        )

    def _logs(self):
        """Returns the callback that writes the logs; none in other workers."""
        if not self._writes:
            return []
        # Create the samples here, as augmentation layers have variables. A callback must not
        # create variables: it runs inside the strategy's scope and on one worker only.
        samples, size = self._samples(), self.recipe.images.size
        return [TensorBoardLog(self.workdir / "logs", size, self.progress, samples)]

    def _history_file(self):
        """Returns the callback that writes the history; none in other workers."""
        return [callbacks.HistoryFile(self.workdir, self.progress)] if self._writes else []

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
        """Returns a few training images, from 0 to 1, without waiting for a whole batch."""
        data, recipe = self.data, self.recipe
        few = dataclasses.replace(
            recipe.schedule, batch_size=_SAMPLES, accumulation=1, last_batch="fill"
        )
        recipe = dataclasses.replace(recipe, schedule=few)
        images, _ = next(iter(training_batches(data.train, recipe, len(data.class_names))))
        normalization = recipe.images.preprocessing
        return tf.clip_by_value(images * normalization.std + normalization.mean, 0, 1)
