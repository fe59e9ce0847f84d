"""One training run: from a recipe to a directory with the model and its results."""

import datetime
import time
from pathlib import Path

import keras
import tensorflow as tf

import regnet_tf
from regnet_tf._checks import check, check_int
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import write_csv
from regnet_tf._predictors import of_keras
from regnet_tf._trained import load_trained

from ..data.batches import limited_test_batches
from ..figures import curves, write_figure
from ..recipes import Recipe, pretraining_recipe
from ..tasks import task_of
from . import strategies
from .directory import (
    PRETRAINING,
    check_unfinished,
    clear,
    finished_run,
    make_directory,
    write_model,
    write_run,
)
from .examples import write_examples
from .loading import load_for
from .record import data_facts, source_state, versions
from .run import Run

_KEPT = ("recipe", "data", "results", "seconds")  # what is kept of the pretraining's run.json
_CHECKPOINT_STEPS = 1000


def train_and_evaluate(
    recipe: Recipe,
    workdir: str | Path,
    overwrite: bool = False,
    verbose: int | str = "auto",
    data_dir: str | Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    checkpoint_steps: int = _CHECKPOINT_STEPS,
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
        "results" (as of the task's `evaluate`), "versions", "source", "compute", "started",
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
    check_int("checkpoint_steps", checkpoint_steps, minimum=1)
    strategy, workdir = strategy or tf.distribute.get_strategy(), Path(workdir)
    how = {"data_dir": data_dir, "strategy": strategy, "checkpoint_steps": checkpoint_steps}
    first = _first_recipe(recipe)
    data = _checked_data(recipe, workdir, overwrite, data_dir, strategy)
    make_directory(workdir)
    if overwrite and strategies.is_chief(strategy):
        clear(workdir)
    pretraining, state_dict, before = None, None, 0.0
    if first is not None:
        pretraining, before = _pretrain(first, workdir / PRETRAINING, verbose, **how)
        state_dict = regnet_tf.to_state_dict(load_trained(workdir / PRETRAINING).model)

    training_clock = time.perf_counter()
    keras.utils.set_random_seed(recipe.seed)
    verbose = verbose if strategies.is_chief(strategy) else 0
    run = Run(recipe, data, workdir, strategy, verbose, state_dict)
    run.restore()
    before_this_call = run.progress.seconds
    run.train(checkpoint_steps)
    if not strategies.is_chief(strategy):
        return {}
    training = time.perf_counter() - training_clock + before_this_call
    facts = _evaluate(run)
    total = time.perf_counter() - clock + before + before_this_call
    facts |= {
        "pretraining": pretraining,
        "started": started.isoformat(timespec="seconds"),
        "seconds": {"training": round(training, 1), "total": round(total, 1)},
    }
    write_run(facts, workdir)
    return facts


def summary(run: dict) -> str:
    """Returns the outcome of a run in one line.

    Args:
        run: return value of `train_and_evaluate`.
    """
    outcome = task_of(Recipe.from_dict(run["recipe"])).summary(run["results"])
    return f"{outcome}. {run['seconds']['total']:.0f} seconds"


def _checked_data(recipe, workdir, overwrite, data_dir, strategy):
    """Returns the data set of a recipe, once everything is checked that a run needs."""
    check_unfinished(workdir, overwrite)
    for package in ("matplotlib", "tensorboard"):
        import_optional(package)
    data = load_for(recipe, data_dir)
    strategies.check_replicas(recipe.schedule.batch_size, strategy)
    if recipe.pretraining is not None and strategies.is_multi_worker(strategy):
        raise UserError("A recipe with `pretraining` runs under one worker. Received: several")
    return data


def _evaluate(run):
    """Tests a trained network, and writes the network, examples and figures.

    Args:
        run: a `Run` after its training.

    Returns:
        The facts for `run.json` that do not depend on time.
    """
    recipe, data, workdir = run.recipe, run.data, run.workdir
    config, images = recipe.network.config, recipe.images
    if run.average is not None:
        run.average.load_into_model()
    title = f"{data.name}, {config.name}"
    batches = limited_test_batches(data.test, images, recipe.schedule)
    predictor = of_keras(config.name, run.model)
    found = run.task.evaluate(predictor, batches, data.test.paths, data.class_names, title)
    write_model(run.model, workdir / "model.keras")
    write_examples(workdir / "examples.npz", data, images.preprocessing, recipe.seed)
    found.figures["curves.png"] = curves(run.progress.history, title, run.task.score)
    for name, figure in found.figures.items():
        write_figure(figure, workdir / name)
    for name, rows in found.tables.items():
        write_csv(workdir / name, rows)
    return {
        "recipe": recipe.to_dict(),
        "preprocessing": images.preprocessing.to_dict(),
        "model": {"name": run.model.name, **run.task.cost(run.model, config, images.size)},
        "data": data_facts(data),
        "results": found.results,
        "versions": versions(),
        "source": source_state(),
        "compute": strategies.describe(run.strategy),
    }


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
    run = finished_run(workdir, recipe)
    if run is not None:
        seconds = run["seconds"]["total"]
    else:
        run = train_and_evaluate(recipe, workdir, verbose=verbose, **how)
        if verbose:
            print(summary(run))
    return {key: run[key] for key in _KEPT}, seconds
