"""Reads all files of a data set once, to find those that cannot be read."""

import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from regnet_tf._errors import first_line

from .parallel import made_ahead, parallel_map


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
    elements = tf.data.Dataset.zip(tuple(map(tf.data.Dataset.from_tensor_slices, arrays)))
    vectors = made_ahead(parallel_map(elements, function))
    values = np.zeros((count, *vectors.element_spec.shape), "int64")
    reasons, found = {}, iter(vectors)
    bar = keras.utils.Progbar(count, unit_name="file", verbose=verbose)
    for place in range(count):
        try:
            values[place] = next(found).numpy()
        except (tf.errors.NotFoundError, UnicodeDecodeError):  # the latter for some names
            reasons[place] = "There is no such file"
        except tf.errors.OpError as error:
            reasons[place] = short_reason(error)
        bar.add(1)
    return values, reasons


def short_reason(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message in one line, without its operations and a Python traceback."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name: *$", "", error.message).strip()
    message = re.sub(r"assertion failed: \[(.*)\]", r"\1", message)
    message = re.sub(r"^Error in user-defined function .*? Iterator::\S+: ", "", message)
    lines = [line for line in message.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in message:  # of a function in Python
        lines = [line for line in lines if line.startswith(("ValueError", "OSError"))][-1:]
    return re.sub(r"^\w*Error: ", "", first_line("\n".join(lines))).rstrip(".")
