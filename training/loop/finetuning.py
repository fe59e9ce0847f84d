"""Compares fine-tuning with training from scratch on few images."""

import datetime
import time
from pathlib import Path

import keras
import numpy as np

import regnet_tf
from regnet_tf._checks import check, check_int
from regnet_tf._errors import import_optional

from ..data.batches import limited_test_batches
from ..figures import comparison, write_figure
from ..recipes import Recipe, pretraining_recipe
from ..tasks.classification import Classification, predict, results
from . import fitting
from .directory import check_unfinished, make_directory, write_model, write_run
from .examples import write_examples
from .loading import load_for
from .record import announcement, data_facts, versions

#: The files of a run's directory. `run.json` is written last and marks the run as finished.
FILES = {
    "pretrained.npz": "weights of the network that fine-tuning starts from",
    "model.keras": "fine-tuned network of the first choice of images",
    "examples.npz": "training and test images of that choice, for export",
    "comparison.png": "test accuracies of both ways, for every choice of images",
    "run.json": "recipes, results of every choice, versions, times",
}

_WAYS = ("fine_tuned", "from_scratch")


def finetune(
    recipe: Recipe,
    workdir: str | Path,
    overwrite: bool = False,
    verbose: int | str = "auto",
    data_dir: str | Path | None = None,
    choices: int = 3,
) -> dict:
    """Pretrains a network and fine-tunes it to other classes with few images.

    For comparison, the same images and recipe also train a network from scratch. Both trainings are
    repeated with other random choices of images. The seed of choice number i, counted from 0, is
    the recipe's seed plus i. It also determines new weights, order and augmentation.

    Args:
        recipe: a `Recipe` with `pretraining` and without a decoder. See
            `training.recipes.pretraining_recipe` for the pretraining.
        workdir: directory for `FILES`; created if missing. An unfinished run in it restarts from
            scratch.
        overwrite: whether to replace a finished run in it.
        verbose: Keras' progress in the pretraining; 0 to print nothing at all.
        data_dir: data directory of tensorflow-datasets.
        choices: number of random choices of images.

    Returns:
        The content of `run.json`: a dict with the keys "recipe", "pretraining" ("recipe", "data",
        "results"), "model", "data", "results" ("fine_tuned" and "from_scratch": mean accuracies
        from 0 to 1; "choices": a list of the same for each "seed", with "test_images"), "versions",
        "started", "seconds".

    Raises:
        ValueError: if the recipe has a decoder, if `choices` is below 1, or as in
            `pretraining_recipe`.
        UserError: as in `training.loop.train.train_and_evaluate`.
    """
    started, clock = datetime.datetime.now().astimezone(), time.perf_counter()
    check_int("choices", choices, minimum=1)
    check("decoder", recipe.decoder, recipe.decoder is None, "None for fine-tuning")
    first = pretraining_recipe(recipe)
    workdir = Path(workdir)
    check_unfinished(workdir, overwrite)
    import_optional("matplotlib")
    first_data, data = load_for(first, data_dir), load_for(recipe, data_dir)
    make_directory(workdir)
    (workdir / "run.json").unlink(missing_ok=True)

    first_results = _pretrain(first, first_data, workdir, verbose)
    pretrain_seconds = time.perf_counter() - clock
    tried: list[dict] = []
    models: dict[str, fitting.FittedModel] = {}
    for seed in range(recipe.seed, recipe.seed + choices):
        tried.append(_compare(recipe.replace({"seed": seed}), data_dir, workdir, models))
        if verbose:
            print(_line(f"Images chosen with seed {seed}", tried[-1]))
    run = {
        **_facts(recipe, data, models["fine_tuned"]),
        "pretraining": {
            "recipe": first.to_dict(),
            "data": data_facts(first_data),
            "results": first_results,
        },
        "results": {
            **{way: float(np.mean([one[way] for one in tried])) for way in _WAYS},
            "choices": tried,
        },
        "started": started.isoformat(timespec="seconds"),
        "seconds": {
            "pretraining": round(pretrain_seconds, 1),
            "total": round(time.perf_counter() - clock, 1),
        },
    }
    title = f"{recipe.data.name}: {', '.join(data.class_names)}, {_images(recipe.data)} a class"
    write_figure(comparison(tried, _WAYS, title), workdir / "comparison.png")
    write_run(run, workdir)
    return run


def summary(run: dict) -> str:
    """Returns the outcome of a run in one line.

    Args:
        run: return value of `finetune`.
    """
    results, choices = run["results"], run["results"]["choices"]
    images = _images(Recipe.from_dict(run["recipe"]).data)
    return (
        _line(f"Test accuracy with {images} a class", results)
        + f" (mean of {len(choices)}, {choices[0]['test_images']} test images),"
        + f" {run['seconds']['total']:.0f} seconds"
    )


def _facts(recipe, data, model):
    """Returns the facts for `run.json` that are known without the results."""
    config, images = recipe.network.config, recipe.images
    return {
        "recipe": recipe.to_dict(),
        "preprocessing": images.preprocessing.to_dict(),
        "model": {"name": config.name, **Classification().cost(model, config, images.size)},
        "data": data_facts(data),
        "versions": versions(),
    }


def _images(data):
    few = data.images_per_class
    return "all images" if few is None else f"{few} image{'s' if few > 1 else ''}"


def _pretrain(recipe, data, workdir, verbose):
    """Runs the pretraining, writes its weights and returns its results."""
    keras.utils.set_random_seed(recipe.seed)
    model = fitting.build(recipe, data)
    if verbose:
        print(announcement(model, recipe, data))
    fitting.fit(model, recipe, data, verbose=verbose)
    regnet_tf.write_state_dict(workdir / "pretrained.npz", regnet_tf.to_state_dict(model))
    return _tested(model, recipe, data)


def _tested(model, recipe, data):
    batches = limited_test_batches(data.test, recipe.images, recipe.schedule)
    return results(*predict(model, batches), data.class_names)


def _compare(recipe, data_dir, workdir, models):
    """Trains on one choice of images, fine-tuned and from scratch, and returns the accuracies.

    `models` keeps the networks for the next choice. The first fine-tuned network is written.
    """
    data = load_for(recipe, data_dir)
    accuracies = {}
    for way in _WAYS:
        keras.utils.set_random_seed(recipe.seed)
        start = None
        if way == "fine_tuned":
            start = regnet_tf.read_state_dict(workdir / "pretrained.npz")
        new = fitting.build(recipe, data, start)
        is_first = way not in models
        model = models.setdefault(way, new)
        if not is_first:
            _restart(model, new)
        fitting.fit(model, recipe, data, verbose=0)
        outcome = _tested(model, recipe, data)
        accuracies[way] = outcome["accuracy"]
        if is_first and way == "fine_tuned":
            write_model(model, workdir / "model.keras")
            write_examples(workdir / "examples.npz", data, recipe.images.preprocessing, recipe.seed)
    return {"seed": recipe.seed, **accuracies, "test_images": outcome["test_images"]}


def _restart(model, new):
    """Resets a trained network to a new one, so that TensorFlow does not trace its steps again."""
    model.set_weights(new.get_weights())
    for variable in model.optimizer.variables:  # momentum; each epoch sets the learning rate
        variable.assign(keras.ops.zeros_like(variable))


def _line(start, accuracies):
    tuned, scratch = (f"{accuracies[way]:.2%}" for way in _WAYS)
    return f"{start}: fine-tuned {tuned}, from scratch {scratch}"
