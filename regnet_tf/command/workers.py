"""Processes that work for a program. They end with it, and leave Ctrl-C to it."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import connection, resource_tracker
from typing import Any

from .process import open_streams
from .starting import defer_library, start_tensorflow


class Worker:
    """A pool of one process. If the process dies, its task is known."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self._pool = concurrent.futures.ProcessPoolExecutor(1, context, _start)
        self._processes: set[Any] = set()

    def submit(self, function: Callable, *arguments: Any) -> concurrent.futures.Future:
        """Submits a task; the first one starts the process."""
        before = set(multiprocessing.active_children())
        with _holding_interrupts():
            future = self._pool.submit(function, *arguments)
            self._processes |= set(multiprocessing.active_children()) - before
        return future

    def kill(self) -> None:
        """Kills the process, even while it works."""
        for process in self._processes:
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _start():
    """Starts a process that ignores Ctrl-C and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    open_streams()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    defer_library()
    start_tensorflow()


def _end_with(sentinel):
    connection.wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def _holding_interrupts():
    """Holds SIGINT back in this process until the end, and in one started meanwhile until `_start`.

    A terminal sends it to both. A process that is being started would end with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signal
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if received:
            signal.raise_signal(signal.SIGINT)
