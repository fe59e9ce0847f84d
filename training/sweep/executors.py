"""Where networks are trained: in this process, or in several of this machine.

An executor is a generator function of tasks, workers and options; it yields the results as they
come. What it started ends with it.
"""

import concurrent.futures
import multiprocessing
from collections import deque

from regnet_command import start_worker

from regnet_tf._errors import first_line

from .network import result_of, train_network

ATTEMPTS = 2  # of a network whose worker dies


def inline(tasks, workers, address):
    """One network after the other, in this process."""
    yield from map(train_network, tasks)


def processes(tasks, workers, address):
    """In processes of this machine. One that is killed is replaced, and its network tried again.

    Args:
        tasks: list of what `train_network` takes.
        workers: how many processes.
        address: not used.

    Yields:
        What `train_network` returns; a network whose worker died twice is reported as failed.
    """
    waiting = deque((task, 1) for task in tasks)
    idle, running = [_Worker() for _ in range(min(workers, len(tasks)))], {}
    try:
        while waiting or running:
            while idle and waiting:
                worker, (task, attempt) = idle.pop(), waiting.popleft()
                running[worker.submit(task)] = worker, task, attempt
            done, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                worker, task, attempt = running.pop(future)
                error = future.exception()
                if error is None:
                    idle.append(worker)
                    yield future.result()
                    continue
                worker.kill()
                idle.append(_Worker())
                if attempt < ATTEMPTS:
                    waiting.appendleft((task, attempt + 1))
                else:
                    died = f"the worker died {ATTEMPTS} times: {first_line(error)}"
                    yield result_of(task, [], died)
    finally:
        for worker in [*idle, *(worker for worker, *_ in running.values())]:
            worker.kill()


class _Worker:
    """A pool of one process: when it dies, it is known whose network it trained."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self._pool = concurrent.futures.ProcessPoolExecutor(1, context, start_worker)
        self._processes = set()

    def submit(self, task):
        """Starts a network; the process starts with the first one."""
        before = set(multiprocessing.active_children())
        future = self._pool.submit(train_network, task)
        self._processes |= set(multiprocessing.active_children()) - before
        return future

    def kill(self):
        """Ends the process, whatever it does."""
        for process in self._processes:
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
