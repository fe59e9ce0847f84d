"""Loads trained networks of any format as functions from images to class scores."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError, first_line
from regnet_tf._litert import dequantized, open_interpreter
from regnet_tf._trained import load_trained
from regnet_tf.facts import facts_of
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.weights import is_tag


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A classifier.

    Attributes:
        name: name of the network and of its results' folder.
        classes: number of classes.
        scores: function from images `(batch, size, size, 3)` to scores `(batch, classes)`, a numpy
            array. Images are normalized float32 if `normalized`, else uint8 crops.
        normalized: whether `scores` takes normalized images.
        preprocessing: preprocessing that the network was published or trained with; None if
            unknown.
        class_names: names of the classes; None if unknown.
        image_size: the only image side that the network accepts, in pixels; None for any.
    """

    name: str
    classes: int
    scores: Callable
    normalized: bool
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None
    image_size: int | None


def load_predictor(model: str | Path, variant: str | None = None) -> Predictor:
    """Loads a classifier from a tag or a path.

    Args:
        model: a tag of `regnet_tf.list_weights`; a folder written by `regnet train`; a `.keras`
            file; a weight file of `variant`; a SavedModel; or a `.tflite` file. A SavedModel or
            `.tflite` file with uint8 input normalizes its images itself.
        variant: name of the network of a weight file.

    Raises:
        UserError: if `model` is none of these, or not a classifier.
        ValueError, OSError: if a file is damaged, or weights cannot be downloaded.
    """
    path = Path(model)
    if (path / "saved_model.pb").is_file():
        return _of_saved_model(path)
    if path.suffix == ".tflite" and not is_tag(model):
        if not path.is_file():
            raise UserError(f"There is no file {model}.")
        return _of_tflite(path)
    trained = load_trained(model, variant)
    return _of_keras(trained.name, trained.model)


def _of_keras(name, model):
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise UserError(f"{name} is not a classifier: its output has the shape {shape}.")
    facts = facts_of(model)
    normalized = all(layer.name != "preprocessing" for layer in model.layers)
    return Predictor(
        name=name,
        classes=shape[1],
        scores=lambda images: np.asarray(model.predict_on_batch(images)),
        normalized=normalized,
        preprocessing=facts.preprocessing,
        class_names=facts.class_names,
        image_size=model.input_shape[1],
    )


def _of_saved_model(path):
    try:
        signatures = tf.saved_model.load(str(path)).signatures
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    takes_images = {
        name: function
        for name, function in signatures.items()
        if [spec.shape.rank for spec in function.structured_input_signature[1].values()] == [4]
    }
    if not takes_images:
        raise UserError(f"{path} has no signature that takes a batch of images alone.")
    function = takes_images[_preferred(takes_images, ("images", "serving_default"))]
    ((argument, spec),) = function.structured_input_signature[1].items()
    outputs = function.structured_outputs
    key = _preferred(outputs, ("probabilities", "logits"))
    if outputs[key].shape.rank != 2:
        raise UserError(
            f"{path} is not a classifier: its output has the shape {outputs[key].shape}."
        )

    def scores(images):
        return function(**{argument: tf.cast(images, spec.dtype)})[key].numpy()

    return Predictor(
        name=path.name,
        classes=outputs[key].shape[1],
        scores=scores,
        normalized=spec.dtype != tf.uint8,
        preprocessing=None,
        class_names=None,
        image_size=spec.shape[1],
    )


def _preferred(names, order):
    """Returns the first name of `order` that is in `names`, else the first of `names`."""
    return next(name for name in (*order, *names) if name in names)


def _of_tflite(path):
    interpreter = open_interpreter(path, _threads())
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if len(target["shape"]) != 2:
        raise UserError(f"{path} is not a classifier: its output has the shape {target['shape']}.")

    def scores(images):
        images = _quantized(np.asarray(images), source)
        interpreter.resize_tensor_input(source["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return dequantized(interpreter.get_tensor(target["index"]), target)

    return Predictor(
        name=path.stem,
        classes=int(target["shape"][1]),
        scores=scores,
        normalized=source["dtype"] != np.uint8,
        preprocessing=None,
        class_names=None,
        image_size=int(source["shape"][1]),
    )


def _quantized(images, details):
    """Returns images in the input type of a `.tflite` file."""
    scale, zero = details["quantization"]
    if details["dtype"] == np.int8:
        images = np.clip(np.round(images / scale) + zero, -128, 127)
    return images.astype(details["dtype"])


def _threads():
    return tf.config.threading.get_intra_op_parallelism_threads() or None
