"""Opens trained networks of any format, with the class names and preprocessing in their files."""

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from regnet_tf._archives import DAMAGES, read_entry
from regnet_tf._errors import UserError, first_line
from regnet_tf._files import FACTS_FILE, LABELS_FILE, parse_json
from regnet_tf._litert import dequantized, invoked, open_interpreter
from regnet_tf._predictors import Predictor, is_of_pixels, lines_of, of_keras
from regnet_tf._trained import load_trained
from regnet_tf.layers import checked_class_names
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.weights import is_tag


def is_network(source: str | Path) -> bool:
    """Whether a word names a network that `open_predictor` opens without a variant."""
    path = Path(source)
    if is_tag(source) or path.suffix in (".keras", ".tflite"):
        return True
    files = ("model.keras", "saved_model.pb", "run.json")
    return any((path / file).is_file() for file in files)


def open_predictor(source: str | Path, variant: str | None = None) -> Predictor:
    """Opens a network from a tag or a path.

    Args:
        source: a tag of `regnet_tf.list_weights`; a folder written by `regnet train`; a `.keras`
            file; a weight file of `variant`; a SavedModel; or a `.tflite` file. A SavedModel or
            `.tflite` file with uint8 input normalizes its images itself.
        variant: name of the network of a weight file.

    Raises:
        UserError: if `source` is none of these, or names no classes.
        ValueError, OSError: if a file is damaged, or weights cannot be downloaded.
    """
    path = Path(source)
    if (path / "saved_model.pb").is_file():
        return _of_saved_model(path)
    if path.suffix == ".tflite" and not is_tag(source):
        if not path.is_file():
            raise UserError(f"There is no file {source}.")
        return _of_tflite(path)
    trained = load_trained(source, variant)
    return of_keras(trained.name, trained.model)


def load_saved_model(path: str | Path) -> Any:
    """Loads a SavedModel.

    Raises:
        UserError: if it is damaged.
    """
    try:
        # `load` would log a damaged fingerprint with a traceback, and go on.
        with contextlib.suppress(FileNotFoundError):  # it may have none
            tf.saved_model.experimental.read_fingerprint(str(path))
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow may raise any exception
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error


def _of_saved_model(path):
    signatures = load_saved_model(path).signatures
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
    shape = outputs[key].shape.as_list()

    def scores(images):
        return function(**{argument: tf.cast(images, spec.dtype)})[key].numpy()

    extra = path / "assets.extra"
    files = {
        name: (extra / name).read_bytes()
        for name in (LABELS_FILE, FACTS_FILE)
        if (extra / name).is_file()
    }
    return Predictor(
        name=path.name,
        classes=shape[-1],
        scores=scores,
        normalized=spec.dtype != tf.uint8,
        image_size=spec.shape[1],
        of_pixels=is_of_pixels(path, shape),
        **_facts_of_files(files, path, shape[-1]),
    )


def _preferred(names, order):
    """Returns the first name of `order` that is in `names`, else the first of `names`."""
    return next(name for name in (*order, *names) if name in names)


def _of_tflite(path):
    interpreter = open_interpreter(path, _threads())
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    of_pixels = is_of_pixels(path, target["shape"].tolist())
    batch, side = source["shape_signature"][:2]

    def run(images):
        if images.shape[0] != interpreter.get_input_details()[0]["shape"][0]:
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        return dequantized(invoked(interpreter, path, source, target, images), target)

    def scores(images):
        images = _quantized(np.asarray(images), source)
        if batch < 0:
            return run(images)
        # A fixed batch stays as it is: XNNPACK accepts no other one.
        padding = np.zeros((-len(images) % batch, *images.shape[1:]), images.dtype)
        padded = np.concatenate([images, padding])
        parts = [run(padded[start : start + batch]) for start in range(0, len(padded), batch)]
        return np.concatenate(parts)[: len(images)]

    return Predictor(
        name=path.stem,
        classes=int(target["shape"][-1]),
        scores=scores,
        normalized=source["dtype"] != np.uint8,
        image_size=int(side) if side > 0 else None,
        of_pixels=of_pixels,
        **_facts_of_files(_archived(path), path, int(target["shape"][-1])),
    )


def _archived(path):
    """Returns the bytes of the texts in the archive behind a `.tflite` file, by name."""
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            there = set(archive.namelist()) & {LABELS_FILE, FACTS_FILE}
            return {name: read_entry(archive, name) for name in there}
    except DAMAGES as error:
        raise UserError(f"The archive behind {path} is damaged: {first_line(error)}") from error


def _facts_of_files(files: dict[str, bytes], path: Path, classes: int) -> dict[str, Any]:
    """Returns the fields of a `Predictor` that the files about a network tell.

    Files of other programs may have names of classes alone. They count if there is one for each of
    the network's classes.
    """
    if FACTS_FILE not in files:
        try:
            names = tuple(lines_of(files[LABELS_FILE].decode())) if LABELS_FILE in files else None
        except UnicodeDecodeError as error:
            raise UserError(f"{LABELS_FILE} of {path} is damaged: {error}") from error
        known = names is not None and len(names) == classes
        return {"preprocessing": None, "class_names": names if known else None}
    origin = f"{FACTS_FILE} of {path}"
    facts = parse_json(files[FACTS_FILE], origin, "preprocessing", "class_names", "independent")
    names = facts["class_names"]
    if not isinstance(names, list) or len(names) not in (0, classes):
        raise UserError(f"{origin} is damaged: it does not name the network's {classes} classes")
    try:
        return {
            "preprocessing": Preprocessing.from_dict(facts["preprocessing"]),
            "class_names": checked_class_names(names) if names else None,
            "independent": bool(facts["independent"]),
        }
    except (ValueError, TypeError) as error:
        raise UserError(f"{origin} is damaged: {first_line(error)}") from error


def _quantized(images, details):
    """Returns images in the input type of a `.tflite` file."""
    scale, zero = details["quantization"]
    if details["dtype"] == np.int8:
        images = np.clip(np.round(images / scale) + zero, -128, 127)
    return images.astype(details["dtype"])


def _threads():
    return tf.config.threading.get_intra_op_parallelism_threads() or None
