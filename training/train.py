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
        UserError: before any training, if a package is missing, the data set unknown or smaller
            than a batch, or `workdir` unusable or holding a finished run; later, if the loss is no
            longer a number.
    """
    started, clock = datetime.datetime.now().astimezone(), time.perf_counter()
    workdir = Path(workdir)
    _check_unfinished(workdir, overwrite)
    import_optional("matplotlib")
    data = load(recipe.data, recipe.image_size)
    _check_batch_size(recipe, data)
    _make_directory(workdir)
    (workdir / "run.json").unlink(missing_ok=True)

    keras.utils.set_random_seed(recipe.seed)
    model = _build(recipe, data)
    if verbose:
        print(_announcement(recipe, data))
    history = _fit(model, recipe, data, workdir, verbose)
    train_seconds = time.perf_counter() - clock
    labels, probabilities = predict(model, _test_batches(recipe, data))

    _write_model(model, workdir / "model.keras")
    _write_pictures(workdir, recipe, data, history, labels, probabilities)
    run = {
        "recipe": recipe.to_dict(),
        "model": {"name": model.name, **_cost(recipe, data)},
        "data": {"name": data.name, "train_images": data.train_size, "test_images": data.test_size},
        "results": _results(labels, probabilities),
        "versions": _versions(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": {
            "training": round(train_seconds, 1),
            "total": round(time.perf_counter() - clock, 1),
        },
    }
    with replacing(workdir / "run.json") as path:
        path.write_text(json.dumps(run, indent=2) + "\n")
    return run


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


def _check_unfinished(workdir, overwrite):
    if (workdir / "run.json").exists() and not overwrite:
        raise UserError(
            f"{workdir} holds a finished run. Give another --workdir, or --overwrite to replace it."
        )


def _check_batch_size(recipe, data):
    if recipe.batch_size > data.train_size:
        raise UserError(
            f"`batch_size` must be at most {data.train_size}, the number of training images of "
            f"{data.name}. Received: batch_size={recipe.batch_size}"
        )


def _make_directory(workdir):
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the directory {workdir}: {error.strerror}.") from error


def _build(recipe, data):
    """The compiled network."""
    model = regnet_tf.build_regnet(
        recipe.config,
        input_shape=(recipe.image_size, recipe.image_size, data.channels),
        classes=len(data.class_names),
        dtype=recipe.precision,
    )
    model.compile(
        optimizer=make_optimizer(recipe),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    # With its variables made inside the first step, TensorFlow would trace that step twice.
    model.optimizer.build(model.trainable_variables)
    return model


def _fit(model, recipe, data, workdir, verbose):
    """Trains; returns a dict of lists, a value for each epoch."""
    augment = augmentation(recipe)
    classes = len(data.class_names)
    train = _limited(data.train(recipe.batch_size, recipe.seed), recipe)
    train = train.map(lambda images, labels: (augment(images), tf.one_hot(labels, classes)))
    test = _test_batches(recipe, data)
    test = test.map(lambda images, labels: (images, tf.one_hot(labels, classes)))
    callbacks = [
        learning_rate_callback(recipe),
        keras.callbacks.CSVLogger(workdir / "history.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = model.fit(
        train.prefetch(tf.data.AUTOTUNE),
        validation_data=test.prefetch(tf.data.AUTOTUNE),
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


def _test_batches(recipe, data):
    return _limited(data.test(recipe.batch_size), recipe)


def _limited(batches, recipe):
    return batches if recipe.max_steps is None else batches.take(recipe.max_steps)


def _write_model(model, path):
    """Saves the network alone: no training code is needed to load it."""
    network = keras.Model(model.inputs, model.outputs, name=model.name)
    with replacing(path) as partial:
        network.save(partial)


def _write_pictures(workdir, recipe, data, history, labels, probabilities):
    title = f"{data.name}, {recipe.config.name}"
    shown = report.select_examples(labels, probabilities)
    images = _images_at(_test_batches(recipe, data), shown)
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


def _cost(recipe, data):
    """Parameters, and multiply-adds for one image."""
    cost = regnet_tf.complexity(
        recipe.config, recipe.image_size, classes=len(data.class_names), channels=data.channels
    )
    return {"parameters": cost.parameters, "macs": cost.macs}


def _announcement(recipe, data):
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    parameters = _cost(recipe, data)["parameters"]
    return (
        f"{recipe.config.name} ({parameters:,} parameters) learns {data.name}"
        f" ({data.train_size:,} training and {data.test_size:,} test images) on the {device}."
    )


def _results(labels, probabilities):
    correct = int(np.sum(labels == probabilities.argmax(-1)))
    return {"accuracy": correct / len(labels), "correct": correct, "test_images": len(labels)}


def _versions():
    packages = {"keras": keras, "tensorflow": tf, "numpy": np, "regnet_tf": regnet_tf}
    versions = {name: package.__version__ for name, package in packages.items()}
    return {"python": platform.python_version(), **versions}
