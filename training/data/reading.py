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
    damaged = np.flatnonzero(~read).tolist()
    bar.update(count, finalize=True)
    return values, {
        place: _reason(function, [array[place] for array in arrays]) for place in damaged
    }


def _reason(function, items):
    """Returns why a function fails, by calling it outside of a graph."""
    try:
        function(*map(tf.constant, items))
    except tf.errors.NotFoundError:
        return "There is no such file"
    except tf.errors.OpError as error:
        return short_reason(error)
    except ValueError as error:
        cause = error.__cause__
        return short_reason(cause) if isinstance(cause, tf.errors.OpError) else first_line(error)
    return "It could not be read at first"


def short_reason(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message in one line, without its operations and a Python traceback."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name: *$", "", error.message).strip()
    lines = [line for line in message.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in message:  # of a function in Python
        lines = [line for line in lines if line.startswith(("ValueError", "OSError"))][-1:]
    return re.sub(r"^\w*Error: ", "", first_line("\n".join(lines)))
