"""What an exported file is checked by: images, and what the Keras model makes of them."""

import dataclasses
import math
import statistics
import time

import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._files import read_arrays

from .network import find_classifier

_MOST_BYTES = 64 << 20  # of images and answers
_RANDOM_IMAGES = 16
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Checks:
    """Images and the answers of the network that was exported.

    Attributes:
        images: uint8 `(count, image_size, image_size, 3)`.
        labels: true classes, int64 `(count,)` or `(count, height, width)`; None where they are
            unknown.
        expected: the Keras model's probabilities `(count, classes)`, or `(count, height, width,
            classes)`; or its features `(count, channels)` where it has no classifier.
        classifier: which of them.
        origin: where the images come from.
    """

    images: np.ndarray
    labels: np.ndarray | None
    expected: np.ndarray
    classifier: bool
    origin: str

    @classmethod
    def make(cls, source, network) -> "Checks":
        """The checks of a `Source`; on random images where it has none."""
        images, labels, origin = _images(source)
        normalized = source.preprocessing.normalize
        outputs = [
            np.asarray(source.model(normalized(part), training=False)) for part in _parts(images)
        ]
        expected = np.concatenate(outputs)
        classifier = "logits" in network.outputs
        if classifier and find_classifier(source.model).activation is None:
            expected = network.probabilities(expected).numpy()
        elif expected.ndim == 4 and not classifier:
            expected = expected.mean((1, 2))
        return cls(images, labels, expected.astype("float32"), classifier, origin)

    @classmethod
    def read(cls, path) -> "Checks":
        """Those that `write` wrote."""
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

    def compare(self, run) -> dict:
        """Checks an exported file.

        Args:
            run: function of `export.runners`.

        Returns:
            Dict: "max_difference" from the Keras model's output, "cosine" of the two at the worst
            image, and of classifiers "top1_agreement" and "accuracy" in percent, the latter None
            where the true classes are unknown.

        Raises:
            UserError: for outputs of another shape.
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
        """The Keras model's own, in percent; None where the true classes are unknown."""
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


def measure_speed(runs, images, repeats=5, seconds=0.2) -> dict:
    """Latency and throughput, in turns, so that a machine's moods meet all alike.

    Args:
        runs: name -> function of `export.runners`.
        images: uint8 `(count, height, width, 3)`, to take batches from.
        repeats: turns; medians of them are given.
        seconds: at least so long a turn.

    Returns:
        Name -> dict: "latency_ms" of a batch of one image (of a `.tflite` file's own batch), and
        "images_per_second" in batches of 32.
    """
    measured = {}
    sizes = {name: getattr(run, "batch_size", 1) for name, run in runs.items()}
    for kind in ("latency_ms", "images_per_second"):
        times = {name: [] for name in runs}
        for turn in range(repeats + 1):
            for name, run in runs.items():
                size = sizes[name] if kind == "latency_ms" else _BATCH_SIZE
                taken = _seconds(run, np.resize(images, (size, *images.shape[1:])), seconds)
                if turn:  # the first one is to warm up
                    times[name].append(taken)
        for name in runs:
            taken = statistics.median(times[name])
            value = 1000 * taken if kind == "latency_ms" else _BATCH_SIZE / taken
            measured.setdefault(name, {})[kind] = value
    return measured


def _seconds(run, images, seconds):
    """Of one call; the mean of as many as there is time for."""
    start, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not calls:
        run(images)
        calls += 1
    return passed / calls
