"""How a worker process begins. It imports nothing of the project that imports TensorFlow."""

import multiprocessing
import os
import signal
import threading
from multiprocessing import connection

from training.command import start_tensorflow


def prepare_worker():
    """A worker ends with the process that started it, and leaves Ctrl-C to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sentinel = multiprocessing.parent_process().sentinel
    threading.Thread(target=_end_with, args=(sentinel,), daemon=True).start()
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "3":  # as the parent was started
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]
        start_tensorflow()


def _end_with(sentinel):
    connection.wait([sentinel])
    os._exit(1)
