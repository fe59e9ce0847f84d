"""Trains networks as tasks of a Ray cluster, on one or many machines."""

from collections import deque
from typing import Any

from regnet_tf._errors import UserError, first_line, import_optional

from .network import result_of, train_network

RETRIES = 2  # how often Ray retries a network whose worker or machine dies


def on_ray(tasks, workers, address):
    """Trains networks on a Ray cluster. If a worker dies, Ray retries its network.

    Install this project and its requirements on the machines of the cluster.

    Args:
        tasks: list of arguments of `train_network`.
        workers: number of networks to train at the same time.
        address: address of the cluster, or "auto"; None to start a cluster on this machine.

    Yields:
        Return values of `train_network`.

    Raises:
        UserError: if Ray is missing, or the cluster is not reachable.
    """
    ray = import_optional("ray", extra="sweep")
    _connect(ray, workers, address)
    try:
        yield from _trained(ray, tasks, workers)
    finally:
        ray.shutdown()  # this also ends running tasks


def _connect(ray, workers, address):
    threads = None if address else max(1, workers)
    try:
        ray.init(
            address or "local",
            num_cpus=threads,
            include_dashboard=False if threads else None,
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"There is no Ray cluster at {address}: {first_line(error)}") from error


def _trained(ray, tasks, workers):
    """Yields results as soon as they are ready; submits at most `workers` tasks at once."""
    train = ray.remote(num_cpus=1, max_retries=RETRIES)(train_network)
    waiting = deque(tasks)
    running: dict[Any, dict] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            task = waiting.popleft()
            running[train.remote(task)] = task
        done, _ = ray.wait(list(running))
        for reference in done:
            task = running.pop(reference)
            try:
                result = ray.get(reference)
            except ray.exceptions.RayError as error:
                result = result_of(task, [], f"{type(error).__name__}: {first_line(error)}")
            yield result
