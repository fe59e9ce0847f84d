"""Exported files as functions from images to the network's outputs."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from regnet_command import without_stderr

from regnet_tf._litert import dequantized, invoked, open_interpreter
from regnet_tf._opening import load_saved_model

THREADS = os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Runner:
    """An exported file as a function.

    Attributes:
        run: function from images uint8 `(batch, height, width, channels)` to float32 `(batch, n)`:
            probabilities, or features if there is no head. It takes any batch size.
        batch_size: batch size in which the file is run; 1 if the file takes any.
        run_files: function from a list of the contents of image files to the same outputs; None
            for a file that takes only images.
    """

    run: Callable[[np.ndarray], np.ndarray]
    batch_size: int = 1
    run_files: Callable[[Sequence[bytes]], np.ndarray] | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Runs the file on images."""
        return self.run(images)


def open_saved_model(path: str | Path) -> Runner:
    """Loads a SavedModel that `export.formats.saved_model` wrote.

    Args:
        path: folder of the SavedModel.

    Raises:
        UserError: if the SavedModel cannot be loaded.
    """
    loaded = load_saved_model(path)
    name = "images" if "images" in loaded.signatures else "features"

    def run(images):  # refers to `loaded`, whose resources would not outlive it
        (outputs,) = loaded.signatures[name](images=tf.constant(images)).values()
        return outputs.numpy()

    def run_files(files):
        outputs = loaded.signatures["serving_default"](image_bytes=tf.constant(list(files)))
        return outputs["features" if name == "features" else "probabilities"].numpy()

    takes_files = "serving_default" in loaded.signatures
    return Runner(run, run_files=run_files if takes_files else None)


def open_tflite(path: str | Path, threads: int = THREADS) -> Runner:
    """Loads a `.tflite` file to run it by LiteRT with XNNPACK.

    Args:
        path: path of the file.
        threads: number of threads to run it with.

    Raises:
        UserError: if the file cannot be read, or LiteRT is missing.
    """
    with without_stderr():
        interpreter = open_interpreter(path, threads)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    batch_size = int(source["shape"][0])

    def run(images):
        missing = -len(images) % batch_size
        padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        parts = np.split(padded, len(padded) // batch_size)
        outputs = np.concatenate(
            [invoked(interpreter, path, source, target, part) for part in parts]
        )[: len(images)]
        return dequantized(outputs, target)

    return Runner(run, batch_size)


def open_artefact(path: str | Path) -> Runner:
    """Loads a file or folder of an export: a `.tflite` file or a SavedModel."""
    return open_tflite(path) if Path(path).suffix == ".tflite" else open_saved_model(path)
