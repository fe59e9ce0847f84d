"""What the clients return: predictions, the status of versions, and errors."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable
from typing import Self

#: What a prediction must consist of, for error messages.
OUTPUTS = "the probabilities, classes and labels of an exported RegNet"


class ServingError(ValueError):
    """Raised when a request fails; the message gives the reason in one line.

    Attributes:
        code: gRPC status code, over REST too: "INVALID_ARGUMENT", "UNAVAILABLE", ...
        images: indices in the batch of the images that the server's message names. A server that
            batches the requests of several clients counts in its own batch.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        named = re.search(r"\bimage\W+(\d+(?:[ .]+\d+)*)", message)
        bad = named[1] if named and code == "INVALID_ARGUMENT" else ""
        self.images = tuple(map(int, re.findall(r"\d+", bad)))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The model's prediction for one image.

    Attributes:
        probabilities: `classes` floats, one for each class, in the order of the classes.
        classes: `k` integers, the indices of the best classes, best first.
        labels: `k` strings, the names of the best classes.
    """

    probabilities: tuple[float, ...]
    classes: tuple[int, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, probabilities: Iterable, classes: Iterable, labels: Iterable) -> Self:
        """Returns a prediction of any three sequences."""
        return cls(tuple(probabilities), tuple(classes), tuple(labels))

    @property
    def best(self) -> list[tuple[str, float]]:
        """Names and probabilities of the best classes, best first."""
        scores = (self.probabilities[index] for index in self.classes)
        return list(zip(self.labels, scores, strict=True))


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version of a model on the server.

    Attributes:
        version: version number.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error: why the version could not be loaded; empty without an error.
    """

    version: int
    state: str
    error: str = ""


@contextlib.contextmanager
def expecting(what):
    """Raises a `ServingError` if the code inside cannot parse the answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ServingError("UNKNOWN", f"the answer is not {what}") from error


def first_line(message):
    """Returns the first line of a TensorFlow message, without node names."""
    lines = re.sub(r"\{\{.*?\}\}\s*", "", message or "").strip().splitlines()
    return lines[0].strip() if lines else "no reason given"
