"""Base class of the clients: it repeats requests after temporary failures."""

import abc
import itertools
import math
import random
import time
from collections.abc import Iterable

from .answers import Prediction, ServingError, VersionStatus

#: Temporary failures, by gRPC's names; the request is tried again. A prediction changes nothing on
#: the server, so it is safe to repeat one whose answer was lost.
TEMPORARY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")

_WORDS = {
    "UNAVAILABLE": "is not available",
    "RESOURCE_EXHAUSTED": "is overloaded",
    "DEADLINE_EXCEEDED": "does not answer in time",
    "INVALID_ARGUMENT": "refuses the request",
    "UNIMPLEMENTED": "cannot be asked",
}
_FIRST_PAUSE = 0.2  # seconds
_LONGEST_PAUSE = 5.0
#: Most bytes of an answer about an image: room for 50,000 classes in indented JSON.
_IMAGE_BYTES = 2 << 20


def largest_answer(images):
    """Returns the most bytes of an answer about a number of images."""
    return (1 << 20) + images * _IMAGE_BYTES


class Client(abc.ABC):
    """Base class of the clients. Use a client in one thread only.

    Args:
        model: name of the model on the server.
        server: host name or address.
        port: port of the server.
        version: version number to ask; the server's newest by default.
        label: label of the version to ask, such as "stable"; give it instead of `version`.
        timeout: seconds for one try, from connecting to the end of the answer.
        retries: maximum number of retries after one of the failures in `TEMPORARY`.

    Attributes:
        retried: number of retries so far, over all requests.
        deadline: time on the clock of `time.monotonic()` after which nothing is tried again.
    """

    def __init__(self, model, server, port, *, version=None, label=None, timeout=10.0, retries=3):
        if version is not None and label is not None:
            raise ValueError("Give a `version` or a `label`, not both.")
        self.model = model
        self.version = version
        self.label = label
        self.timeout = timeout
        self.retries = retries
        self.retried = 0
        self.deadline = math.inf
        self.address = f"[{server}]:{port}" if ":" in server else f"{server}:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @abc.abstractmethod
    def close(self):
        """Closes the connection."""

    @abc.abstractmethod
    def _predict(self, image_files: list[bytes]) -> list[Prediction]:
        """Sends one request; raises a `ServingError` if it fails."""

    @abc.abstractmethod
    def _status(self) -> list[VersionStatus]:
        """Sends one request; raises a `ServingError` if it fails."""

    def predict(self, image_files: Iterable[bytes]) -> list[Prediction]:
        """Classifies a batch of images.

        Args:
            image_files: contents of `batch` image files, as bytes.

        Raises:
            ServingError: if the server cannot be reached or refuses the request.
        """
        image_files = list(image_files)
        return self._tried(self._predict, image_files) if image_files else []

    def status(self) -> list[VersionStatus]:
        """Returns the status of the model's versions on the server: all, or this client's.

        Raises:
            ServingError: if the server cannot be reached or does not know the model.
        """
        return self._tried(self._status)

    def _tried(self, ask, *arguments):
        for tries in itertools.count(1):
            try:
                return ask(*arguments)
            except ServingError as error:
                pause = _pause(tries)
                late = time.monotonic() + pause > self.deadline
                if error.code not in TEMPORARY or tries > self.retries or late:
                    raise self._told(error, tries) from error
            time.sleep(pause)
            self.retried += 1

    def _told(self, error, tries):
        """Returns the error with a message that names the server and what was asked for."""
        words = _WORDS.get(error.code, f"answers {error.code}")
        if error.code == "NOT_FOUND":
            version = "" if self.version is None else f", version {self.version}"
            label = "" if self.label is None else f", label {self.label!r}"
            words = f"has no model {self.model!r}{version}{label}"
        times = f" ({tries} tries)" if tries > 1 else ""
        return ServingError(error.code, f"{self.address} {words}: {error}{times}")


def _pause(tries):
    """Returns the seconds to wait after a number of tries.

    The pause doubles with each try. It is random, so that clients do not retry in step.
    """
    return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2 ** (tries - 1), _LONGEST_PAUSE)
