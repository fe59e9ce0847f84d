"""One training run: from a recipe to a directory with the model and its results."""

import datetime
import time
from pathlib import Path

import keras
import tensorflow as tf

import regnet_tf
from regnet_tf._checks import check, check_int
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import read_json
from regnet_tf._trained import load_trained

from ..data import load
from ..data.batches import steps_per_epoch, training_batches
from ..figures import curves
from ..recipes import Recipe, pretraining_recipe
from ..tasks import task_of
from . import callbacks, strategies
from .averaging import ModelAverage
from .checkpoints import Checkpoints, Progress, local_value
from .directory import (
    PRETRAINING,
    check_unfinished,
    clear,
    make_directory,
    write_model,
    write_pictures,
    write_run,
)
from .examples import write_examples
from .facts import announcement, data_facts, source_state, versions
from .fitting import build, fit
from .monitoring import TensorBoardLog
from .precise_statistics import precise_statistics
from .testing import Test

_KEPT = ("recipe", "data", "results", "seconds")  # keys of its run.json
_CHECKPOINT_STEPS = 1000


def train_and_evaluate(
    recipe,
    workdir,
    overwrite=False,
    verbose="auto",
    data_dir=None,
    strategy=None,
    checkpoint_steps=_CHECKPOINT_STEPS,
) -> dict:
    """Trains and tests a network and writes `FILES` to a directory.

    If a run was killed, call this again: it resumes from the last checkpoint. With several workers,
    call this in every worker and give all of them the same directory. Only the first worker writes.

    A network with a decoder may start from a pretrained classifier. A separate run trains that
    classifier first, in the directory `PRETRAINING` of `workdir`; see
    `training.recipes.pretraining_recipe`.

    Args:
        recipe: a `Recipe`.
        workdir: directory for `FILES`; created if missing.
        overwrite: whether to restart from scratch, even over a finished run.
        verbose: progress: "auto" or 1 for bars, 2 for one line per epoch, 0 for none.
        data_dir: data directory of tensorflow-datasets.
        strategy: a `tf.distribute.Strategy`; one device by default.
        checkpoint_steps: steps between checkpoints. Every epoch ends with a checkpoint as well.

    Returns:
        The content of `run.json`: a dict with the keys "recipe", "preprocessing", "pretraining"
        (None, or the "recipe", "data", "results" and "seconds" of that run), "model", "data",
        "results" (from the task's `results` function), "versions", "source", "compute", "started",
        "seconds" ("training": this network only; "total": everything).

    Raises:
        ValueError: if a recipe with `pretraining` has no decoder; use
            `training.loop.finetuning.finetune` for it.
        UserError: before training, if a package is missing; if the data set is unknown or smaller
            than a batch; if `workdir` is not writable, or holds a finished run or the checkpoints
            of another run; or if there are several workers and the recipe has `pretraining`.
            During training, if the loss is not finite or a file cannot be written.
        training.loop.callbacks.Stopped: after SIGTERM or SIGINT, once the state is saved.
    """
    started, clock = datetime.datetime.now().astimezone(), time.perf_counter()
    first = _first_recipe(recipe)
    check_int("checkpoint_steps", checkpoint_steps, minimum=1)
    strategy = strategy or tf.distribute.get_strategy()
    workdir = Path(workdir)
    check_unfinished(workdir, overwrite)
    for package in ("matplotlib", "tensorboard"):
        import_optional(package)
    data = load_for(recipe, data_dir)
    check_batch_size(recipe, data)
    strategies.check_batch_size(recipe, strategy)
    if first is not None and strategies.is_multi_worker(strategy):
        raise UserError("A recipe with `pretraining` runs under one worker. Received: several")
    make_directory(workdir)
    if overwrite and strategies.is_chief(strategy):
        clear(workdir)

    pretraining, state_dict, before = None, None, 0.0
    if first is not None:
        pretraining, before = _pretrain(
            first,
            workdir / PRETRAINING,
            verbose,
            data_dir=data_dir,
            strategy=strategy,
            checkpoint_steps=checkpoint_steps,
        )
        state_dict = regnet_tf.to_state_dict(load_trained(workdir / PRETRAINING).model)
    training_clock = time.perf_counter()
    keras.utils.set_random_seed(recipe.seed)
    verbose = verbose if strategies.is_chief(strategy) else 0
    run = Run(recipe, data, workdir, strategy, verbose, state_dict)
    run.restore()
    restored = run.progress.seconds
    run.train(checkpoint_steps)
    if not strategies.is_chief(strategy):
        return {}
    train_seconds = time.perf_counter() - training_clock + restored
    if run.average is not None:
        run.average.load_into_model()
    results, figures = task_of(recipe).evaluate(run.model, recipe, data)
    write_model(run.model, workdir / "model.keras")
    write_examples(workdir / "examples.npz", data, recipe)
    title = f"{data.name}, {recipe.config.name}"
    figures["curves.png"] = curves(run.progress.history, title, task_of(recipe).SCORE)
    write_pictures(workdir, figures)
    facts = {
        "recipe": recipe.to_dict(),
        "preprocessing": recipe.preprocessing.to_dict(),
        "pretraining": pretraining,
        "model": {"name": run.model.name, **task_of(recipe).cost(run.model, recipe, data)},
        "data": data_facts(data),
        "results": results,
        "versions": versions(),
        "source": source_state(),
        "compute": strategies.describe(strategy),
        "started": started.isoformat(timespec="seconds"),
        "seconds": {
            "training": round(train_seconds, 1),
            "total": round(time.perf_counter() - clock + before + restored, 1),
        },
    }
    write_run(facts, workdir)
    return facts


class Run:
    """A network in training, with its checkpoints.

    Args:
        recipe: a `Recipe`.
        data: its `DataSet`.
        workdir: directory for the files of the run.
        strategy: a `tf.distribute.Strategy`.
        verbose: as in `train_and_evaluate`.
        state_dict: initial weights, see `training.loop.fitting.build`.
    """

    def __init__(self, recipe, data, workdir, strategy, verbose, state_dict=None):
        self.recipe, self.data, self.strategy = recipe, data, strategy
        self.workdir, self.verbose = workdir, verbose
        self.model = build(recipe, data, state_dict, strategy)
        self.average = None
        if recipe.ema_decay is not None:
            self.average = ModelAverage(self.model, recipe.ema_decay, strategy)
        self.checkpoints = Checkpoints(workdir / "checkpoints", self._state)
        self.progress = Progress()

    def restore(self):
        """Restores the last checkpoint, if any, and prints what will be trained."""
        say = print if self.verbose else lambda text: None
        self.progress = self.checkpoints.restore(say)
        self._metrics = {}
        if self.progress.step % self._steps:
            self._metrics = {name: local_value(v) for name, v in self._metric_variables().items()}
        say(announcement(self.model, self.recipe, self.data, self.strategy))
        if self.progress.step:
            steps = self._steps * self.recipe.epochs
            say(f"Resuming after step {self.progress.step:,} of {steps:,}.")

    def train(self, checkpoint_steps):
        """Trains until the last epoch, or until a stop signal arrives.

        Raises:
            UserError: if the loss is not finite, or a file cannot be written.
            Stopped: after SIGTERM or SIGINT, once the state is saved.
        """
        bars = 1 if self.verbose in ("auto", 1) else 0
        with callbacks.StopSignals() as stop_signals:
            own = self._callbacks(checkpoint_steps, stop_signals)
            first_step = self.progress.step
            fit(self.model, self.recipe, self.data, self.strategy, own, first_step, bars)

    @property
    def _steps(self):
        return steps_per_epoch(self.data.train, self.recipe)

    def _callbacks(self, checkpoint_steps, stop_signals):
        recipe, progress = self.recipe, self.progress
        writes = strategies.is_chief(self.strategy)
        task = task_of(recipe)
        test = Test(self.model, task.measure, self.data.test, recipe, self.strategy)
        prepare = precise_statistics(self.model, recipe, self.data, self.strategy)
        say = callbacks.say_epoch(recipe.epochs) if self.verbose else None
        made = [callbacks.KeptMetrics(self._metric_variables(), self._metrics)]
        if self.average is not None:
            first_step = recipe.ema_warmup_epochs * self._steps
            made.append(callbacks.Averaging(self.average, recipe.ema_steps, first_step, progress))
        made += [
            callbacks.EpochTest(test, task.named, prepare, self.average),
            callbacks.Speed(recipe.batch_size, recipe.epochs, say),
            callbacks.Bookkeeping(
                self.checkpoints if writes else None,
                progress,
                checkpoint_steps,
                self._steps,
                stop_signals,
                f"val_{task.SCORE}",
            ),
        ]
        if writes:
            made.append(callbacks.HistoryFile(self.workdir / "history.csv", progress))
            # Create the samples here, as augmentation layers have variables. A callback must not
            # create variables: it runs inside the strategy's scope and on one worker only.
            samples = self._samples()
            made.append(TensorBoardLog(self.workdir / "logs", recipe, progress, samples))
        return made

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
        recipe, data = self.recipe, self.data
        images, _ = next(iter(training_batches(data.train, recipe, len(data.class_names))))
        return tf.clip_by_value(images[:16] * recipe.std + recipe.mean, 0, 1)


def summary(run) -> str:
    """Returns the outcome of a run in one line.

    Args:
        run: return value of `train_and_evaluate`.
    """
    outcome = task_of(Recipe.from_dict(run["recipe"])).summary(run["results"])
    return f"{outcome}, {run['seconds']['total']:.0f} seconds"


def load_for(recipe, data_dir=None):
    """Returns the data set of a recipe, restricted to the recipe's classes and images.

    Raises:
        UserError: as in `training.data.load`; if the data set lacks a training or a test split; or
            if `decoder` does not fit the labels.
    """
    data = load(recipe.data, data_dir, recipe.classes, recipe.images_per_class, recipe.seed)
    for split, purpose in ((data.train, "train on"), (data.test, "test with")):
        if split is None:
            raise UserError(f"{data.name} has no images to {purpose}.")
    if data.is_pixelwise != (recipe.decoder is not None):
        what = "every pixel" if data.is_pixelwise else "whole images alone"
        wanted = "None" if recipe.decoder else "fpn or unet"
        raise UserError(
            f"{data.name} names the class of {what}: `decoder` must be {wanted}."
            f" Received: decoder={recipe.decoder}"
        )
    return data


def _first_recipe(recipe):
    """Returns the recipe of the pretraining run, or None without `pretraining`."""
    if recipe.pretraining is None:
        return None
    allowed = "None without a decoder, but for `training.loop.finetuning.finetune`"
    check("pretraining", recipe.pretraining, recipe.decoder is not None, allowed)
    return pretraining_recipe(recipe)


def _pretrain(recipe, workdir, verbose, **how):
    """Runs the pretraining, unless it is already finished.

    Returns:
        The part of its `run.json` to keep, and the seconds that an earlier call spent on it.
    """
    seconds = 0.0
    run = _finished_run(recipe, workdir)
    if run is not None:
        seconds = run["seconds"]["total"]
    else:
        run = train_and_evaluate(recipe, workdir, verbose=verbose, **how)
        if verbose:
            print(summary(run))
    return {key: run[key] for key in _KEPT}, seconds


def _finished_run(recipe, workdir):
    """Returns `run.json` of a finished run, or None if the run is not finished."""
    path = workdir / "run.json"
    if not path.exists():
        return None
    run = read_json(path, *_KEPT)
    if run["recipe"] != recipe.to_dict():
        raise UserError(
            f"{workdir} holds a run of another recipe. Give another --workdir, or --overwrite to"
            " begin anew."
        )
    return run


def check_batch_size(recipe, data):
    """Raises a `UserError` if the data set is smaller than a batch."""
    if recipe.batch_size > data.train.size:
        raise UserError(
            f"`batch_size` must be at most {data.train.size}, the number of training images of "
            f"{data.name}. Received: batch_size={recipe.batch_size}"
        )
