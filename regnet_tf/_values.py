"""Looks at the values of weights before a network takes them."""

import logging
from collections.abc import Iterable

import numpy as np

_log = logging.getLogger("regnet_tf")


def check_real(name: str, array: np.ndarray) -> None:
    """Raises ValueError unless an array holds floating-point numbers of any precision."""
    if "float" not in array.dtype.name:  # not the kind: that of bfloat16 is "V"
        raise ValueError(f"`{name}` must hold floating-point numbers. Received: {array.dtype}")


def tell_odd_values(owner: str, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
    """Logs a warning in one line if weights have values that no trained network has.

    These are NaN, infinity, and negative variances.

    Args:
        owner: name of the network, for the line.
        tensors: pairs of a name and an array. A variance's name ends in "var" or "variance".
    """
    odd = [line for name, array in tensors for line in _odd_values(name, np.asarray(array))]
    if odd:
        more = f", and {len(odd) - 1} more tensors" if len(odd) > 1 else ""
        _log.warning("%s has odd weights: %s%s.", owner, odd[0], more)


def _odd_values(name, array):
    """Yields a line if an array has odd values."""
    if "float" not in array.dtype.name:
        return
    infinite = array.size - np.count_nonzero(np.isfinite(array))
    negative = np.count_nonzero(array < 0) if name.endswith(("var", "variance")) else 0
    if infinite:
        yield f"{infinite:,} of {array.size:,} values of {name} are NaN or infinite"
    elif negative:
        yield f"{negative:,} of {array.size:,} values of {name} are negative"
