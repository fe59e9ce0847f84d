"""Reads Keras' files, `.keras` and `.weights.h5`; what they claim is checked first."""

import io
import math
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras

from regnet_tf._archives import DAMAGES, check_claim, read_entry
from regnet_tf._errors import UserError, first_line, import_optional
from regnet_tf._files import parse_json
from regnet_tf._runs import check_file
from regnet_tf._values import tell_odd_values

_WEIGHTS = "model.weights.h5"
_MODULE_OF_KERAS_HUB = re.compile(r"'module': '[\w.]*keras_hub")


def load_model(path: Path) -> keras.Model:
    """Loads a `.keras` file, not compiled. It cannot run code.

    Raises:
        UserError: for a file that cannot be read, or that is not the one that its run has written;
            the message names it.
    """
    check_file(path)
    if not zipfile.is_zipfile(path):  # Keras would say that it does not exist
        raise UserError(f"{path} is damaged: it is not a zip archive, as `.keras` files are")
    config = saved_config(path)  # Keras would read it without limits
    if _MODULE_OF_KERAS_HUB.search(str(config)):
        import_optional("regnet_tf.keras_hub", "keras_hub")  # Keras then finds its classes
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            # It warns that KerasHub's models inside are not compiled, which is intended.
            warnings.filterwarnings("ignore", "`compile", UserWarning)
            model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises its readers' errors
        raise UserError(f"{path} cannot be read: {_reason(error)}") from error
    tell_odd_values(str(path), ((variable.path, variable) for variable in model.variables))
    return model


def saved_config(path: Path) -> dict:
    """Returns the configuration of the model in a `.keras` file; the weights are not read.

    Raises:
        UserError: for a file that cannot be read; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = read_entry(archive, "config.json")
    except DAMAGES as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    return parse_json(text, f"config.json of {path}")


def shape_of_weights(path: Path) -> tuple[int, int]:
    """Returns the numbers of input channels and of classes in a `.weights.h5` file.

    Raises:
        UserError: for a file that is damaged, or not of a network of `build_regnet`.
    """
    try:
        with h5py.File(path) as file:
            _check_datasets(file, path, _is_counter)
            names = ("stem/conv", "stem/conv_1", "head")
            single, first, head = (file.get(f"layers/{name}/vars/0") for name in names)
            stem = first if single is None else single
            if isinstance(stem, h5py.Dataset) and stem.ndim == 4:
                classes = head.shape[-1] if isinstance(head, h5py.Dataset) and head.ndim else 0
                return stem.shape[2], classes
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"`weights` {path} is damaged: {first_line(error)}") from error
    raise UserError(f"`weights` {path} must hold a network of `build_regnet`. It has no stem.")


def _check_archive(path):
    """Raises an error if a `.keras` file claims too much, or has weights that are no numbers."""
    with zipfile.ZipFile(path) as archive:
        check_claim(path, sum(entry.file_size for entry in archive.infolist()))
        if _WEIGHTS in archive.namelist():
            # Not opened in the archive: h5py jumps to and fro, which takes 50 times as long there.
            with h5py.File(io.BytesIO(archive.read(_WEIGHTS))) as file:
                _check_datasets(file, path, lambda name: True)


def _is_counter(name):
    return "seed_generator" in name or name.startswith("optimizer")


def _check_datasets(file: h5py.File, path: Path, may_be_integers: Callable[[str], bool]) -> None:
    """Raises ValueError unless all datasets are real numbers, and as large as they claim."""
    claims = [0]

    def visit(name, item):
        if not isinstance(item, h5py.Dataset):
            return
        claims.append(math.prod(item.shape or ()) * item.dtype.itemsize)
        is_float = item.dtype.kind == "f" or item.attrs.get("dtype") == "bfloat16"
        if not is_float and not (item.dtype.kind in "iu" and may_be_integers(name)):
            raise ValueError(f"{name} must hold floating-point numbers. It holds {item.dtype}")

    file.visititems(visit)
    check_claim(path, sum(claims))


def _reason(error):
    """Returns why Keras did not read a file, without its advice to let the file run code."""
    text = str(error)
    # The message begins with the outermost layer, and names an unknown class later.
    unknown = re.search(r"Could not locate class '[^']+'", text)
    if unknown:
        return f"{unknown[0]}, a custom layer"
    if "safe_mode" in text or "unsafe" in text:
        return "it holds Python code, which could do harm"
    return first_line(error)
