"""`open_file`: opens the file of a network by the runtime for its format."""

import os
from collections.abc import Callable
from pathlib import Path

from regnet_command import without_stderr

from regnet_tf._checks import check_int
from regnet_tf._errors import UserError
from regnet_tf.runtimes.onnx import open_onnx
from regnet_tf.runtimes.openvino import open_openvino
from regnet_tf.runtimes.runtime import Runtime
from regnet_tf.runtimes.saved_model import is_saved_model, open_saved_model
from regnet_tf.runtimes.tflite import open_tflite

#: Function that opens the files with a suffix: from `(path, threads)` to a `Runtime`.
_OPENERS: dict[str, Callable[[Path, int | None], Runtime]] = {
    ".tflite": open_tflite,
    ".onnx": open_onnx,
    ".xml": open_openvino,
}


def has_runtime(path: str | os.PathLike) -> bool:
    """Whether `open_file` opens what is at a path, by its suffix; or a SavedModel's folder."""
    return Path(path).suffix in _OPENERS or is_saved_model(Path(path))


def open_file(path: str | os.PathLike, threads: int | None = None) -> Runtime:
    """Opens the file of a network, to run it.

    The suffix chooses the runtime. Each but TensorFlow needs an extra of this package:

    - the folder of a SavedModel: TensorFlow
    - `.tflite`: LiteRT with XNNPACK, extra `export`
    - `.onnx`: ONNX Runtime, extra `onnx`
    - `.xml`, an OpenVINO IR with its `.bin` file next to it: OpenVINO, extra `openvino`

    The file may come from another program. It must take one input, a batch of square images. Its
    channels may be first, as PyTorch has them.

    Args:
        path: path of the file or folder.
        threads: number of threads to run it with; by default, all cores. TensorFlow's number holds
            for the process: choose it before TensorFlow computes anything.

    Returns:
        A `Runtime`, which is called with images.

    Raises:
        UserError: if there is no such file, its format has no runtime, or it is damaged; or if
            TensorFlow runs with another number of threads.
        MissingPackageError: if the package of the runtime is not installed; the message names the
            extra.
        ValueError: for an impossible number of threads.

    Examples:
        >>> import keras, numpy as np, tempfile
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keras.Sequential(layers).export(folder, verbose=False)
        ...     network = open_file(folder)
        >>> network.shape, network.dtype
        ((None, 8, 8, 3), dtype('float32'))
        >>> network(np.zeros((2, 8, 8, 3))).shape
        (2, 5)
    """
    path = Path(path)
    if threads is not None:
        check_int("threads", threads, minimum=1)
    if is_saved_model(path):
        opener: Callable[[Path, int | None], Runtime] = open_saved_model
    elif path.suffix in _OPENERS:
        opener = _OPENERS[path.suffix]
        if not path.is_file():
            raise UserError(f"There is no file {path}.")
    else:
        raise UserError(
            "`path` must be the folder of a SavedModel or a file that ends in"
            f" {', '.join(_OPENERS)}. Received: {path}"
        )
    with without_stderr():  # libraries in C++ print notes, and errors before they raise them
        return opener(path, threads)
