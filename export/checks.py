"""Checks of exported files: images, and the Keras model's outputs for them."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from regnet_tf._boxes import DIMENSIONS
from regnet_tf._errors import UserError
from regnet_tf._files import read_arrays
from regnet_tf._internals import all_layers

from . import boxes
from .network import DETECTIONS, Network, is_detector
from .photographs import made_images, made_photographs
from .source import Source

_MOST_BYTES = 64 << 20  # of images and outputs together
_MADE_IMAGES = 16
_BATCH_SIZE = 32
_DECIDED = 0.5  # a class is present above this probability, where an image can have several classes
_CLEAR = 0.1  # decisions by less than this difference of probabilities are not counted as changed
_USUAL = 0.99  # share of the images or pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Checks:
    """Images, photographs, and the Keras model's outputs for them.

    Attributes:
        images: uint8 `(count, image_size, image_size, channels)`.
        labels: true classes, int64 `(count,)`; classes of each pixel `(count, height, width)`; or
            0 and 1 for each class `(count, classes)`. None if unknown.
        expected: the Keras model's probabilities `(count, classes)` or `(count, height, width,
            classes)`; the outputs of a detector `(count, anchors, 4 + classes)`. Without a head,
            its features `(count, channels)`.
        features: the features of a classifier `(count, channels)`; None if it has no vectors of
            features.
        photographs: whole photographs, the contents of their files. Empty if files cannot have the
            network's number of channels.
        expected_of_photographs: the same as `expected`, for `photographs` that the model's own
            `Preprocessing` has prepared.
        classifier: whether `expected` are probabilities, or boxes with them.
        multi_label: whether an image can have several classes.
        short_floats: whether the Keras model computes in 16 bits.
        origin: source of the images, as text.
    """

    images: np.ndarray
    labels: np.ndarray | None
    expected: np.ndarray
    photographs: Sequence[bytes]
    expected_of_photographs: np.ndarray
    classifier: bool
    multi_label: bool
    short_floats: bool
    origin: str
    features: np.ndarray | None = None

    @classmethod
    def make(cls, source: Source, network: Network) -> "Checks":
        """Returns the checks of a `Source`; it makes pictures if the source has none."""
        images, labels, origin = _images(source)
        photographs = source.examples.photographs if source.examples else ()
        photographs = photographs or made_photographs(images)
        prepare = source.preprocessing
        answer = _Reference(source.model, network)
        normalized = [prepare.normalize(part) for part in _parts(images)]
        expected = np.concatenate([answer(part) for part in normalized])
        of_photographs = [answer(prepare(photograph)) for photograph in photographs]
        return cls(
            images,
            labels,
            expected,
            photographs,
            np.concatenate([expected[:0], *of_photographs]),
            classifier=answer.classifier,
            multi_label=network.is_multi_label,
            short_floats=_computes_in_short_floats(source.model),
            origin=origin,
            features=answer.features(normalized),
        )

    def of(self, output: str | None) -> "Checks":
        """Returns the checks of files that give an output: "features", or None for `expected`.

        Raises:
            UserError: if the network has no such output.
        """
        if output is None:
            return self
        if self.features is None:
            raise UserError("the checks have no features to compare with")
        return dataclasses.replace(
            self,
            labels=None,
            expected=self.features,
            photographs=(),
            expected_of_photographs=self.features[:0],
            classifier=False,
        )

    @classmethod
    def read(cls, path: Path) -> "Checks":
        """Reads the checks from a file that `write` wrote.

        Raises:
            UserError: if the file is damaged.
        """
        try:
            arrays = read_arrays(path)
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}") from error
        fault = _fault(arrays)
        if fault:
            raise UserError(f"{path} is damaged: {fault}")
        ends = np.cumsum(arrays["photograph_sizes"])[:-1]
        parts = np.split(arrays["photographs"], ends) if len(arrays["photograph_sizes"]) else []
        return cls(
            arrays["images"],
            arrays.get("labels"),
            arrays["expected"],
            [part.tobytes() for part in parts],
            arrays["expected_of_photographs"],
            bool(arrays["classifier"]),
            bool(arrays["multi_label"]),
            bool(arrays["short_floats"]),
            str(arrays["origin"]),
            arrays.get("features"),
        )

    def write(self, path):
        """Writes an `.npz` file."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        arrays["photographs"] = np.frombuffer(b"".join(self.photographs), "uint8")
        arrays["photograph_sizes"] = np.array([len(one) for one in self.photographs], "int64")
        np.savez_compressed(path, **arrays)

    def compare(self, run: Callable) -> dict:
        """Checks an exported file.

        Args:
            run: a `regnet_tf.runtimes.Runtime`, or a function of images.

        Returns:
            Dict: "max_difference", the largest absolute difference from the Keras model's output;
            "usual_difference", the largest one in 99 % of the images or pixels; "cosine", the
            lowest cosine similarity with it. If the file takes whole photographs, also
            "photographs", the largest difference for them. For classifiers also, in percent:
            "top1_agreement", the share of equal decisions; "changed", the share of other decisions
            where the Keras model clearly prefers its own, by 0.1; and "accuracy", None if the true
            classes are unknown.

        The decisions of a detector are the detections of the Keras model, see `export.boxes`.

        Raises:
            UserError: if the outputs have another shape.
        """
        outputs = np.concatenate([run(part) for part in _parts(self.images)])
        compared = {
            "max_difference": _difference(outputs, self.expected),
            "usual_difference": self._usual_difference(outputs),
            "cosine": float(_cosines(outputs, self.expected).min()),
        }
        run_files = getattr(run, "run_files", None)
        if run_files is not None and len(self.photographs):
            outputs_of_photographs = run_files(self.photographs)
            compared["photographs"] = _difference(
                outputs_of_photographs, self.expected_of_photographs
            )
        if self._of_boxes:
            agreement = boxes.agreement(outputs, self.expected)
            return compared | agreement._asdict() | {"accuracy": None}
        if self.classifier:
            same = self._decided(outputs) == self._decided(self.expected)
            compared["top1_agreement"] = 100 * float(same.mean())
            compared["changed"] = 100 * float((self._preference(outputs) > _CLEAR).mean())
            compared["accuracy"] = self._accuracy(outputs)
        return compared

    @property
    def scale(self) -> float:
        """The largest absolute value of `expected`."""
        return float(np.abs(self.expected).max())

    @property
    def decisions(self) -> int:
        """Number of decisions: images or pixels; for several labels each class of each image."""
        if self._of_boxes:
            return max(1, boxes.count(self.expected))
        return self._decided(self.expected).size

    @property
    def accuracy(self) -> float | None:
        """The Keras model's accuracy in percent; None if the true classes are unknown."""
        return self._accuracy(self.expected)

    @property
    def _of_boxes(self):
        return self.expected.ndim == DIMENSIONS

    def _usual_difference(self, outputs):
        """Returns the largest difference from the Keras model in all but 1 % of the vectors."""
        largest = np.abs(outputs - self.expected).max(-1)
        return float(np.quantile(largest, _USUAL, method="lower"))

    def _decided(self, outputs):
        """Returns the classes that the outputs decide for, to compare element by element."""
        return outputs > _DECIDED if self.multi_label else outputs.argmax(-1)

    def _preference(self, outputs):
        """Returns by how much the Keras model prefers its decisions; 0 for equal decisions."""
        if self.multi_label:
            other = self._decided(outputs) != self._decided(self.expected)
            return np.where(other, 2 * np.abs(self.expected - _DECIDED), 0)
        decided = self._decided(outputs)[..., None]
        return self.expected.max(-1) - np.take_along_axis(self.expected, decided, -1)[..., 0]

    def _accuracy(self, outputs):
        if self.labels is None or not self.classifier or self._of_boxes:
            return None
        if self.labels.ndim == 2:
            right = (outputs > _DECIDED) == (self.labels > 0)
        else:
            counted = self.labels < outputs.shape[-1]  # not the pixels to ignore
            right = (outputs.argmax(-1) == self.labels)[counted]
        return 100 * float(right.mean())


#: Array in the file of checks -> kinds of its numbers, as in `np.dtype.kind`, and dimensions.
_ARRAYS = {
    "images": ("u", (4,)),
    "expected": ("f", (2, 3, 4)),
    "photographs": ("u", (1,)),
    "photograph_sizes": ("i", (1,)),
    "expected_of_photographs": ("f", (2, 3, 4)),
    **dict.fromkeys(("classifier", "multi_label", "short_floats"), ("b", (0,))),
    "origin": ("U", (0,)),
}


def _fault(arrays):
    """Returns what is wrong with the arrays of a file of checks; None if they are right."""
    for name, (kinds, dimensions) in _ARRAYS.items():
        if name not in arrays:
            return f"it lacks {name}"
        array = arrays[name]
        if array.dtype.kind not in kinds or array.ndim not in dimensions:
            return f"{name} is {array.dtype} of shape {array.shape}"
    images, expected, sizes = (arrays[name] for name in ("images", "expected", "photograph_sizes"))
    of_photographs = arrays["expected_of_photographs"]
    labels, features = arrays.get("labels"), arrays.get("features")
    fits = (
        0 < len(images) == len(expected)
        and images.dtype == arrays["photographs"].dtype == np.uint8
        and (sizes >= 0).all()
        and sizes.sum() == arrays["photographs"].size
        and of_photographs.shape == (len(sizes), *expected.shape[1:])
        and np.isfinite(expected).all()
        and np.isfinite(of_photographs).all()
        and (labels is None or _are_labels(labels, expected))
        and (features is None or _are_features(features, expected))
    )
    return None if fits else "its arrays do not fit each other"


def _are_labels(labels, expected):
    shapes = ((), expected.shape[1:-1], expected.shape[1:])  # of an image, its pixels, its classes
    return (
        labels.dtype.kind in "uib"
        and labels.shape[:1] == expected.shape[:1]
        and labels.shape[1:] in shapes
    )


def _are_features(features, expected):
    shaped = features.ndim == 2 and len(features) == len(expected)
    return shaped and features.dtype.kind == "f" and bool(np.isfinite(features).all())


class _Reference:
    """The Keras model as a function from its input to probabilities or features."""

    def __init__(self, model, network):
        self._network = network
        self.classifier = not {"probabilities", DETECTIONS}.isdisjoint(network.outputs)
        self._model = model if self.classifier else network.features

    def __call__(self, inputs):
        outputs = keras.ops.convert_to_numpy(self._model(inputs, training=False))
        if self._network.softmax_is_assumed:
            outputs = keras.ops.convert_to_numpy(keras.ops.softmax(outputs))
        return outputs.astype("float32")

    def features(self, parts):
        """Returns the features of a classifier for parts of its input; None without them."""
        model = self._network.features
        if model is None or not self.classifier:
            return None
        outputs = [keras.ops.convert_to_numpy(model(part, training=False)) for part in parts]
        return np.concatenate(outputs).astype("float32")


def _computes_in_short_floats(model):
    return any("16" in layer.compute_dtype for layer in all_layers(model))


def _images(source):
    examples, prepare = source.examples, source.preprocessing
    if examples is None:
        images = made_images(_MADE_IMAGES, prepare.image_size, prepare.channels)
        return images, None, "generated images"
    size = prepare.image_size
    outputs = 4 * math.prod(side or size for side in source.model.outputs[0].shape[1:])
    count = max(1, _MOST_BYTES // (examples.test[0].nbytes + outputs))
    known = examples.test_labels is not None and not is_detector(source.model)
    labels = None if not known else examples.test_labels[:count]
    return examples.test[:count], labels, examples.origin


def _difference(outputs, expected):
    if outputs.shape != expected.shape:
        raise UserError(f"gives outputs of shape {outputs.shape} instead of {expected.shape}")
    return float(np.abs(outputs - expected).max())


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
        runs: dict: name -> `regnet_tf.runtimes.Runtime`, or a function of images.
        images: images to take batches from, uint8 `(count, height, width, 3)`.
        repeats: number of turns; the results are medians over them.
        seconds: minimum duration of a turn.

    Returns:
        Dict: name -> dict with "latency_ms" for a batch of one image (for a `.tflite` file, its
        own batch size), and "images_per_second" in batches of 32.
    """
    measured: dict[str, dict[str, float]] = {}
    sizes = {name: getattr(run, "batch_size", None) or 1 for name, run in runs.items()}
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
