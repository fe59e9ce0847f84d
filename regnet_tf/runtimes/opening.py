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

    ```python
    import numpy as np
    from regnet_tf.runtimes import open_file

    network = open_file("shipped/onnx/flowers_float32.onnx")
    images = np.zeros((8, network.image_size, network.image_size, network.channels), network.dtype)
    probabilities = network(images)
    ```

    These formats have a runtime. For all but the first, install the extra in brackets.

    - the folder of a SavedModel: TensorFlow
    - `.tflite`: LiteRT with XNNPACK (`export`)
    - `.onnx`: ONNX Runtime (`onnx`)
    - `.xml`, an OpenVINO IR with its `.bin` next to it: OpenVINO (`openvino`)

    The files may also come from other programs. They must take one input, a batch of square images.
    Their channels may be first, as in files from PyTorch.

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
