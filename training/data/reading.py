"""Reads all files of a data set once, to find those that cannot be read."""

import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._errors import first_line

from .parallel import made_ahead, parallel_map

_BATCH = 32


def read_all(
    function: Callable[..., tf.Tensor], *arrays: np.ndarray, verbose: int = 0
) -> tuple[np.ndarray, dict[int, str]]:
    """Applies a function to all elements of arrays, on all cores.

    Args:
        function: from one element of each array to an int64 vector. TensorFlow must be able to
            trace it.
        *arrays: arrays of equal length, such as paths.
        verbose: 1 for a progress bar, 0 for none.

    Returns:
        `(values, reasons)`: the vectors, int64 `(count, length)`, and for each place where the
        function failed, the reason in one line.
    """
    count = len(arrays[0])
    places = tf.data.Dataset.range(count)
    elements = tf.data.Dataset.zip((places, *map(tf.data.Dataset.from_tensor_slices, arrays)))
    results = parallel_map(elements, lambda place, *items: (place, function(*items)))
    bar = keras.utils.Progbar(count, unit_name="file", verbose=verbose)
    read = np.zeros(count, bool)
    values = np.zeros((count, *results.element_spec[1].shape), "int64")
    for batch, vectors in made_ahead(results.ignore_errors().batch(_BATCH)):
        read[batch.numpy()] = True
        values[batch.numpy()] = vectors.numpy()
        bar.add(len(vectors))
    bar.update(count, finalize=True)
    damaged = np.flatnonzero(~read)
    reasons = _reasons(function, [array[damaged] for array in arrays]) if damaged.size else []
    return values, dict(zip(damaged.tolist(), reasons, strict=True))


def _reasons(function, arrays):
    """Returns for each element why the function fails."""
    elements = tf.data.Dataset.zip(tuple(map(tf.data.Dataset.from_tensor_slices, arrays)))
    results = iter(parallel_map(elements, lambda *items: function(*items)))
    reasons = []
    for _ in range(len(arrays[0])):
        try:
            next(results)
            reasons.append("It could not be read at first")
        except (tf.errors.NotFoundError, UnicodeDecodeError):  # the latter for some names
            reasons.append("There is no such file")
        except tf.errors.OpError as error:
            reasons.append(short_reason(error))
    return reasons


def short_reason(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message in one line, without its operations and a Python traceback."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name: *$", "", error.message).strip()
    message = re.sub(r"assertion failed: \[(.*)\]", r"\1", message)
    message = re.sub(r"^Error in user-defined function .*? Iterator::\S+: ", "", message)
    lines = [line for line in message.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in message:  # of a function in Python
        lines = [line for line in lines if line.startswith(("ValueError", "OSError"))][-1:]
    return re.sub(r"^\w*Error: ", "", first_line("\n".join(lines))).rstrip(".")
