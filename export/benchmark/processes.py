"""Processes that measure a group of files, each in its regime."""

from concurrent.futures.process import BrokenProcessPool
from typing import Any

from regnet_command.workers import Worker

from regnet_tf._environment import environment_variables
from regnet_tf._errors import UserError
from regnet_tf._regimes import REGIMES

from .contenders import Group
from .turns import take_turns


def measure(group: Group, regime: str, threads: int, title: str, options: Any) -> dict:
    """Measures files in a fresh process, since TensorFlow reads its settings once.

    Args:
        group: the `Group`.
        regime: name of the regime, which sets variables of the process.
        threads: number of threads.
        title: start of the lines about progress.
        options: object with the attributes `repeats`, `seconds` and `image_size`.

    Returns:
        Return value of `take_turns`.

    Raises:
        UserError: if a file is damaged or unknown, or the process died.
    """
    worker = Worker()
    settings = (threads, options.repeats, options.seconds, options.image_size)
    try:
        with environment_variables(REGIMES[regime]):
            future = worker.submit(take_turns, group.contenders, *settings, title)
        return future.result()
    except BrokenProcessPool as error:
        raise UserError(f"{title}: the process died, out of memory?") from error
    finally:
        worker.kill()
