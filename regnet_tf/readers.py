"""Reads weight files of several formats as state dicts: names and numpy arrays."""

import argparse
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from regnet_tf._archives import check_archive, check_claim
from regnet_tf._checks import shown
from regnet_tf._errors import MissingPackageError, first_line
from regnet_tf._files import read_arrays, replacing

#: Suffixes of PyTorch's files. Only these files need torch.
TORCH_SUFFIXES = (".pth", ".pth.tar", ".pyth", ".pt", ".torch", ".bin")
SUFFIXES = (".safetensors", ".npz", *TORCH_SUFFIXES)

#: Keys of a checkpoint under which projects nest the weights, outermost first: pycls, mmpretrain
#: and timm's trainer, torchvision's and others' trainers, ClassyVision and VISSL.
_NESTS = ("model_state", "state_dict", "classy_state_dict", "base_model", "model")
_MOST_NESTS = 16
_TOO_DEEP = "its weights are nested too deeply, or in themselves"


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a weight file.

    Args:
        path: a file whose name ends in one of `SUFFIXES`, or a folder as the Hugging Face hub
            stores it, with `model.safetensors` or `pytorch_model.bin`. PyTorch's files need torch.
            They are read with `weights_only=True`, so they cannot run code.

    Returns:
        The source's names -> arrays; half-precision tensors become float32. If a trainer stored
        both weights and their moving average, the weights are returned.

    Raises:
        FileNotFoundError: if the file does not exist.
        MissingPackageError: if torch is needed and not installed.
        ValueError: for an unknown suffix, or a file that is damaged or holds no weights.

    Examples:
        >>> regnet_tf.write_state_dict("weights.npz", {"head.fc.bias": np.zeros(10, "float16")})
        >>> regnet_tf.read_state_dict("weights.npz")["head.fc.bias"].dtype
        dtype('float32')
    """
    file = _file_in(Path(path))
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    if file.suffix == ".npz":
        return _read_npz(file)
    if file.name.endswith(TORCH_SUFFIXES):
        return _read_torch(file)
    if file.suffix == ".h5":
        raise ValueError(
            f"`path` {file} is a file of tf_keras or Keras 2. Their RegNets pad strided"
            " convolutions on one side only, so the weights do not fit these networks"
        )
    raise ValueError(f"`path` must end in one of {', '.join(SUFFIXES)}. Received: {file}")


def write_state_dict(path: str | os.PathLike, state_dict: Mapping[str, Any]) -> None:
    """Writes names and arrays to a `.safetensors` or `.npz` file.

    A temporary file in the same folder is written first, and then renamed.

    Raises:
        ValueError: for another suffix.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, classes=10)
        >>> regnet_tf.write_state_dict("tiny.safetensors", regnet_tf.to_state_dict(model))
        >>> len(regnet_tf.read_state_dict("tiny.safetensors"))
        98
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"`path` must end in .safetensors or .npz. Received: {path}")
    with replacing(path) as partial:
        if path.suffix == ".npz":
            np.savez(partial, **state_dict)
        else:
            contiguous = {name: np.ascontiguousarray(a) for name, a in state_dict.items()}
            safetensors.numpy.save_file(contiguous, partial, metadata={"format": "pt"})


def _file_in(path):
    """Returns the weight file in a hub-style folder; another path is returned unchanged."""
    if path.is_dir():
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"{path} holds neither model.safetensors nor pytorch_model.bin")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    return path


def _read_safetensors(path):
    try:
        tensors = safetensors.numpy.load_file(path)
    except (KeyError, AttributeError) as error:
        raise _damaged(path, f"it has numbers of a type that numpy lacks ({error})") from error
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    return {name: _float32(tensor) for name, tensor in tensors.items()}


def _read_npz(path):
    try:
        return {name: _float32(array) for name, array in read_arrays(path).items()}
    except ValueError as error:
        raise _damaged(path, error) from error


def _read_torch(path):
    try:
        import torch
        from torch.serialization import safe_globals
    except ImportError as error:
        raise MissingPackageError(
            f"{path.name} is a file of PyTorch: pip install 'torch >= 2.5' to read it, or run"
            " `regnet weights convert` on a machine with PyTorch"
        ) from error
    try:
        if zipfile.is_zipfile(path):  # not in the format of PyTorch before 1.6
            check_archive(path)
        # timm's and torchvision's trainers store their arguments with the weights.
        with safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, OSError ...
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is None:
            raise _damaged(path, _reason(error)) from error
        raise ValueError(
            f"{path} was not read: it contains a Python object, {code[1]}, that could run code."
            " If you trust the file, save only its state dict with torch.save"
        ) from error
    try:
        found = _flat(checkpoint)
        tensors = {name: one for name, one in found.items() if isinstance(one, torch.Tensor)}
        check_claim(path, sum(one.numel() * one.element_size() for one in tensors.values()))
        arrays = {name: _array_of(name, one, torch) for name, one in tensors.items()}
    except ValueError as error:
        raise ValueError(f"{path} was not read: {error}") from error
    if not arrays:
        raise _damaged(path, "it holds no tensors")
    return arrays


def _reason(error):
    """Returns why PyTorch did not read a file, without its advice to let the file run code."""
    if "weights_only" in str(error):
        return "it holds more than tensors and plain values"
    return error


def _array_of(name, tensor, torch):
    """Converts a tensor of PyTorch to an array; floats become float32.

    Raises:
        ValueError: if the tensor is no dense tensor with a value for each number, or has no name.
    """
    if not isinstance(name, str):
        raise ValueError(f"the names of its tensors must be texts. Received: {shown(name)}")
    kinds = {
        "quantized": tensor.is_quantized,
        "nested": tensor.is_nested,
        "sparse": tensor.layout != torch.strided,
        "without values": tensor.is_meta,
    }
    kind = next((kind for kind, is_of_kind in kinds.items() if is_of_kind), None)
    if kind is not None:
        raise ValueError(f"its tensor {name} is {kind}, not dense")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    try:
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (TypeError, RuntimeError) as error:  # a type of number that numpy lacks
        raise ValueError(f"its tensor {name} holds numbers of type {tensor.dtype}") from error


def _flat(checkpoint):
    """Returns the mapping of names to tensors that is nested in a checkpoint."""
    for _ in range(_MOST_NESTS):
        if not isinstance(checkpoint, dict):
            return {}
        if isinstance(checkpoint.get("trunk"), dict):  # ClassyVision: separate trunk and heads
            return {**checkpoint["trunk"], **_head(checkpoint.get("heads"))}
        nest = next((key for key in _NESTS if isinstance(checkpoint.get(key), dict)), None)
        if nest is None:
            return checkpoint
        checkpoint = checkpoint[nest]
    raise ValueError(_TOO_DEEP)


def _head(heads):
    """Returns the tensors of a checkpoint's heads.

    VISSL's heads are returned unchanged. ClassyVision nests heads by block and name: the tensors of
    its only head are returned. Heads of another form, such as a list, are skipped, because no
    classifier's head has this form.
    """
    for _ in range(_MOST_NESTS):
        only = next(iter(heads.values())) if isinstance(heads, dict) and len(heads) == 1 else None
        if not isinstance(only, dict):
            return heads if isinstance(heads, dict) else {}
        heads = only
    raise ValueError(_TOO_DEEP)


def _float32(tensor):
    """Converts floats of 8 and 16 bits to float32; other dtypes stay."""
    is_short = "float" in tensor.dtype.name and tensor.dtype.itemsize <= 2
    return tensor.astype("float32") if is_short else tensor


def _damaged(path, error):
    return ValueError(f"{path} is damaged or holds no weights: {first_line(error)}")
