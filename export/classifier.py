"""A network of any format that classifies encoded image files, for servers and their clients."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from regnet_tf._decoding import CHANNELS
from regnet_tf._errors import UserError, first_line
from regnet_tf._opening import open_predictor
from regnet_tf._predictors import with_names
from regnet_tf.class_names import in_words

from .crops import crops_of


class Classifier:
    """A network with its preprocessing and the names of its classes.

    Args:
        source: file or folder that `open_predictor` opens.

    Attributes:
        shape: of its crops: `(size, size, channels)`.
        takes_files: whether image files can have its number of channels.
        of_pixels: whether it names the class of each pixel.
        labels: names of the classes in words, one line each.

    Raises:
        UserError: if it cannot be opened, or does not know its preprocessing or class names.
    """

    def __init__(self, source: str | Path):
        predictor = with_names(open_predictor(source), None)
        if predictor.named == "boxes":
            raise UserError(f"{source} is a detector; servers of classifiers do not take it.")
        if predictor.class_names is None:
            raise UserError(f"{source} does not know the names of its classes.")
        self._predictor = predictor
        self._preprocessing = preprocessing = predictor.known_preprocessing
        self.shape = (preprocessing.image_size, preprocessing.image_size, preprocessing.channels)
        self.takes_files = preprocessing.channels in CHANNELS
        self.of_pixels = predictor.of_pixels
        self.labels = in_words(predictor.class_names)
        self._crops = tf.function(
            lambda image_bytes: crops_of(image_bytes, preprocessing),
            input_signature=[tf.TensorSpec((None,), tf.string)],
        )

    def crops(self, image_files: list[bytes]) -> np.ndarray:
        """Decodes, resizes and crops encoded image files.

        Returns:
            Levels of 0 to 255, uint8 `(batch, size, size, channels)`.

        Raises:
            UserError: if files are no images; it names their places in the batch.
        """
        if not self.takes_files:
            raise UserError(f"Image files do not have {self.shape[-1]} channels.")
        try:
            crops = self._crops(tf.constant(image_files, tf.string)).numpy()
        except tf.errors.InvalidArgumentError as error:
            found = re.search(r"assertion failed: \[(.*)\]", error.message)
            raise UserError(found[1] if found else first_line(error.message)) from error
        return np.clip(np.round(crops), 0, 255).astype("uint8")

    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        """Returns float32 `(batch, classes)`, or `(batch, size, size, classes)` if `of_pixels`."""
        normalized = self._predictor.normalized
        images = self._preprocessing.normalize(crops) if normalized else crops
        return np.asarray(self._predictor.scores(images), "float32")
