"""The interface of a task."""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import keras
import tensorflow as tf

from regnet_tf import RegNetConfig

from ..recipes.parts import Images, Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Task(abc.ABC):
    """What a network learns: its outputs, metrics and results.

    Attributes:
        score: name of the metric that selects the best epoch, a key of `named_metrics`. Higher is
            better.
    """

    metrics: ClassVar[tuple[str, ...]]
    score: ClassVar[str]

    @abc.abstractmethod
    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns a new network.

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
            labels: labels of a batch, int64.
            probabilities: outputs of the network for the batch, float32.

        Returns:
            Tensor `(metrics, batch)`, float32. Its means over all images are the input of
            `named_metrics`.
        """

    @abc.abstractmethod
    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns metrics by name: "loss", "accuracy" and those of the task.

        Args:
            means: mean of each row of `measure` over all images.
        """

    @abc.abstractmethod
    def cost(self, model: keras.Model, config: RegNetConfig, image_size: int) -> dict[str, int]:
        """Returns the cost of a network: the number of "parameters", and more if it is known.

        Args:
            model: a network as returned by `build_network`.
            config: its `RegNetConfig`.
            image_size: side of the images, in pixels.
        """

    @abc.abstractmethod
    def evaluate(
        self, model: keras.Model, batches: tf.data.Dataset, class_names: Sequence[str], title: str
    ) -> tuple[dict, "dict[str, Figure]"]:
        """Runs the final test of a network.

        Args:
            model: the network.
            batches: a `tf.data.Dataset` of `(images, labels)` batches; may be read twice.
            class_names: names of the classes.
            title: title of the figures.

        Returns:
            `(results, figures)`: the results for `run.json` as JSON types, and figures of
            matplotlib by file name.
        """

    @abc.abstractmethod
    def summary(self, results: dict) -> str:
        """Returns the results of `evaluate` in one line."""
