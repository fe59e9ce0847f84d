"""Measures the speed of the training input pipeline."""

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from regnet_tf._cpu import available_cores
from regnet_tf._errors import import_optional

from .batches import training_batches
from .splits import Split

_ENDLESS = 1_000_000  # epochs


class Rate(NamedTuple):
    """The speed of one measurement.

    Attributes:
        per_second: images per second.
        per_cpu_second: images per second of CPU time of all cores together. Other programs on the
            machine change it little.
    """

    per_second: float
    per_cpu_second: float


@dataclasses.dataclass(frozen=True)
class Speed:
    """The speed of an input pipeline.

    Attributes:
        images_per_second: images per second on all cores.
        cores: number of cores that this process may use.
    """

    images_per_second: float
    cores: int

    @property
    def per_core(self) -> float:
        """Images per second per core, assuming equal cores."""
        return self.images_per_second / self.cores

    def cores_for(self, images_per_second: float) -> int:
        """Returns the number of equal cores needed for this many images per second."""
        return math.ceil(images_per_second / self.per_core)


def measure(split: Split, recipe: Any, classes: int, seconds: float = 5.0) -> Speed:
    """Measures the speed of the training input pipeline alone.

    Args:
        split: a split of a `training.data.DataSet`, with at least one batch.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        seconds: duration of the measurement, without the first batch.
    """
    batches = iter(endless_batches(split, recipe, classes))
    measured = rate(batches, recipe.schedule.batch_size, seconds)
    return Speed(measured.per_second, available_cores())


def endless_batches(split, recipe, classes):
    """Returns an endless sequence of training batches; arguments as for `measure`."""
    endless = {"schedule.epochs": _ENDLESS, "schedule.max_steps": None}
    return training_batches(split, recipe.replace(endless), classes)


def rate(batches: Iterator, batch_size: int, seconds: float, warmup: int = 1) -> Rate:
    """Returns the speed of an iterator of batches.

    Args:
        batches: an endless iterator.
        batch_size: images per batch.
        seconds: duration of the measurement; the last batch is completed.
        warmup: number of batches to take before the measurement, to fill buffers and start
            processes.
    """
    for _ in range(warmup):
        next(batches)
    start, used = time.perf_counter(), cpu_seconds()
    images, elapsed = 0, 0.0
    while elapsed < seconds:
        next(batches)
        images += batch_size
        elapsed = time.perf_counter() - start
    return Rate(images / elapsed, images / (cpu_seconds() - used))


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of its running child processes, in seconds."""
    process = import_optional("psutil").Process()
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)
