"""Checks of exported files: images, and the Keras model's outputs for them."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._files import read_arrays

from .network import Network, find_classifier
from .source import Source

_MOST_BYTES = 64 << 20  # of images and outputs together
_RANDOM_IMAGES = 16
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Checks:
    """Images and the Keras model's outputs for them.

    Attributes:
        images: uint8 `(count, image_size, image_size, 3)`.
        labels: true classes, int64 `(count,)` or `(count, height, width)`; None if unknown.
        expected: the Keras model's probabilities `(count, classes)` or `(count, height, width,
            classes)`. Without a classifier, its features `(count, channels)`.
        classifier: whether the model has a classifier.
        origin: source of the images, as text.
    """

    images: np.ndarray
    labels: np.ndarray | None
    expected: np.ndarray
    classifier: bool
    origin: str

    @classmethod
    def make(cls, source: Source, network: Network) -> "Checks":
        """Returns the checks of a `Source`; it uses random images if the source has none."""
        images, labels, origin = _images(source)
        normalized = source.preprocessing.normalize
        outputs = [
            np.asarray(source.model(normalized(part), training=False)) for part in _parts(images)
        ]
        expected = np.concatenate(outputs)
        classifier = "logits" in network.outputs
        found = find_classifier(source.model) if classifier else None
        if found is not None and found.activation is None:
            expected = network.probabilities(expected).numpy()
        elif expected.ndim == 4 and not classifier:
            expected = expected.mean((1, 2))
        return cls(images, labels, expected.astype("float32"), classifier, origin)

    @classmethod
    def read(cls, path: Path) -> "Checks":
        """Reads the checks from a file that `write` wrote."""
        try:
            arrays = read_arrays(path)
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}") from error
        return cls(
            arrays["images"],
            arrays.get("labels"),
            arrays["expected"],
            bool(arrays["classifier"]),
            str(arrays["origin"]),
        )

    def write(self, path):
        """Writes an `.npz` file."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        np.savez_compressed(path, **arrays)

    def compare(self, run: Callable) -> dict:
        """Checks an exported file.

        Args:
            run: function that `export.runners` returns.

        Returns:
            Dict: "max_difference", the largest absolute difference from the Keras model's output;
            "cosine", the lowest cosine similarity with it. For classifiers also "top1_agreement"
            and "accuracy", in percent; "accuracy" is None if the true classes are unknown.

        Raises:
            UserError: if the outputs have another shape.
        """
        outputs = np.concatenate([run(part) for part in _parts(self.images)])
        if outputs.shape != self.expected.shape:
            raise UserError(
                f"gives outputs of shape {outputs.shape} instead of {self.expected.shape}"
            )
        compared = {
            "max_difference": float(np.abs(outputs - self.expected).max()),
            "cosine": float(_cosines(outputs, self.expected).min()),
        }
        if self.classifier:
            same = outputs.argmax(-1) == self.expected.argmax(-1)
            compared["top1_agreement"] = 100 * float(same.mean())
            compared["accuracy"] = self._accuracy(outputs)
        return compared

    @property
    def accuracy(self) -> float | None:
        """The Keras model's accuracy in percent; None if the true classes are unknown."""
        return self._accuracy(self.expected)

    def _accuracy(self, outputs):
        if self.labels is None or not self.classifier:
            return None
        return 100 * float((outputs.argmax(-1) == self.labels).mean())


def _images(source):
    examples, size = source.examples, source.preprocessing.image_size
    if examples is None:
        levels = np.random.default_rng(0).integers(0, 256, (_RANDOM_IMAGES, size, size, 3))
        return levels.astype("uint8"), None, "random levels"
    outputs = 4 * math.prod(side or size for side in source.model.output_shape[1:])
    count = max(1, _MOST_BYTES // (examples.test[0].nbytes + outputs))
    labels = None if examples.test_labels is None else examples.test_labels[:count]
    return examples.test[:count], labels, examples.origin


def _parts(images):
    return [images[i : i + _BATCH_SIZE] for i in range(0, len(images), _BATCH_SIZE)]


def _cosines(a, b):
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(-1) / np.maximum(norms, np.finfo("float32").tiny)


def measure_speed(
    runs: Mapping[str, Callable], images: np.ndarray, repeats: int = 5, seconds: float = 0.2
) -> dict[str, dict[str, float]]:
    """Measures latency and throughput.

    The files take turns, so a machine that slows down slows all of them.

    Args:
        runs: dict: name -> function that `export.runners` returns.
        images: images to take batches from, uint8 `(count, height, width, 3)`.
        repeats: number of turns; the results are medians over them.
        seconds: minimum duration of a turn.

    Returns:
        Dict: name -> dict with "latency_ms" for a batch of one image (for a `.tflite` file, its
        own batch size), and "images_per_second" in batches of 32.
    """
    measured: dict[str, dict[str, float]] = {}
    sizes = {name: getattr(run, "batch_size", 1) for name, run in runs.items()}
    for kind in ("latency_ms", "images_per_second"):
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(repeats + 1):
            for name, run in runs.items():
                size = sizes[name] if kind == "latency_ms" else _BATCH_SIZE
                taken = _seconds(run, np.resize(images, (size, *images.shape[1:])), seconds)
                if turn:  # turn 0 is the warm-up
                    times[name].append(taken)
        for name in runs:
            taken = statistics.median(times[name])
            value = 1000 * taken if kind == "latency_ms" else _BATCH_SIZE / taken
            measured.setdefault(name, {})[kind] = value
    return measured


def _seconds(run, images, seconds):
    """Returns the mean seconds of a call, over `seconds` seconds of calls."""
    start, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not calls:
        run(images)
        calls += 1
    return passed / calls
