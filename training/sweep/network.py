"""Trains one network of a population, in any process.

It writes no files: no checkpoints, no figures. The result is a dict of JSON types.
"""

import functools
import math
import time

from regnet_command import start_tensorflow

from regnet_tf._errors import UserError, first_line

from ..results import FAILED
from .results import TRAINED


@functools.cache
def prepare_process(threads=None):
    """Starts TensorFlow. Call this before any other use of TensorFlow.

    Args:
        threads: number of TensorFlow's threads; TensorFlow's choice by default.
    """
    start_tensorflow()
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    for device in tf.config.list_physical_devices("GPU"):  # several workers may share one GPU
        tf.config.experimental.set_memory_growth(device, True)


def train_network(task: dict) -> dict:
    """Trains a network and tests it after every epoch.

    Args:
        task: dict with the keys "identity", "config", "complexity", "recipe" (a dict from
            `Recipe.to_dict`), "data_seed", "data_dir", "threads".

    Returns:
        Dict with the task's "identity", "config" and "complexity", and "seed", "status" ("trained"
        or "failed"), "test_errors" (of each epoch, from 0 to 1), "final_error", "least_error",
        "seconds", "error" (None, or the message of the failure), "threads" (None for TensorFlow's
        choice) and "code" (version and commit).
    """
    prepare_process(task["threads"])
    start = time.perf_counter()
    errors, failure = [], None
    try:
        errors = _train(task)
    except Exception as error:  # other networks continue after any error
        failure = f"{type(error).__name__}: {first_line(error)}"
    finally:
        _forget()
    result = result_of(task, errors, failure, time.perf_counter() - start)
    return {**result, "threads": task["threads"], "code": _code()}


def result_of(
    task: dict, errors: list[float], failure: str | None, seconds: float | None = None
) -> dict:
    """Returns the entry of a network in the results.

    Args:
        task: see `train_network`.
        errors: test errors after each epoch.
        failure: None, or the message of the failure.
        seconds: duration of the training; None if unknown.
    """
    return {
        **{name: task[name] for name in ("identity", "config", "complexity")},
        "seed": task["recipe"]["seed"],
        "status": TRAINED if failure is None else FAILED,
        "test_errors": errors,
        "final_error": errors[-1] if errors else None,
        "least_error": min(errors, default=None),
        "seconds": seconds and round(seconds, 2),
        "error": failure,
    }


def _train(task):
    """Trains a network; returns its test errors after each epoch."""
    import keras
    import tensorflow as tf

    from ..loop.callbacks import EpochTest
    from ..loop.fitting import build, fit
    from ..loop.precise_statistics import precise_statistics
    from ..loop.testing import Test
    from ..recipes import Recipe
    from ..tasks import task_of

    recipe = Recipe.from_dict(task["recipe"])
    data = _load(recipe.data, task["data_dir"], task["data_seed"])
    keras.utils.set_random_seed(recipe.seed)
    model = build(recipe, data)
    task, strategy = task_of(recipe, data.target), tf.distribute.get_strategy()
    test = Test(model, task.measure, data.test, recipe.images, recipe.schedule, strategy)
    prepare = precise_statistics(model, recipe, data, strategy)
    callbacks = [
        keras.callbacks.LambdaCallback(on_train_batch_end=_check_loss),
        EpochTest(test, task.named_metrics, recipe.schedule, prepare),
    ]
    history = fit(model, recipe, data, callbacks=callbacks, verbose=0)
    return [round(1 - accuracy, 6) for accuracy in history["val_accuracy"]]


@functools.cache
def _code():
    """Returns the version of the code: of the package, and the commit in a git checkout."""
    import regnet_tf

    from ..loop.record import source_state

    state = source_state()
    if state is None:
        return regnet_tf.__version__
    return f"{regnet_tf.__version__} {state['commit'][:12]}{'+' if state['changed'] else ''}"


def _check_loss(batch, logs):
    if not math.isfinite(logs["loss"]):
        raise UserError(f"the loss was no longer a number after batch {batch + 1} of an epoch")


@functools.cache
def _load(data, data_dir, seed):
    """Loads the data set of a recipe once for all networks of a process."""
    from ..data import CompleteDataSet
    from ..loop.loading import load_part

    return CompleteDataSet.of(load_part(data, data_dir, seed))


def _forget():
    """Frees the memory of a trained network, so that memory does not grow with each one."""
    import keras

    keras.backend.clear_session()
