"""What the clients return: predictions, the status of versions, and errors."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable
from typing import Self

#: What a prediction must consist of, for error messages.
OUTPUTS = "the probabilities, classes and labels of an exported RegNet"

_MOST_PROBABLE = 1 + 1e-4  # room for rounding
_STATES = ("UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END")
_LONGEST_MESSAGE = 500  # characters


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
        named = re.search(r"\bimage\W+(\d+(?:[ .]+\d+)*)", message[:_LONGEST_MESSAGE])
        bad = named[1] if named and code == "INVALID_ARGUMENT" else ""
        self.images = tuple(map(int, re.findall(r"\d+", bad)))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The model's prediction for one image.

    Attributes:
        probabilities: `classes` floats, one for each class, in the order of the classes.
        classes: `k` integers, the indices of the best classes, best first.
        labels: `k` strings, the names of the best classes.

    Raises:
        ValueError: if a probability is not from 0 to 1, a class is not one of the probabilities',
            or the labels do not fit the classes.
    """

    probabilities: tuple[float, ...]
    classes: tuple[int, ...]
    labels: tuple[str, ...]

    def __post_init__(self):
        count = len(self.probabilities)
        wrong = [
            *(one for one in self.probabilities if not _is_probability(one)),
            *(one for one in self.classes if type(one) is not int or not 0 <= one < count),
            *(one for one in self.labels if not isinstance(one, str)),
        ]
        if wrong:
            raise ValueError(f"it holds {_shortened(repr(wrong[0]), 40)}")
        if not 0 < len(self.classes) == len(self.labels) <= count:
            raise ValueError(
                f"it holds {len(self.classes)} classes and {len(self.labels)} labels of {count}"
            )

    @classmethod
    def of(cls, probabilities: Iterable, classes: Iterable, labels: Iterable) -> Self:
        """Returns a prediction of any three sequences."""
        return cls(tuple(probabilities), tuple(classes), tuple(labels))

    @property
    def best(self) -> list[tuple[str, float]]:
        """Names and probabilities of the best classes, best first."""
        scores = (self.probabilities[index] for index in self.classes)
        return list(zip(self.labels, scores, strict=True))


def _is_probability(value):
    return type(value) in (int, float) and 0 <= value <= _MOST_PROBABLE


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version of a model on the server.

    Attributes:
        version: version number; None if the server gives none.
        state: "UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error: why the version could not be loaded; empty without an error.

    Raises:
        ValueError: for any other state.
    """

    version: int | None
    state: str
    error: str = ""

    def __post_init__(self):
        if self.state not in _STATES:
            raise ValueError(f"it holds the state {_shortened(repr(self.state), 40)}")


@contextlib.contextmanager
def expecting(what):
    """Raises a `ServingError` if the code inside cannot parse the answer."""
    try:
        yield
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = first_line(str(error))
        raise ServingError("UNKNOWN", f"the answer is not {what}: {reason}") from error


def check_count(predictions, count):
    """Raises a ValueError unless there are `count` predictions."""
    if len(predictions) != count:
        raise ValueError(f"it holds {len(predictions)} predictions for {count} images")


def first_line(message):
    """Returns the first line of a TensorFlow message, without node names, as one can print it.

    Control characters become escapes.
    """
    text = _shortened(message or "", 4 * _LONGEST_MESSAGE)
    lines = re.sub(r"\{\{.*?\}\}\s*", "", text).strip().splitlines()
    line = lines[0].strip() if lines else "no reason given"
    line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    return _shortened(line, _LONGEST_MESSAGE)


def _shortened(text, most):
    return text if len(text) <= most else f"{text[:most]}..."
