"""Networks trained as tasks of a Ray cluster, on this machine or on many."""

from collections import deque

from regnet_tf._errors import UserError, first_line, import_optional

from .network import result_of, train_network

RETRIES = 2  # by Ray, of a network whose worker or machine dies


def on_ray(tasks, workers, address):
    """On a Ray cluster; Ray itself tries a network again whose worker dies.

    The machines of a cluster need this project and its requirements.

    Args:
        tasks: list of what `train_network` takes.
        workers: how many networks at once.
        address: of the cluster, or "auto"; None to start one on this machine.

    Yields:
        What `train_network` returns.

    Raises:
        UserError: where Ray is missing or the cluster is not there.
    """
    ray = import_optional("ray", extra="sweep")
    _connect(ray, workers, address)
    try:
        yield from _trained(ray, tasks, workers)
    finally:
        ray.shutdown()  # which ends the tasks that run


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
    """The results as they come; no more tasks than workers are given to Ray at once."""
    train = ray.remote(num_cpus=1, max_retries=RETRIES)(train_network)
    waiting, running = deque(tasks), {}
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
