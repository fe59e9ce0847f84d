"""The interface of a task."""

import abc
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from regnet_tf import RegNetConfig
from regnet_tf._predictors import Predictor

from ..recipes.parts import Images, Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: All figures and tables of an `Evaluation`.
FILES = {
    "confusion.png": "what each class was taken for, in percent",
    "classes.png": "score of each class",
    "predictions.png": "test images with predictions",
    "mistakes.png": "the most confident mistakes",
    "predictions.csv": "truth and prediction of each test image",
    "classes.csv": "scores of each class",
    "confusion.csv": "how many images of each class went to which",
}


class Evaluation(NamedTuple):
    """The outcome of a final test.

    Attributes:
        results: the results for `run.json` as JSON types; "notes" is a list of sentences.
        figures: figures of matplotlib by file name, the `.png` names of `FILES`.
        tables: rows by file name, the `.csv` names of `FILES`; the first row is the header.
    """

    results: dict[str, Any]
    figures: "dict[str, Figure]"
    tables: dict[str, list[Sequence[Any]]]


class Task(abc.ABC):
    """What a network learns: its outputs, metrics and results.

    Attributes:
        metrics: names of the test metrics of an epoch, the keys of `named_metrics`.
        score: the one of `metrics` that selects the best epoch by default. Higher is better,
            except for "loss".
        files: those of `FILES` that its final test writes.
    """

    files: ClassVar[dict[str, str]] = FILES
    metrics: ClassVar[tuple[str, ...]]
    score: ClassVar[str]

    @abc.abstractmethod
    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a new network with random weights.

        Args:
            network: the `Network` of a recipe.
            images: the `Images` of the recipe: input shape and preprocessing.
            class_names: names of the classes.

        Returns:
            A `keras.Model` from images to the probabilities of all classes. It carries its
            preprocessing and class names.
        """

    @abc.abstractmethod
    def measure(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns the metrics of each image. It runs inside a graph, on every replica.

        Args:
            labels: labels of a batch, as `training.data.batches.test_examples` yields them.
            probabilities: outputs of the network for the batch, float32.

        Returns:
            Tensor `(numbers, batch)`, float32. Its means over all images are the input of
            `named_metrics`.
        """

    @abc.abstractmethod
    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns the `metrics` by name.

        Args:
            means: mean of each row of `measure` over all images.
        """

    def cost(self, model: keras.Model, config: RegNetConfig, image_size: int) -> dict[str, int]:
        """Returns the cost of a network: the number of trainable "parameters", or more if known.

        Args:
            model: a network as returned by `build_network`.
            config: its `RegNetConfig`.
            image_size: side of the images, in pixels.
        """
        return {"parameters": sum(math.prod(v.shape) for v in model.trainable_variables)}

    @abc.abstractmethod
    def evaluate(
        self,
        predictor: Predictor,
        batches: Iterable,
        paths: Sequence[str] | None,
        class_names: Sequence[str],
        title: str,
        grad_cam: bool = False,
    ) -> Evaluation:
        """Runs the final test of a network. Its scores are exact.

        Args:
            predictor: the network, see `regnet_tf._predictors`.
            batches: `(images, labels)` batches, read once.
            paths: file names of the images, in the order of the batches; None if they have none.
            class_names: names of the classes, in the order of the network's outputs.
            title: title of the figures.
            grad_cam: whether the sheet of mistakes shows Grad-CAM's heat maps.

        Raises:
            UserError: if a score is not finite.
        """

    @abc.abstractmethod
    def headline(self, results: dict) -> str:
        """Returns the main scores among the results of `evaluate`."""

    def written(self, files: dict[str, str]) -> dict[str, str]:
        """Returns files by name without those that only other tasks write."""
        return {
            name: what for name, what in files.items() if name not in FILES or name in self.files
        }

    def summary(self, results: dict) -> str:
        """Returns the results of `evaluate` in one line: the main scores and all notes."""
        return ". ".join((self.headline(results), " ".join(results["notes"]))).rstrip(". ")
