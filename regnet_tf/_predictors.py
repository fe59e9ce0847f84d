"""Networks of any format as functions from images to class scores (`Predictor`)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._boxes import number_of_classes
from regnet_tf._errors import UserError
from regnet_tf.class_names import imagenet_synsets
from regnet_tf.facts import facts_of
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.visualize import grad_cam

_NAMED = {2: "images", 3: "boxes", 4: "pixels"}  # by the dimensions of the outputs
#: Independent probabilities above this one name a class.
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A network that names the class of images or of their pixels.

    Attributes:
        name: name of the network and of its results' folder.
        classes: number of classes.
        scores: function from images `(batch, size, size, channels)` to scores, a numpy array
            `(batch, classes)`, `(batch, size, size, classes)` for pixels, or `(batch, anchors,
            4 + classes)` for boxes. Images are normalized float32 if `normalized`, else uint8
            crops.
        normalized: whether `scores` takes normalized images.
        preprocessing: preprocessing that the network was published or trained with; None if
            unknown.
        class_names: names of the classes; None if unknown.
        image_size: the only image side that the network accepts, in pixels; None for any.
        named: what has a class: "images", "pixels", or "boxes" for a detector, whose outputs
            `regnet_tf._boxes` explains.
        independent: whether its outputs are independent probabilities, so that an image may have
            several classes.
        model: the `keras.Model`, for Grad-CAM; None for other formats.
        places: the network's output of each class, if it is not the number of the class.
        assumed: what is assumed about the network, in sentences.
    """

    name: str
    classes: int
    scores: Callable[[Any], np.ndarray]
    normalized: bool
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None
    image_size: int | None
    named: str = "images"
    independent: bool = False
    model: keras.Model | None = None
    places: tuple[int, ...] | None = None
    assumed: tuple[str, ...] = ()

    def replace(self, **changes: Any) -> "Predictor":
        """Returns a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def selected(self, places: np.ndarray) -> "Predictor":
        """Returns a predictor of some of the classes, which must have names.

        Args:
            places: the outputs of these classes.
        """
        names = self.class_names or ()
        return self.replace(
            classes=len(places),
            scores=lambda images: self.scores(images)[..., places],
            class_names=tuple(names[place] for place in places),
            places=tuple(int(place) for place in places),
        )

    @property
    def of_pixels(self) -> bool:
        """Whether it names the class of each pixel."""
        return self.named == "pixels"

    @property
    def known_preprocessing(self) -> Preprocessing:
        """The preprocessing; raises a `UserError` if it is unknown."""
        if self.preprocessing is None:
            raise UserError(f"The preprocessing of {self.name} is unknown.")
        return self.preprocessing

    def prepare(self, image: Any) -> tf.Tensor:
        """Returns the network's input for a uint8 image `(height, width, channels)`."""
        preprocessing = self.known_preprocessing
        crop = preprocessing.resize_and_crop(image)
        return preprocessing.normalize(crop) if self.normalized else crop

    def picture(self, image: Any) -> np.ndarray:
        """Returns an input of the network as a picture, uint8 `(height, width, 3)`.

        Of other numbers of channels than 3 and 4, the first one is shown in gray.
        """
        image = np.asarray(image, "float32")
        if not self.normalized:
            levels = image
        elif self.preprocessing is None:
            levels = 255 * (image - image.min()) / max(np.ptp(image), 1e-6)
        else:
            mean, std = np.array(self.preprocessing.mean), np.array(self.preprocessing.std)
            levels = 255 * (image * std + mean)
        levels = np.clip(np.round(levels), 0, 255).astype("uint8")
        if levels.shape[-1] in (3, 4):
            return levels[..., :3]
        return np.repeat(levels[..., :1], 3, axis=-1)

    def heat_map(self, image: Any, class_index: int) -> np.ndarray:
        """Returns an input as a picture under Grad-CAM's heat map of a class.

        Raises:
            UserError: if the network is no Keras model, or has no layers of a RegNet.
        """
        if self.model is None:
            raise UserError(f"Grad-CAM needs a Keras model. {self.name} is in another format.")
        index = class_index if self.places is None else self.places[class_index]
        return grad_cam(self.model, np.asarray(image), index, picture=self.picture(image))


def of_keras(name: str, model: keras.Model) -> Predictor:
    """Returns the predictor of a Keras model.

    Raises:
        UserError: if the model names no classes.
    """
    named, classes = named_and_classes(name, model.output_shape)
    facts = facts_of(model)
    assumed: tuple[str, ...] = ()
    if facts.normalizes:
        assumed = (levels_are_fed(name),)
    activation = getattr(model.layers[-1], "activation", None)
    return Predictor(
        name=name,
        classes=classes,
        scores=lambda images: np.asarray(model.predict_on_batch(images), "float32"),
        normalized=True,
        preprocessing=facts.preprocessing,
        class_names=facts.class_names,
        image_size=model.input_shape[1],
        named=named,
        independent=activation is keras.activations.sigmoid,
        model=model,
        assumed=assumed,
    )


def levels_are_fed(name: str) -> str:
    """Returns a line about a model with `Facts.normalizes`, and how to change what is assumed."""
    return (
        f"{name} normalizes its images itself; levels of 0 to 255 are fed. --mean, --std and"
        " --scale change that."
    )


def with_names(predictor: Predictor, file: str | Path | None) -> Predictor:
    """Returns a predictor with the names of its classes, if they are known.

    Args:
        predictor: a `Predictor`. If it has 1000 classes without names, they are ImageNet's.
        file: path of a text file with one name a line, in the order of the outputs; None for the
            network's own names.

    Raises:
        UserError: if the file has another number of names.
    """
    if file is not None:
        names = tuple(lines_of(Path(file).read_text(encoding="utf-8")))
        if len(names) != predictor.classes or len(set(names)) != len(names):
            raise UserError(
                f"`labels` must hold {predictor.classes} different names, one a line, for the"
                f" classes of {predictor.name}. Received: {file} with {len(names)}"
            )
        return predictor.replace(class_names=names)
    synsets = imagenet_synsets()
    if predictor.class_names is not None or predictor.classes != len(synsets):
        return predictor
    line = f"{predictor.name} does not know the names of its 1000 classes; ImageNet's are assumed."
    return predictor.replace(class_names=synsets, assumed=(*predictor.assumed, line))


def with_preprocessing(predictor: Predictor, changes: dict[str, Any]) -> Predictor:
    """Returns a predictor with a known preprocessing.

    Args:
        predictor: a `Predictor`. If it does not know its preprocessing, it is ImageNet's.
        changes: fields of `Preprocessing` to change.

    Raises:
        UserError: if the network takes images of another size only.
        ValueError: if a field is out of range.
    """
    preprocessing, assumed = predictor.preprocessing, predictor.assumed
    if preprocessing is None:
        preprocessing = Preprocessing(image_size=predictor.image_size or 224)
        line = f"{predictor.name} does not know its preprocessing; ImageNet's is assumed."
        assumed = (*assumed, line)
    if "mean" in changes or "std" in changes:
        assumed = tuple(line for line in assumed if "--mean" not in line)
    preprocessing = preprocessing.replace(**changes)
    if predictor.image_size not in (None, preprocessing.image_size):
        raise UserError(
            f"`image_size` must be {predictor.image_size}, the only size that {predictor.name}"
            f" accepts. Received: image_size={preprocessing.image_size}"
        )
    return predictor.replace(preprocessing=preprocessing, assumed=assumed)


def named_and_classes(name, shape):
    """Returns what outputs of this shape name, "images", "pixels" or "boxes", and their classes."""
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else shape
    named = _NAMED.get(len(shape)) if isinstance(shape, tuple) else None
    if named is None:
        raise UserError(f"{name} is not a classifier: its output has the shape {shape}.")
    return named, number_of_classes(shape)


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text without empty ones at its end."""
    return text.rstrip("\n").split("\n") if text.strip() else []
