"""Turns: in one process, each file of a group runs for a moment, then the next, again and again."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from regnet_tf._cpu import onednn
from regnet_tf._errors import MissingPackageError
from regnet_tf.runtimes.saved_model import limit_tensorflow

from .contenders import Contender

#: Batch sizes for latency and for throughput.
BATCHES = (1, 32)


def take_turns(
    contenders: Sequence[Contender],
    threads: int,
    repeats: int,
    seconds: float,
    image_size: int,
    title: str,
) -> dict:
    """Measures files in a process that has not computed anything before.

    A machine that slows down slows all of them.

    Args:
        contenders: list of `Contender`s.
        threads: number of threads of each runtime.
        repeats: number of turns.
        seconds: duration of a file's turn.
        image_size: side of the images, in pixels, for files that take any.
        title: start of the lines about progress, which go to standard error.

    Returns:
        Dict: "onednn", TensorFlow's kernels; "seconds": name -> list for each of `BATCHES`, with
        the median seconds of a call in each turn; "left_out": name -> reason, for the files whose
        runtime is not installed.

    Raises:
        UserError: if a file is damaged or unknown, or no file has its runtime.
    """
    limit_tensorflow(threads)
    opened, left_out = {}, {}
    for contender in contenders:
        try:
            opened[contender.name] = contender.open(contender.path, threads)
        except MissingPackageError as error:
            left_out[contender.name] = str(error)
    if not opened:
        raise MissingPackageError(next(iter(left_out.values())))
    taken: dict[str, list[list[float]]] = {name: [[] for _ in BATCHES] for name in opened}
    for place, batch in enumerate(BATCHES):
        calls = {name: one.bind(_images(one, batch, image_size)) for name, one in opened.items()}
        for call in calls.values():
            call()  # the first call traces and compiles
        for turn in range(1, repeats + 1):
            _say(f"{title}: batch {batch}, turn {turn} of {repeats}")
            for name, call in calls.items():
                taken[name][place].append(seconds_of_call(call, seconds))
    return {"onednn": onednn(), "seconds": taken, "left_out": left_out}


def seconds_of_call(call: Callable, seconds: float) -> float:
    """Returns the median seconds of a call, repeated for a number of seconds.

    The first call does not count, as the caches hold another network's weights. It does count if it
    takes the whole time: so long a call hardly feels the caches.
    """
    times = [_timed(call)]
    if times[0] < seconds:
        times = []
        while not times or sum(times) < seconds:
            times.append(_timed(call))
    return statistics.median(times)


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _images(opened, batch, image_size):
    size = opened.image_size or image_size
    shape = (batch, size, size, opened.channels or 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")


def _say(text):
    print(text, file=sys.stderr, flush=True)
