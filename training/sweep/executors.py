"""Executors: train networks in this process or in several processes of this machine.

An executor is a generator function of tasks, workers and options. It yields results as soon as they
are ready. When it ends, it ends all processes that it started.
"""

import concurrent.futures
from collections import deque

from regnet_command.workers import Worker

from regnet_tf._errors import first_line

from .network import result_of, train_network

ATTEMPTS = 2  # attempts to train a network, if its worker dies


def inline(tasks, workers, address):
    """Trains one network after the other in this process."""
    yield from map(train_network, tasks)


def processes(tasks, workers, address):
    """Trains networks in processes of this machine.

    If a process is killed, it is replaced and its network is trained again.

    Args:
        tasks: list of arguments of `train_network`.
        workers: number of processes.
        address: not used.

    Yields:
        Return values of `train_network`. If a network's worker died twice, its result is "failed".
    """
    waiting = deque((task, 1) for task in tasks)
    started = [Worker() for _ in range(min(workers, len(tasks)))]
    idle = [*started]
    running: dict[concurrent.futures.Future, tuple[Worker, dict, int]] = {}
    try:
        while waiting or running:
            while idle and waiting:
                worker, (task, attempt) = idle.pop(), waiting.popleft()
                running[worker.submit(train_network, task)] = worker, task, attempt
            done, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                worker, task, attempt = running.pop(future)
                error = future.exception()
                if error is None:
                    idle.append(worker)
                    yield future.result()
                    continue
                worker.kill()
                started.append(Worker())
                idle.append(started[-1])
                if attempt < ATTEMPTS:
                    waiting.appendleft((task, attempt + 1))
                else:
                    died = f"the worker died {ATTEMPTS} times: {first_line(error)}"
                    yield result_of(task, [], died)
    finally:
        for worker in started:  # also one whose task was being submitted when a signal came
            worker.kill()
