"""Opens trained networks of any format, with the class names and preprocessing in their files."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError, first_line
from regnet_tf._files import FACTS_FILE, LABELS_FILE, parse_json
from regnet_tf._predictors import Predictor, lines_of, named_and_classes, of_keras
from regnet_tf._trained import load_trained
from regnet_tf.layers import checked_class_names
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.published import is_tag
from regnet_tf.runtimes.opening import has_runtime, open_file
from regnet_tf.sharing.hub import NETWORK_FILES, is_hub_name

_USUAL_SIZE = 224  # pixels, where a network takes any
_ROUNDING = 1e-3  # of probabilities, in 16 bits


def is_network(source: str | Path) -> bool:
    """Whether a word names a network that `open_predictor` opens without a variant."""
    path = Path(source)
    if is_tag(source) or is_hub_name(source) or path.suffix == ".keras" or has_runtime(path):
        return True
    return any((path / file).is_file() for file in ("model.keras", "run.json", *NETWORK_FILES))


def open_predictor(source: str | Path, variant: str | None = None) -> Predictor:
    """Opens a network from a tag, a path or a name on the Hugging Face hub.

    Args:
        source: see `load_trained`; or what `regnet_tf.runtimes.open_file` opens, which
            normalizes its images itself if it takes uint8.
        variant: name of the network of a weight file.

    Raises:
        UserError: if `source` is none of these, or names no classes.
        ValueError, OSError: if a file is damaged, or weights cannot be downloaded.
    """
    if has_runtime(source):
        return _of_runtime(open_file(source))
    trained = load_trained(source, variant)
    return of_keras(trained.name, trained.model)


def _of_runtime(runtime):
    """Returns the predictor of a `Runtime`."""
    main, shape = next(iter(runtime.outputs.items()))
    named, classes = named_and_classes(runtime.path, shape)
    if main == "features" or classes is None:
        raise UserError(f"{runtime.path} is not a classifier: it returns {main} of shape {shape}.")
    facts = _facts_of_files(runtime.files, runtime.path, classes)
    has_logits = named != "boxes" and main != "probabilities" and _returns_logits(runtime)
    line = f"{runtime.name} seems to return logits; softmax makes probabilities of them."
    return Predictor(
        name=runtime.name,
        classes=classes,
        scores=_with_softmax(runtime) if has_logits else runtime,
        normalized=runtime.dtype != np.uint8,
        image_size=runtime.image_size,
        named=named,
        assumed=(line,) if has_logits else (),
        **facts,
    )


def _with_softmax(runtime):
    return lambda images: tf.nn.softmax(runtime(images)).numpy()


def _returns_logits(runtime):
    """Whether the scores of a file are no probabilities: for noise, some are not from 0 to 1."""
    size = runtime.image_size or _USUAL_SIZE
    noise = np.random.default_rng(0).normal(size=(1, size, size, runtime.channels or 3))
    levels = np.clip(128 + 64 * noise, 0, 255)
    scores = runtime(levels if runtime.dtype == np.uint8 else noise)
    return bool(scores.min() < 0 or scores.max() > 1 + _ROUNDING)


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
