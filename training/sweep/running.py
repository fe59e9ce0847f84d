"""Trains a population, or its missing networks."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from regnet_tf import RegNetConfig
from regnet_tf._checks import check_choice, check_int
from regnet_tf._locking import writing_to

from ..loop.directory import make_directory
from ..results import FAILED
from .executors import inline, processes
from .naming import shape
from .network import prepare_process
from .ray_executor import on_ray
from .results import TRAINED, claim, population_results
from .specification import Specification

#: Name -> generator function of tasks, workers and an address.
EXECUTORS = {"inline": inline, "processes": processes, "ray": on_ray}


def run(
    specification: Specification,
    folder: Path,
    *,
    executor: str = "processes",
    workers: int = 1,
    threads: int | None = None,
    address: str | None = None,
    data_dir: str | None = None,
    retry_failed: bool = False,
    say: Callable = print,
) -> dict:
    """Trains every network of a population that has no result yet.

    If a run was killed or stopped, call this again to resume it.

    Args:
        specification: a `Specification`.
        folder: folder for the results, a `Path`; created if missing.
        executor: key of `EXECUTORS`.
        workers: number of networks to train at the same time.
        threads: number of TensorFlow's threads in each worker; TensorFlow's choice by default.
        address: address of a Ray cluster, or "auto" for the one of this machine; None to start one.
        data_dir: data directory of tensorflow-datasets.
        retry_failed: whether to train failed networks again.
        say: function that prints a line.

    Returns:
        Dict of all networks: identity -> result.

    Raises:
        ValueError: if an argument is out of range.
        UserError: before any training, if the data set, the folder or a package is not usable, or
            another process writes to the folder. During training, if a result cannot be written.
    """
    check_choice("executor", executor, tuple(EXECUTORS))
    check_int("workers", workers, minimum=1)
    if threads is not None:
        check_int("threads", threads, minimum=1)
    if executor == "inline":
        prepare_process(threads)
    tasks = tasks_of(specification, data_dir, threads)
    make_directory(folder)
    results = population_results(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(writing_to(folder))
        claim(folder, specification)
        append = stack.enter_context(results.writing())
        before = results.read()
        again = {FAILED} if retry_failed else ()
        done = {name: one for name, one in before.items() if one["status"] not in again}
        missing = [task for task in tasks if task["identity"] not in done]
        if done and missing:
            say(f"Resuming after {len(done)} of {len(tasks)} networks.")
        progress = _Progress(specification.name, done, len(tasks), say)
        for result in EXECUTORS[executor](missing, workers, address) if missing else ():
            append(result)
            progress.add(result)
    return results.read()


def tasks_of(
    specification: Specification, data_dir: str | None = None, threads: int | None = None
) -> list[dict]:
    """Returns the arguments of `train_network` for every network of a population."""
    classes = len(specification.load_data(data_dir).class_names)
    return [
        {
            "identity": config.identity,
            "config": config.to_dict(),
            "complexity": specification.complexity(config, classes),
            "recipe": specification.recipe_of(config).to_dict(),
            "data_seed": specification.seed,
            "data_dir": data_dir,
            "threads": threads,
        }
        for config in specification.sample(classes)
    ]


class _Progress:
    """Prints the progress of a population after each network.

    Args:
        name: name of the population.
        done: results of earlier runs: identity -> result.
        total: number of networks.
        say: function that prints a line.
    """

    def __init__(self, name, done, total, say):
        self._name, self._total, self._say = name, total, say
        self._before = self._count = len(done)
        self._best = min((_error(one) for one in done.values()), default=float("inf"))
        self._start = time.perf_counter()

    def add(self, result):
        """Counts a result."""
        self._count += 1
        self._best = min(self._best, _error(result))
        outcome = f"failed ({result['error']})"
        if result["status"] == TRAINED:
            outcome = f"error {result['final_error']:.2%} in {result['seconds']:.0f} s"
        named = shape(RegNetConfig.from_dict(result["config"]))
        best = f", best {self._best:.2%}" if self._best < float("inf") else ""
        self._say(
            f"{self._name} {self._count}/{self._total}: {named} {outcome}{best}; {self._left()}"
        )

    def _left(self):
        seconds = (time.perf_counter() - self._start) / (self._count - self._before)
        left = seconds * (self._total - self._count)
        return f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"


def _error(result):
    return result["final_error"] if result["status"] == TRAINED else float("inf")
