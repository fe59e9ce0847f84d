"""What is recorded and printed about a run: data set, network, devices, versions."""

import platform
import subprocess
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import regnet_tf

from ..augmentation import decoded
from ..data import CompleteDataSet
from ..data.batches import coverage
from ..data.description import describe
from ..recipes import Recipe
from ..recipes.listing import figures
from ..recipes.parts import Images
from ..tasks import task_of
from . import strategies

_SEEN = 16  # images whose sizes are looked at


def announcement(
    model: keras.Model,
    recipe: Recipe,
    data: CompleteDataSet,
    strategy: tf.distribute.Strategy | None = None,
) -> str:
    """Returns a text about a run that begins.

    It has every figure of the recipe, the data set with its classes in order, what was assumed or
    is left out, the network, the device and the split of a batch.
    """
    compute = strategies.describe(strategy or tf.distribute.get_strategy())
    replicas = compute["replicas"]
    cost = task_of(recipe, data.target).cost(model, recipe.network.config, recipe.images.size)
    batch_size, rate = recipe.schedule.batch_size, recipe.schedule.scaled_learning_rate
    share = f"{batch_size} images"
    if recipe.schedule.accumulation > 1:
        share += f" in {recipe.schedule.accumulation} parts"
    if replicas > 1:
        share += f", {batch_size // replicas} on each of {replicas} replicas"
    if compute["workers"] > 1:
        share += f" of {compute['workers']} workers"
    lines = [
        figures(recipe),
        describe(data),
        *data.notes,
        coverage(data.train, recipe.schedule),
        _enlarged(data, recipe.images),
        f"{recipe.network.config.name} ({cost['parameters']:,} parameters) learns on"
        f" {compute['device']}.",
        f"Batches of {share}; learning rate {rate:.4g}.",
    ]
    return "\n".join(line for line in lines if line)


def _enlarged(data: CompleteDataSet, images: Images) -> str | None:
    """Returns a line about images that are much smaller than the network's, or None."""
    first = data.train.examples().take(_SEEN)
    shapes = [
        decoded(image, images.channels, max_pixels=images.max_pixels).shape for image, _ in first
    ]
    height, width = (max(shape[axis] for shape in shapes) for axis in (0, 1))
    if 2 * max(height, width) > images.size:
        return None
    return (
        f"The first images have at most {height} x {width} pixels. They are enlarged to"
        f" {images.size} x {images.size} (images.size)."
    )


def data_facts(data: CompleteDataSet) -> dict:
    """Returns the entry of a data set in `run.json`."""
    return {
        "name": data.name,
        "target": data.target,
        "class_names": list(data.class_names),
        "train_images": data.train.size,
        "test_images": data.test.size,
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that affect the results."""
    packages = {"keras": keras, "tensorflow": tf, "numpy": np, "regnet_tf": regnet_tf}
    numbers = {name: package.__version__ for name, package in packages.items()}
    return {"python": platform.python_version(), **numbers}


def source_state() -> dict | None:
    """Returns the git commit and whether files were changed since; None outside a git checkout."""

    def git(*arguments):
        command = ["git", "-C", Path(__file__).parent, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
