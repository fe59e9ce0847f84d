"""Measures the training speed of a recipe: input pipeline, training step, and both together.

The three are measured in turns, so that a slowdown of the machine affects all of them.
"""

import statistics
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf._markdown import markdown_table

from ..data import DataSet
from ..data.batches import steps_per_epoch, training_batches
from ..data.table import TableSplit
from ..loop import strategies
from ..loop.distillation import Teacher
from ..loop.fitting import build
from ..loop.loading import load_part

SYNTHETIC = "synthetic"
_BUFFERED = 4  # number of batches that may be prefetched before a measurement starts


def measure_training(
    recipe: Any,
    strategy: tf.distribute.Strategy,
    data_dir: str | None = None,
    repeats: int = 5,
    steps: int = 10,
) -> dict:
    """Measures the images per second of a recipe's input, of its step, and of both together.

    Args:
        recipe: a `Recipe`. If its `data.name` is "synthetic", only the step is measured, on random
            images in memory.
        strategy: a `tf.distribute.Strategy`.
        data_dir: data directory of tensorflow-datasets.
        repeats: number of turns.
        steps: number of batches per measurement.

    Returns:
        Dict with the keys "recipe", "variant", "data", "batch_size", "image_size" and "compute".
        For "input", "step" and "both", it has a dict of "images_per_second" (median), "min" and
        "max".

    Raises:
        UserError: as in `training.data.load`, or if the batch size does not fit the data or
            devices.
    """
    batch_size = recipe.schedule.batch_size
    strategies.check_replicas(recipe, strategy)
    data = _load(recipe, data_dir)
    needed = repeats * (2 * steps + 2 * _BUFFERED) + steps
    epochs = -(-needed // steps_per_epoch(data.train, recipe.schedule))
    recipe = recipe.replace({"schedule.epochs": max(recipe.schedule.epochs, epochs)})
    parts, batches = _parts(recipe, data, strategy)
    speeds: dict[str, list[float]] = {part: [] for part in parts}
    for _ in range(repeats):
        for part, do in parts.items():
            if part == "input":
                for _ in range(_BUFFERED):
                    next(batches)
            start = time.perf_counter()
            for _ in range(steps):
                do()
            speeds[part].append(batch_size * steps / (time.perf_counter() - start))
    return {
        "recipe": recipe.name,
        "variant": recipe.network.config.name,
        "data": data.name,
        "batch_size": batch_size,
        "image_size": recipe.images.size,
        "compute": strategies.describe(strategy),
        **{
            part: {
                "images_per_second": statistics.median(values),
                "min": min(values),
                "max": max(values),
            }
            for part, values in speeds.items()
        },
    }


def table(result: dict) -> str:
    """Returns a result as a markdown table."""
    about = (
        f"{result['variant']}, recipe {result['recipe']}, {result['data']}, batches of"
        f" {result['batch_size']} images of {result['image_size']} pixels, on"
        f" {result['compute']['replicas']} replicas ({result['compute']['device']})"
    )
    rows = []
    names = {"input": "input pipeline alone", "step": "training step alone", "both": "both"}
    for part, name in names.items():
        if part in result:
            speed = result[part]
            text = f"{speed['images_per_second']:.1f} ({speed['min']:.1f} to {speed['max']:.1f})"
            rows.append([name, text])
    return f"{about}\n\n{markdown_table(['what', 'images/s'], rows)}"


def _load(recipe, data_dir):
    """Returns the data set of a recipe, with at least one batch of training images."""
    name, batch_size = recipe.data.name, recipe.schedule.batch_size
    if name == SYNTHETIC:
        return _synthetic(batch_size, recipe.images.size)
    target = None if recipe.decoder is None else "pixels"
    data = load_part(recipe.data, data_dir, recipe.seed, target, recipe.images.max_pixels)
    if data.train is None or data.train.size < batch_size:
        raise UserError(f"{data.name} has no {batch_size} images to train on.")
    return data


def _parts(recipe, data, strategy):
    """Returns what to measure: functions of no arguments by name, and the input's batches."""
    model = build(recipe, data, strategy, Teacher.of(recipe, data, strategy))
    batches = iter(
        strategy.distribute_datasets_from_function(
            lambda context: training_batches(
                data.train, recipe, len(data.class_names), context=context
            )
        )
    )
    fixed = next(batches)
    with strategy.scope():
        step = model.make_train_function()

    def train(batch):
        with strategy.scope():
            logs = step(iter([batch]))
        keras.ops.convert_to_numpy(tf.reduce_sum(logs["loss"]))

    train(fixed)  # traces
    parts = {"step": lambda: train(fixed)}
    if recipe.data.name != SYNTHETIC:
        parts = {
            "input": lambda: next(batches),
            **parts,
            "both": lambda: train(next(batches)),
        }
    return parts, batches


def _synthetic(batch_size, image_size):
    """Returns a data set with one batch of random images of 1000 classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, image_size, image_size, 3), "uint8")
    split = TableSplit(images, rng.integers(0, 1000, batch_size))
    names = tuple(str(number) for number in range(1000))
    return DataSet(name=SYNTHETIC, class_names=names, train=split, test=None)
