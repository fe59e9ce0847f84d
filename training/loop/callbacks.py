"""Keras callbacks of a training run."""

import math
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from regnet_command import Stopped

from regnet_tf._errors import UserError

from ..recipes.parts import Schedule, Selection
from .averaging import ModelAverage
from .checkpoints import Checkpoints, Progress
from .directory import write_history
from .testing import Test


class StopSignals:
    """Context manager that delays SIGTERM and SIGINT until the current step is done and saved."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self):
        self._before = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._receive)
            except ValueError:  # only the main thread can handle signals
                break
        return self

    def _receive(self, number, frame):
        if self.received is None:
            self.received = number
        elif callable(before := self._before[number]):
            before(number, frame)  # the second signal stops immediately
        else:
            raise Stopped(number)

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Bookkeeping(keras.callbacks.Callback):
    """Counts steps, saves checkpoints, and stops a run early.

    A run stops when it diverges, when it receives a signal, and when it is `Progress.is_stale`.

    Add it after all callbacks that change the logs of an epoch.

    Args:
        checkpoints: the `Checkpoints` to save to; None for a process that writes nothing.
        progress: the `Progress` to update.
        every: steps between checkpoints. Every epoch ends with a checkpoint as well.
        steps_per_epoch: steps of an epoch. After the last one, `on_epoch_end` saves and stops.
        stop_signals: a `StopSignals`.
        selection: the `Selection` of the recipe, with its metric given.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        progress: Progress,
        every: int,
        steps_per_epoch: int,
        stop_signals: StopSignals,
        selection: Selection,
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._progress = progress
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._stop_signals = stop_signals
        self._selection = selection
        self._saved_step: int | None = progress.step
        self._clock = time.perf_counter() - progress.seconds

    def on_train_batch_end(self, batch, logs=None):
        self._check_loss(float(keras.ops.sum(logs["loss"])))
        self._progress.step += 1
        if self._progress.step % self._steps_per_epoch == 0:
            return
        if self._progress.step % self._every == 0:
            self._save()
        self._stop_if_told()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        self._progress.history.append(row)
        metric = self._selection.metric
        if f"val_{metric}" in row:
            self._progress.compare(row[f"val_{metric}"], lower_is_better=metric == "loss")
        self._saved_step = None  # save again: history and best step have changed
        self._save()
        self._stop_if_told()
        if self._progress.is_stale(self._selection.patience, self._steps_per_epoch):
            self.model.stop_training = True

    def _save(self):
        self._progress.seconds = time.perf_counter() - self._clock
        if self._checkpoints and self._saved_step != self._progress.step:
            self._checkpoints.save(self._progress)
        self._saved_step = self._progress.step

    def _stop_if_told(self):
        if self._stop_signals.received is not None:
            self._save()
            raise Stopped(self._stop_signals.received)

    def _check_loss(self, loss):
        if math.isfinite(loss):
            return
        paths = self._checkpoints.paths() if self._checkpoints else ()
        raise UserError(
            f"The loss was no longer a number after step {self._progress.step + 1}, at the learning"
            f" rate {float(self.model.optimizer.learning_rate):.4g}. A lower"
            " `schedule.learning_rate` may help."
            f" Last good checkpoint: {paths[-1] if paths else 'none'}"
        )


class KeptMetrics(keras.callbacks.Callback):
    """Restores the metrics of a run that resumes in the middle of an epoch.

    Args:
        variables: the metrics' variables, by name; Keras sets them to 0 when `fit` begins.
        values: their values to restore, by name.
    """

    def __init__(
        self, variables: Mapping[str, keras.Variable], values: Mapping[str, np.ndarray]
    ) -> None:
        super().__init__()
        self._variables = variables
        self._values = values

    def on_epoch_begin(self, epoch, logs=None):
        for name, value in self._values.items():
            self._variables[name].assign(value)
        self._values = {}


class EpochTest(keras.callbacks.Callback):
    """Tests the network after epochs and adds the results to their logs.

    Args:
        test: a `training.loop.testing.Test`.
        named: function from the test's means to a dict of results.
        schedule: the `Schedule` of the recipe. It tells after which epochs to test.
        prepare: function that is called with the epoch before the test, for precise statistics.
        average: a `ModelAverage` to test instead of the network itself, or None.
    """

    def __init__(
        self,
        test: Test,
        named: Callable[[Sequence[float]], dict[str, float]],
        schedule: Schedule,
        prepare: Callable[[int], None] | None = None,
        average: ModelAverage | None = None,
    ) -> None:
        super().__init__()
        self._test = test
        self._named = named
        self._schedule = schedule
        self._prepare = prepare
        self._average = average

    def on_epoch_end(self, epoch, logs=None):
        done, schedule = epoch + 1, self._schedule
        if done % schedule.test_epochs and done < schedule.epochs:
            return
        if self._prepare is not None:
            self._prepare(epoch)
        if self._average is None:
            means, _ = self._test()
        else:
            with self._average.swapped_in():
                means, _ = self._test()
        logs.update({f"val_{name}": value for name, value in self._named(means).items()})


class Averaging(keras.callbacks.Callback):
    """Updates a `ModelAverage` every `steps` steps of a run.

    Args:
        average: the `ModelAverage`.
        steps: steps between two updates.
        first_step: last step of the warm-up. Until then, an update copies the network.
        progress: the `Progress` that counts the steps.
    """

    def __init__(
        self, average: ModelAverage, steps: int, first_step: int, progress: Progress
    ) -> None:
        super().__init__()
        self._average = average
        self._steps = steps
        self._first_step = first_step
        self._progress = progress

    def on_train_batch_end(self, batch, logs=None):
        step = self._progress.step + 1
        if step % self._steps == 0:
            if step <= self._first_step:
                self._average.copy()
            else:
                self._average.update()


class Speed(keras.callbacks.Callback):
    """Adds the images per second and the share of time spent waiting for input to the logs.

    Add it after the test of an epoch. Neither the speed nor the remaining time counts the first
    step and the first test batch of an epoch, which may trace and compile.

    Args:
        batch_size: batch size over all replicas.
        epochs: epochs of the run, to estimate the remaining time.
        steps_per_epoch: steps of a whole epoch. A resumed one may have fewer.
        test: the `training.loop.testing.Test` of each epoch.
        say: function that prints a line after each epoch, or None.
    """

    def __init__(
        self,
        batch_size: int,
        epochs: int,
        steps_per_epoch: int,
        test: Test,
        say: Callable[[int, dict, float], None] | None = None,
    ) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._test = test
        self._say = say

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        if self._steps == 1:  # the first step traces and compiles
            self._start, self._wait = time.perf_counter(), self.model.wait_seconds
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._end - self._start
        if self._steps > 1:
            logs["images_per_second"] = (self._steps - 1) * self._batch_size / seconds
            logs["input_wait"] = (self.model.wait_seconds - self._wait) / seconds
        if self._say:
            train = seconds * self._steps_per_epoch / max(self._steps - 1, 1)
            rest = time.perf_counter() - self._end - self._test.tracing_seconds
            self._say(epoch, logs, (train + rest) * (self._epochs - epoch - 1))


class HistoryFile(keras.callbacks.Callback):
    """Writes all epochs of a run to a CSV file, including those before an interruption.

    Args:
        workdir: directory of the run.
        progress: the `Progress` with the history to write.
    """

    def __init__(self, workdir: Path, progress: Progress) -> None:
        super().__init__()
        self._workdir = workdir
        self._progress = progress

    def on_epoch_end(self, epoch, logs=None):
        write_history(self._progress.history, self._workdir)


def say_epoch(epochs: int) -> Callable[[int, dict, float], None]:
    """Returns a function that prints the results of an epoch and the remaining time."""

    def say(epoch, logs, seconds_left):
        parts = [f"epoch {epoch + 1}/{epochs}"]
        for name, text, scale in (
            ("loss", "loss {:.4f}", 1),
            ("accuracy", "accuracy {:.2f} %", 100),
            ("val_accuracy", "test accuracy {:.2f} %", 100),
            ("val_mean_average_precision", "test mean average precision {:.4f}", 1),
            ("val_mean_iou", "test mean IoU {:.4f}", 1),
            ("images_per_second", "{:,.0f} images/s", 1),
            ("input_wait", "{:.0f} % of it waiting for input", 100),
        ):
            if name in logs:
                parts.append(text.format(scale * float(logs[name])))
        if epoch + 1 < epochs:
            parts.append(f"{_duration(seconds_left)} left")
        print(", ".join(parts), flush=True, file=sys.stdout)

    return say


def _duration(seconds):
    """Formats seconds as `1:02:03` or `2:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
