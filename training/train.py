"""One training run: from a recipe to a directory with the model and its results."""

import datetime
import json
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf._checks import check
from training import report
from training.augmentation import augmentation
from training.data import load
from training.errors import UserError, import_optional
from training.files import replacing
from training.optimization import learning_rate_callback, make_optimizer

#: What a run leaves in its directory. `run.json` comes last and marks the run as finished.
FILES = {
    "model.keras": "trained model",
    "history.csv": "losses, accuracies and learning rate of each epoch",
    "curves.png": "the same as a picture",
    "confusion.png": "confusion matrix",
    "predictions.png": "test images with predictions",
    "run.json": "recipe, results, versions, times",
}


def train_and_evaluate(recipe, workdir, overwrite=False, verbose="auto") -> dict:
    """Trains a network on a data set, tests it, and writes everything down.

    Args:
        recipe: a `Recipe`.
        workdir: directory for `FILES`; made if need be. An unfinished run in it is begun anew.
        overwrite: whether a finished run in it may be replaced.
        verbose: Keras' progress: "auto" or 1 for bars, 2 for a line an epoch, 0 for none.

    Returns:
        The content of `run.json`: a dict with the keys "recipe", "model", "data", "results"
        ("accuracy" from 0 to 1, "correct", "test_images"), "versions", "started", "seconds".

    Raises:
        ValueError: for a recipe of fine-tuning, which `training.finetuning.finetune` runs.
        UserError: before any training, if a package is missing, the data set unknown or smaller
            than a batch, or `workdir` unusable or holding a finished run; later, if the loss is no
            longer a number.
    """
    started, clock = datetime.datetime.now().astimezone(), time.perf_counter()
    alone = recipe.pretraining is None
    check("pretraining", recipe.pretraining, alone, "None but for `training.finetuning.finetune`")
    workdir = Path(workdir)
    check_unfinished(workdir, overwrite)
    import_optional("matplotlib")
    data = load_for(recipe)
    check_batch_size(recipe, data)
    make_directory(workdir)
    (workdir / "run.json").unlink(missing_ok=True)

    keras.utils.set_random_seed(recipe.seed)
    model = build(recipe, data)
    if verbose:
        print(announcement(recipe, data))
    history = fit(model, recipe, data, workdir / "history.csv", verbose)
    train_seconds = time.perf_counter() - clock
    labels, probabilities = predict(model, test_batches(recipe, data))

    write_model(model, workdir / "model.keras")
    _write_pictures(workdir, recipe, data, history, labels, probabilities)
    run = {
        "recipe": recipe.to_dict(),
        "model": {"name": model.name, **cost(recipe, data)},
        "data": data_facts(data),
        "results": results(labels, probabilities),
        "versions": versions(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": {
            "training": round(train_seconds, 1),
            "total": round(time.perf_counter() - clock, 1),
        },
    }
    write_run(run, workdir)
    return run


def summary(run) -> str:
    """The outcome of a run in a line.

    Args:
        run: what `train_and_evaluate` returned.
    """
    outcome = run["results"]
    return (
        f"Test accuracy {outcome['accuracy']:.2%} ({outcome['correct']} of"
        f" {outcome['test_images']} images), {run['seconds']['total']:.0f} seconds"
    )


def load_for(recipe):
    """The data set of a recipe, or the part of it that the recipe keeps."""
    return load(
        recipe.data, recipe.image_size, recipe.classes, recipe.images_per_class, recipe.seed
    )


def predict(model, batches):
    """A model's probabilities for every image of a pass.

    Args:
        model: a classifier.
        batches: `(images, labels)` batches.

    Returns:
        `(labels, probabilities)`, numpy arrays `(count,)` and `(count, classes)`.
    """
    labels, probabilities = [], []
    for images, batch_labels in batches:
        probabilities.append(model.predict_on_batch(images))
        labels.append(batch_labels)
    return np.concatenate(labels), np.concatenate(probabilities)


def check_unfinished(workdir, overwrite):
    """Raises a `UserError` where the directory holds a finished run that may not be replaced."""
    if (workdir / "run.json").exists() and not overwrite:
        raise UserError(
            f"{workdir} holds a finished run. Give another --workdir, or --overwrite to replace it."
        )


def check_batch_size(recipe, data):
    """Raises a `UserError` where the data set is smaller than a batch."""
    if recipe.batch_size > data.train_size:
        raise UserError(
            f"`batch_size` must be at most {data.train_size}, the number of training images of "
            f"{data.name}. Received: batch_size={recipe.batch_size}"
        )


def make_directory(workdir):
    """Makes the directory if need be; raises a `UserError` where that is impossible."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the directory {workdir}: {error.strerror}.") from error


def build(recipe, data, weights=None):
    """The compiled network of a recipe.

    Args:
        recipe: a `Recipe`.
        data: its `DataSet`.
        weights: file of weights to start from, as `regnet_tf.read_state_dict` reads them. The
            classifier starts anew nevertheless, and what `recipe.freeze` says is frozen. By default
            the whole network starts anew.
    """
    model = regnet_tf.build_regnet(
        recipe.config,
        input_shape=(recipe.image_size, recipe.image_size, data.channels),
        classes=len(data.class_names),
        dtype=recipe.precision,
    )
    if weights is not None:
        regnet_tf.load_state_dict(model, regnet_tf.read_state_dict(weights), skip_head=True)
        if recipe.freeze is not None:
            regnet_tf.freeze(model, recipe.freeze)
    model.compile(
        optimizer=make_optimizer(recipe),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    # With its variables made inside the first step, TensorFlow would trace that step twice.
    model.optimizer.build(model.trainable_variables)
    return model


def fit(model, recipe, data, history_file=None, verbose="auto") -> dict:
    """Trains a compiled network.

    Args:
        model: the network.
        recipe: a `Recipe`.
        data: its `DataSet`.
        history_file: CSV file for losses, accuracies and learning rate of each epoch. None for
            neither that nor a test after each epoch.
        verbose: Keras' progress.

    Returns:
        Dict of lists, a value for each epoch.

    Raises:
        UserError: if the loss is no longer a number.
    """
    augment = augmentation(recipe)
    classes = len(data.class_names)
    train = _limited(data.train(recipe.batch_size, recipe.seed), recipe)
    train = train.map(lambda images, labels: (augment(images), tf.one_hot(labels, classes)))
    callbacks = [learning_rate_callback(recipe), keras.callbacks.TerminateOnNaN()]
    test = None
    if history_file is not None:
        test = test_batches(recipe, data)
        test = test.map(lambda images, labels: (images, tf.one_hot(labels, classes)))
        test = test.prefetch(tf.data.AUTOTUNE)
        callbacks.insert(1, keras.callbacks.CSVLogger(history_file))
    history = model.fit(
        train.prefetch(tf.data.AUTOTUNE),
        validation_data=test,
        epochs=recipe.epochs,
        shuffle=False,  # the data set has done it
        callbacks=callbacks,
        verbose=verbose,
    ).history
    if not np.isfinite(history["loss"][-1]):
        raise UserError(
            f"The loss was no longer a number in epoch {len(history['loss'])}. A lower"
            f" `learning_rate` may help. Received: learning_rate={recipe.learning_rate}"
        )
    return history


def test_batches(recipe, data):
    """The batches that a recipe tests with."""
    return _limited(data.test(recipe.batch_size), recipe)


def _limited(batches, recipe):
    return batches if recipe.max_steps is None else batches.take(recipe.max_steps)


def write_model(model, path):
    """Saves the network alone: no training code is needed to load it."""
    network = keras.Model(model.inputs, model.outputs, name=model.name)
    with replacing(path) as partial:
        network.save(partial)


def _write_pictures(workdir, recipe, data, history, labels, probabilities):
    title = f"{data.name}, {recipe.config.name}"
    shown = report.select_examples(labels, probabilities)
    images = _images_at(test_batches(recipe, data), shown)
    figures = {
        "curves.png": report.curves(history, title),
        "confusion.png": report.confusion(
            labels, probabilities.argmax(-1), data.class_names, title
        ),
        "predictions.png": report.predictions(
            images, labels[shown], probabilities[shown], data.class_names, title
        ),
    }
    for name, figure in figures.items():
        with replacing(workdir / name) as path:
            figure.savefig(path, dpi=report.DPI)


def _images_at(batches, indices):
    """The images at these places of a pass, in the order of `indices`."""
    found = {}
    wanted = set(indices)
    for index, (image, _) in enumerate(batches.unbatch()):
        if index in wanted:
            found[index] = image.numpy()
    return [found[index] for index in indices]


def cost(recipe, data):
    """Parameters, and multiply-adds for one image."""
    cost = regnet_tf.complexity(
        recipe.config, recipe.image_size, classes=len(data.class_names), channels=data.channels
    )
    return {"parameters": cost.parameters, "macs": cost.macs}


def announcement(recipe, data):
    """What is about to be trained, in a line."""
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    parameters = cost(recipe, data)["parameters"]
    return (
        f"{recipe.config.name} ({parameters:,} parameters) learns {data.name}"
        f" ({data.train_size:,} training and {data.test_size:,} test images) on the {device}."
    )


def data_facts(data):
    """What `run.json` says of a data set."""
    return {"name": data.name, "train_images": data.train_size, "test_images": data.test_size}


def results(labels, probabilities):
    """Accuracy from 0 to 1, and the counts it comes from."""
    correct = int(np.sum(labels == probabilities.argmax(-1)))
    return {"accuracy": correct / len(labels), "correct": correct, "test_images": len(labels)}


def write_run(run, workdir):
    """Writes `run.json`, which marks the run as finished."""
    with replacing(workdir / "run.json") as path:
        path.write_text(json.dumps(run, indent=2) + "\n")


def versions():
    """Versions of everything that numbers may depend on."""
    packages = {"keras": keras, "tensorflow": tf, "numpy": np, "regnet_tf": regnet_tf}
    numbers = {name: package.__version__ for name, package in packages.items()}
    return {"python": platform.python_version(), **numbers}
