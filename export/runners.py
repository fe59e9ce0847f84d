"""Exported files as functions from images to the network's outputs."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from regnet_command import without_stderr

from regnet_tf._errors import UserError, first_line, import_optional

THREADS = os.cpu_count() or 1


def open_saved_model(path):
    """Loads a SavedModel that `export.saved_model` wrote.

    Args:
        path: folder of the SavedModel.

    Returns:
        Function from images uint8 `(batch, height, width, 3)` to float32 `(batch, n)`:
        probabilities, or features if there is no classifier.

    Raises:
        UserError: if the SavedModel cannot be loaded.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow may raise any exception
        raise UserError(f"{path} cannot be loaded: {first_line(error)}") from error
    name = "images" if "images" in loaded.signatures else "features"
    signature = loaded.signatures[name]

    def run(images):
        (outputs,) = signature(images=tf.constant(images)).values()
        return outputs.numpy()

    run.loaded = loaded  # keeps its resources alive
    return run


def open_tflite(path, threads=THREADS):
    """Loads a `.tflite` file to run it by LiteRT with XNNPACK.

    Args:
        path: path of the file.
        threads: number of threads to run it with.

    Returns:
        Function from images uint8 `(batch, height, width, 3)` to float32 `(batch, n)`. It takes
        any batch size and runs the file in the file's own batch size.

    Raises:
        UserError: if the file cannot be loaded, or LiteRT is missing.
    """
    litert = import_optional("ai_edge_litert.interpreter", extra="export")
    try:
        with without_stderr():
            interpreter = litert.Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be loaded: {first_line(error)}") from error
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    batch_size = source["shape"][0]

    def run_batch(images):
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    def run(images):
        missing = -len(images) % batch_size
        padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        parts = np.split(padded, len(padded) // batch_size)
        outputs = np.concatenate([run_batch(part) for part in parts])[: len(images)]
        scale, zero = target["quantization"]
        return (outputs.astype("float32") - zero) * scale if scale else outputs

    run.batch_size = int(batch_size)
    return run


def open_artefact(path):
    """Loads a file or folder of an export: a `.tflite` file or a SavedModel."""
    return open_tflite(path) if Path(path).suffix == ".tflite" else open_saved_model(path)
