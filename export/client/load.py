"""Load test of a model server, with limited concurrency and duration."""

import collections
import dataclasses
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from .answers import ServingError
from .base import Client

_PERCENTILES = (50, 90, 95, 99)
_MOST_MESSAGES = 10  # that are printed


@dataclasses.dataclass(frozen=True)
class Load:
    """Result of a load test.

    Attributes:
        seconds: duration from the start to the last answer.
        batch_size: number of images in a request.
        latencies: seconds of each answered request, including its retries, in ascending order.
        retries: number of retries, over all requests.
        failures: dict: error message -> number of requests that failed with it, most frequent
            first.
    """

    seconds: float
    batch_size: int
    latencies: tuple[float, ...]
    retries: int
    failures: dict[str, int]

    @property
    def errors(self) -> int:
        """Number of requests that got no answer."""
        return sum(self.failures.values())

    def percentile(self, percent: float) -> float:
        """Returns a percentile of the latencies in seconds; NaN without answers."""
        if not self.latencies:
            return math.nan
        return self.latencies[max(0, math.ceil(len(self.latencies) * percent / 100) - 1)]

    def lines(self) -> list[str]:
        """Returns the result as lines of text."""
        rate = len(self.latencies) / self.seconds
        named = {f"p{percent}": self.percentile(percent) for percent in _PERCENTILES}
        named["max"] = self.percentile(100)
        milliseconds = ", ".join(f"{name} {1000 * value:.1f}" for name, value in named.items())
        messages = list(self.failures.items())
        others = sum(count for _, count in messages[_MOST_MESSAGES:])
        return [
            f"{len(self.latencies)} requests of {self.batch_size} in {self.seconds:.1f} s",
            f"{rate:.1f} requests/s, {rate * self.batch_size:.1f} images/s",
            f"latency in ms: {milliseconds}",
            f"errors: {self.errors}, retries: {self.retries}",
            *(f"  {count} x {message}" for message, count in messages[:_MOST_MESSAGES]),
            *([f"  {others} x other messages"] if others else []),
        ]


def send_load(
    connect: Callable[[], Client],
    image_files: Sequence[bytes],
    seconds: float,
    concurrency: int = 4,
    batch_size: int = 16,
) -> Load:
    """Sends requests in a closed loop: each client sends the next one after an answer.

    The first request is not counted: it warms up the server, and shows an error at once. When the
    time is over, no request is started or tried again. Requests in flight may take until their
    time-out.

    Args:
        connect: function that returns a new client.
        image_files: contents of JPEG or PNG files, as bytes; the requests cycle through them.
        seconds: duration in which requests are started.
        concurrency: maximum number of requests in flight.
        batch_size: number of images in a request.

    Raises:
        ServingError: if the first request fails.
    """
    images = list(itertools.islice(itertools.cycle(image_files), len(image_files) + batch_size))
    batches = [images[start : start + batch_size] for start in range(len(image_files))]
    with connect() as client:
        client.predict(batches[0])
    stop = threading.Event()
    begin = time.monotonic()

    def work(number):
        with connect() as client:
            client.deadline = begin + seconds
            return _work(client, itertools.islice(itertools.cycle(batches), number, None), stop)

    with ThreadPoolExecutor(concurrency) as executor:
        try:
            done = list(executor.map(work, range(concurrency)))
        finally:
            stop.set()  # on Ctrl-C, or the other threads would run to the end
    latencies, failures, retries = zip(*done, strict=True)
    return Load(
        time.monotonic() - begin,
        batch_size,
        tuple(sorted(itertools.chain(*latencies))),
        sum(retries),
        dict(sum(failures, collections.Counter()).most_common()),
    )


def _work(client, batches, stop):
    """Sends requests until the client's deadline; returns latencies, failures and retries."""
    latencies: list[float] = []
    failures: collections.Counter[str] = collections.Counter()
    for batch in batches:
        begin = time.monotonic()
        if begin >= client.deadline or stop.is_set():
            break
        try:
            client.predict(batch)
        except ServingError as error:
            failures[str(error)] += 1
        else:
            latencies.append(time.monotonic() - begin)
    return latencies, failures, client.retried
