"""One training run: from a recipe to a directory with the model and its results."""

import contextlib
import datetime
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf

from regnet_tf._checks import check_choice, check_int
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import read_json, write_csv
from regnet_tf._locking import writing_to
from regnet_tf._predictors import of_keras
from regnet_tf._runs import RUN
from regnet_tf.finding import find_weights

from ..data.batches import limited_test_batches
from ..data.checking import check_files, naming_damaged_files
from ..figures import curves, write_figure
from ..recipes import Recipe, pretraining_recipe
from ..tasks import task_of
from . import identity, strategies
from .directory import (
    PRETRAINING,
    clear,
    make_directory,
    write_history,
    write_model,
    write_run,
)
from .distillation import Teacher
from .examples import write_examples
from .loading import load_for
from .record import announcement, data_facts, source_state, versions
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

    A finished run is trained further if its recipe has more epochs now.

    A network may start from published weights or from another run. With `pretraining`, a separate
    run trains its initial weights first, in the directory `PRETRAINING` of `workdir`; see
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
        "selection" (as of `training.loop.run.Run.select`), "results" (as of the task's `evaluate`),
        "versions", "source", "compute", "started", "seconds" ("training": this network only;
        "total": everything).

    Raises:
        ValueError: if `checkpoint_steps` is below 1, or the task has no metric of the recipe's
            `selection`.
        UserError: before training, if a package is missing; if the data set is unknown, smaller
            than a batch, or has files that cannot be read; if the initial weights cannot be read;
            if the teacher cannot be read or does not fit;
            if `workdir` is not writable, if another process writes to it, if it holds a finished
            run, or one of another recipe or other data; or if there are several workers and the
            recipe has `pretraining`. During training, if the loss is not finite, an image cannot be
            read, or a file cannot be written.
        regnet_command.Stopped: after SIGTERM or SIGINT, once the state is saved.
    """
    check_int("checkpoint_steps", checkpoint_steps, minimum=1)
    strategy, workdir = strategy or tf.distribute.get_strategy(), Path(workdir)
    is_chief = strategies.is_chief(strategy)
    data = _load(recipe, data_dir, strategy)
    teacher = Teacher.of(recipe, data, strategy)
    make_directory(workdir)
    with contextlib.ExitStack() as stack:
        if is_chief:
            stack.enter_context(writing_to(workdir))
        data = _checked(data, recipe, teacher, workdir, overwrite, verbose)
        if is_chief and overwrite:
            clear(workdir)
        limit = recipe.images.max_pixels
        stack.enter_context(naming_damaged_files(data.train, data.test, max_pixels=limit))
        how = {"data_dir": data_dir, "strategy": strategy, "checkpoint_steps": checkpoint_steps}
        return _train(recipe, data, teacher, workdir, verbose, how)


def _train(recipe, data, teacher, workdir, verbose, how):
    """Trains and tests a network in a directory that no other process writes to."""
    started, clock = datetime.datetime.now().astimezone(), time.perf_counter()
    strategy = how["strategy"]
    is_chief = strategies.is_chief(strategy)
    pretraining, before, weights = None, 0.0, recipe.network.weights
    if recipe.pretraining is not None:
        weights = workdir / PRETRAINING
        pretraining, before = _pretrain(pretraining_recipe(recipe), weights, verbose, **how)

    training_clock = time.perf_counter()
    keras.utils.set_random_seed(recipe.seed)
    verbose = verbose if is_chief else 0
    run = Run(recipe, data, workdir, strategy, verbose, teacher)
    if verbose:
        print(announcement(run.model, recipe, data, strategy))
    run.restore(weights)
    if run.is_stale and (workdir / RUN).exists():
        raise UserError(
            f"{workdir} holds a run that its patience has ended. Give a larger"
            " `selection.patience` as well as more epochs."
            f" Received: selection.patience={run.selection.patience}"
        )
    if is_chief:
        identity.write(workdir, recipe, data, teacher)
    before_this_call = run.progress.seconds
    run.train(how["checkpoint_steps"])
    if not is_chief:
        return {}
    training = time.perf_counter() - training_clock + before_this_call
    facts = _evaluate(run)
    total = time.perf_counter() - clock + before + before_this_call
    facts |= {
        "pretraining": pretraining,
        "started": started.isoformat(timespec="seconds"),
        "seconds": {"training": round(training, 1), "total": round(total, 1)},
    }
    return write_run(facts, workdir)


def summary(run: dict) -> str:
    """Returns the outcome of a run in one line.

    Args:
        run: return value of `train_and_evaluate`.
    """
    recipe = Recipe.from_dict(run["recipe"])
    outcome = task_of(recipe, run["data"]["target"]).summary(run["results"])
    return f"{outcome}. {run['seconds']['total']:.0f} seconds"


def _load(recipe, data_dir, strategy):
    """Returns the data set of a recipe, once everything is checked but the directory of the run."""
    for package in ("matplotlib", "tensorboard"):
        import_optional(package)
    if recipe.pretraining is not None:
        pretraining_recipe(recipe)
        if strategies.is_multi_worker(strategy):
            raise UserError("A recipe with `pretraining` runs under one worker. Received: several")
    strategies.check_replicas(recipe, strategy)
    if recipe.network.weights is not None:
        find_weights(recipe.network.weights)
    data = load_for(recipe, data_dir)
    if recipe.selection is not None:
        metrics = task_of(recipe, data.target).metrics
        check_choice("selection.metric", recipe.selection.metric, (None, *metrics))
    return data


def _checked(data, recipe, teacher, workdir, overwrite, verbose):
    """Returns a data set without damaged files, once it fits the run in the directory."""
    if not overwrite:
        identity.check_recipe(workdir, recipe)
    resumes = not overwrite and identity.recipe_of(workdir) is not None
    skip = recipe.data.skip_damaged
    if skip or not resumes:  # a run that resumes leaves out the same files
        progress = int(bool(verbose) and sys.stdout.isatty())
        data = check_files(data, skip, progress, recipe.images.max_pixels)
    if not overwrite:
        identity.check_data(workdir, data)
        identity.check_teacher(workdir, teacher)
    return data


def _evaluate(run):
    """Tests a trained network, and writes the network, examples, figures and tables.

    Args:
        run: a `Run` after its training.

    Returns:
        The facts for `run.json` that do not depend on time.
    """
    recipe, data, workdir = run.recipe, run.data, run.workdir
    config, images = recipe.network.config, recipe.images
    title, selection = f"{data.name}, {config.name}", run.select()
    batches = limited_test_batches(data.test, images, recipe.schedule)
    predictor = of_keras(config.name, run.model)
    found = run.task.evaluate(predictor, batches, data.test.paths, data.class_names, title)
    (workdir / RUN).unlink(missing_ok=True)  # a run that was trained further replaces its files
    write_model(run.model, workdir / "model.keras")
    write_examples(workdir / "examples.npz", data, images.preprocessing, recipe.seed)
    selected = None if recipe.selection is None else selection["epoch"] - 1
    history = run.progress.history
    write_history(history, workdir)  # a run may be killed between its last checkpoint and the file
    found.figures["curves.png"] = curves(history, title, selection["metric"], selected)
    for name, figure in found.figures.items():
        write_figure(figure, workdir / name)
    for name, rows in found.tables.items():
        write_csv(workdir / name, rows)
    return {
        "recipe": recipe.to_dict(),
        "preprocessing": images.preprocessing.to_dict(),
        "model": {"name": run.model.name, **run.task.cost(run.model, config, images.size)},
        "data": data_facts(data),
        "selection": selection,
        "results": found.results,
        "versions": versions(),
        "source": source_state(),
        "compute": strategies.describe(run.strategy),
    }


def _pretrain(recipe, workdir, verbose, **how):
    """Runs the pretraining, unless it is already finished.

    Returns:
        The part of its `run.json` to keep, and the seconds that an earlier call spent on it.
    """
    seconds = 0.0
    if identity.is_finished(workdir, recipe):
        run = read_json(workdir / RUN, *_KEPT)
        seconds = run["seconds"]["total"]
    else:
        run = train_and_evaluate(recipe, workdir, verbose=verbose, **how)
        if verbose:
            print(summary(run))
    return {key: run[key] for key in _KEPT}, seconds
