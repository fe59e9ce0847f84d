"""How fast images are read and augmented, as training does it."""

import dataclasses
import math
import os
import time

from .batches import training_batches

_ENDLESS = 1_000_000  # epochs


@dataclasses.dataclass(frozen=True)
class Speed:
    """What an input pipeline delivers.

    Attributes:
        images_per_second: on all cores.
        cores: that this process may use.
    """

    images_per_second: float
    cores: int

    @property
    def per_core(self) -> float:
        """Images per second of one core, were all the same."""
        return self.images_per_second / self.cores

    def cores_for(self, images_per_second) -> int:
        """How many such cores deliver as much as a device takes."""
        return math.ceil(images_per_second / self.per_core)


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure(split, recipe, classes, seconds=5.0) -> Speed:
    """Runs the input pipeline of training on its own.

    Args:
        split: of a `training.data.DataSet`, of a batch at least.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        seconds: how long, not counting the first batch.
    """
    batches = iter(endless_batches(split, recipe, classes))
    return Speed(rate(batches, recipe.batch_size, seconds), available_cores())


def endless_batches(split, recipe, classes):
    """The batches of training, of whole epochs that do not end; arguments as for `measure`."""
    return training_batches(split, recipe.replace(epochs=_ENDLESS, max_steps=None), classes)


def rate(batches, batch_size, seconds, warmup=1) -> float:
    """Images per second of an iterator of batches.

    Args:
        batches: an iterator that does not end.
        batch_size: images in a batch.
        seconds: how long to take batches; the last one is waited for.
        warmup: batches to take before: buffers and processes start with them.
    """
    for _ in range(warmup):
        next(batches)
    start, images, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        next(batches)
        images += batch_size
        elapsed = time.perf_counter() - start
    return images / elapsed
