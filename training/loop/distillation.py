"""Distillation: a network learns from the answers of a trained one, its teacher.

As in "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), with the consistent
views of "Knowledge distillation: A good teacher is patient and consistent" (Beyer et al., 2022):
the teacher sees the very images that the network learns from, after all augmentation.
"""

import dataclasses
import hashlib

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf._internals import logits_of
from regnet_tf._trained import load_trained
from regnet_tf.facts import facts_of
from regnet_tf.layers import Head

from ..data import DataSet
from ..recipes import Recipe
from .checkpoints import local_value

#: Loss of a recipe -> activations of the teachers that fit it.
_ACTIVATIONS = {
    "cross_entropy": (keras.activations.softmax, keras.activations.linear),
    "binary_cross_entropy": (keras.activations.sigmoid, keras.activations.linear),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that a network in training learns from. It never changes.

    Args:
        model: the network, from images to logits.
        scale: factor of each channel from the images of the recipe to those of the teacher.
        shift: what is added to each channel after that.
        order: the teacher's output of each class.
        temperature: as in the recipe's `Distillation`.
        weight: as in the recipe's `Distillation`.
        independent: whether the outputs are sigmoids instead of a softmax.
    """

    model: keras.Model
    scale: np.ndarray
    shift: np.ndarray
    order: tuple[int, ...]
    temperature: float = 1.0
    weight: float = 1.0
    independent: bool = False

    @classmethod
    def of(
        cls, recipe: Recipe, data: DataSet, strategy: tf.distribute.Strategy | None = None
    ) -> "Teacher | None":
        """Returns the teacher of a recipe; None without `distillation`.

        Args:
            recipe: a `Recipe`.
            data: its data set.
            strategy: strategy that creates the variables; TensorFlow's current one by default.

        Raises:
            UserError: if the network cannot be loaded, or does not fit the recipe's images, classes
                or loss.
        """
        wanted = recipe.distillation
        if wanted is None:
            return None
        with (strategy or tf.distribute.get_strategy()).scope():
            model = load_trained(wanted.teacher).model
        head = _head(model, wanted.teacher)
        _check_loss(head, recipe)
        order = _order(model, wanted.teacher, data)
        scale, shift = _renormalization(_preprocessing(model, recipe), recipe.images.preprocessing)
        head.activation = keras.activations.linear
        model.trainable = False
        independent = recipe.loss.name == "binary_cross_entropy"
        return cls(model, scale, shift, order, wanted.temperature, wanted.weight, independent)

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        digest = hashlib.sha256()
        for variable in self.model.variables:
            digest.update(np.ascontiguousarray(local_value(variable)).tobytes())
        return digest.hexdigest()

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the teacher's logits `(batch, classes)`, in the order of the data set's classes.

        Args:
            images: a batch as the network in training gets it.
        """
        if np.any(self.scale != 1) or np.any(self.shift != 0):
            images = images * tf.cast(self.scale, images.dtype) + tf.cast(self.shift, images.dtype)
        logits = self.model(images, training=False)
        if self.order == tuple(range(len(self.order))):
            return logits
        return tf.gather(logits, self.order, axis=-1)

    def loss(self, logits: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean divergence of a network's outputs from the teacher's, times T squared.

        It is the Kullback-Leibler divergence of the softened probabilities; of independent outputs
        the mean over the classes. The factor keeps the gradients as large as those of the labels.

        Args:
            logits: what `logits` returns for the batch.
            outputs: probabilities of the network in training.
        """
        ours = logits_of(outputs) / self.temperature
        theirs = tf.cast(logits, ours.dtype) / self.temperature
        divergence = _independent_divergence if self.independent else _divergence
        return self.temperature**2 * tf.reduce_mean(divergence(theirs, ours))

    def mixed(self, of_labels: tf.Tensor, of_teacher: tf.Tensor) -> tf.Tensor:
        """Returns the weighted sum of the labels' loss and of the teacher's."""
        return (1 - self.weight) * of_labels + self.weight * of_teacher


def _divergence(theirs, ours):
    """Returns the divergence of each image, of the softmax of both logits."""
    probabilities, logarithms = tf.nn.softmax(theirs), tf.nn.log_softmax(theirs)
    return tf.reduce_sum(probabilities * (logarithms - tf.nn.log_softmax(ours)), -1)


def _independent_divergence(theirs, ours):
    """Returns the divergence of each class, of the sigmoids of both logits."""
    probabilities = tf.sigmoid(theirs)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(probabilities, ours)
    return cross_entropy - tf.nn.sigmoid_cross_entropy_with_logits(probabilities, theirs)


def _head(model, name):
    """Returns the head of a network for images; raises a `UserError` if it does not end in one."""
    head = model.layers[-1] if len(getattr(model, "outputs", None) or ()) == 1 else None
    if not isinstance(head, Head):
        raise _misfit(name, "a RegNet that ends in its head", "another network")
    return head


def _check_loss(head, recipe):
    allowed = _ACTIVATIONS[recipe.loss.name]
    if head.activation not in allowed:
        raise _misfit(
            recipe.distillation.teacher,
            f"a network with {allowed[0].__name__} where loss.name={recipe.loss.name}",
            f"one with {head.activation.__name__}",
        )


def _order(model, name, data):
    """Returns the network's output of each class of a data set."""
    names = facts_of(model).class_names
    if names is None:
        raise _misfit(name, "a network that names its classes", "one that does not")
    differing = sorted(set(names) ^ set(data.class_names))
    if differing:
        received = f"{len(names)} classes; not in both are {', '.join(differing[:4])}"
        raise _misfit(name, f"of the {len(data.class_names)} classes of {data.name}", received)
    return tuple(names.index(one) for one in data.class_names)


def _preprocessing(model, recipe):
    """Returns the network's preprocessing, once it fits the recipe's images."""
    name, images = recipe.distillation.teacher, recipe.images
    preprocessing = facts_of(model).preprocessing
    if preprocessing is None:
        raise _misfit(name, "a network that knows its preprocessing", "one that does not")
    _, height, width, channels = model.input_shape
    if channels != images.channels:
        allowed = f"a network for images.channels={images.channels}"
        raise _misfit(name, allowed, f"one for {channels} channels")
    if height not in (None, images.size) or width not in (None, images.size):
        allowed = f"a network for images.size={images.size}"
        raise _misfit(name, allowed, f"one for {height} x {width} pixels only")
    return preprocessing


def _renormalization(theirs, ours):
    """Returns factor and summand of each channel, from one normalization to another."""
    (their_mean, their_std), (mean, std) = (
        (np.array(one.mean), np.array(one.std)) for one in (theirs, ours)
    )
    return std / their_std, (mean - their_mean) / their_std


def _misfit(name, allowed, received):
    return UserError(f"`distillation.teacher` must be {allowed}. Received: {name}, {received}")
