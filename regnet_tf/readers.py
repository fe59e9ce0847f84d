"""Weight files -> state dicts: names and numpy arrays, whatever the format."""

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from regnet_tf._errors import MissingPackageError, first_line
from regnet_tf._files import read_arrays

#: Endings of the files of PyTorch; only they need torch.
TORCH_SUFFIXES = (".pth", ".pth.tar", ".pyth", ".pt", ".torch", ".bin")
SUFFIXES = (".safetensors", ".npz", *TORCH_SUFFIXES)

#: Where projects keep the weights within a checkpoint, outermost first: pycls, mmpretrain and
#: timm's trainer, torchvision's and others' trainers, ClassyVision and VISSL.
_NESTS = ("model_state", "state_dict", "classy_state_dict", "base_model", "model")


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a weight file.

    Args:
        path: a file whose name ends in one of `SUFFIXES`, or a folder as the Hugging Face hub
            keeps them, with `model.safetensors` or `pytorch_model.bin`. Files of PyTorch need
            torch, and are read with `weights_only=True`: they can not run code.

    Returns:
        The source's names -> arrays; half-precision tensors as float32. Where a trainer keeps
        weights and a moving average of them, the weights.

    Raises:
        FileNotFoundError: where there is no such file.
        MissingPackageError: where torch is needed and missing.
        ValueError: for an unknown ending, or a file that is damaged or holds no weights.
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
            f"`path` {file} is a file of tf_keras or Keras 2, whose RegNets pad strided"
            " convolutions on one side only: their weights do not belong in these networks"
        )
    raise ValueError(f"`path` must end in one of {', '.join(SUFFIXES)}. Received: {file}")


def write_state_dict(path: str | os.PathLike, state_dict: Mapping[str, Any]) -> None:
    """Writes names and arrays as `.safetensors` or `.npz`, beside the target, then renamed.

    Raises:
        ValueError: for another ending.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"`path` must end in .safetensors or .npz. Received: {path}")
    beside = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        if path.suffix == ".npz":
            np.savez(beside, **state_dict)
        else:
            contiguous = {name: np.ascontiguousarray(a) for name, a in state_dict.items()}
            safetensors.numpy.save_file(contiguous, beside, metadata={"format": "pt"})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _file_in(path):
    """The weight file of a hub-style folder; any other path as it is."""
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
        return {name: _float32(tensor) for name, tensor in tensors.items()}
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from error


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
            f"{path.name} is a file of PyTorch: pip install 'torch >= 2.5' to read it, or convert"
            " it where torch is installed with `regnet weights convert`"
        ) from error
    try:
        # timm's and torchvision's trainers keep their arguments beside the weights.
        with safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, OSError ...
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is None:
            raise _damaged(path, error) from error
        raise ValueError(
            f"{path} is not read: beside weights it holds a Python object, {code[1]}, which could"
            " run code. Where you trust it, save its state dict alone with torch"
        ) from error
    tensors = {}
    for name, value in _flat(checkpoint).items():
        if isinstance(value, torch.Tensor):
            value = value.float() if value.is_floating_point() else value
            tensors[name] = value.detach().numpy()
    if not tensors:
        raise _damaged(path, "it holds no tensors")
    return tensors


def _flat(checkpoint):
    """The mapping of names to tensors inside a checkpoint's nestings."""
    while isinstance(checkpoint, dict):
        if isinstance(checkpoint.get("trunk"), dict):  # ClassyVision: trunk and heads apart
            return {**checkpoint["trunk"], **_head(checkpoint.get("heads"))}
        nest = next((key for key in _NESTS if isinstance(checkpoint.get(key), dict)), None)
        if nest is None:
            return checkpoint
        checkpoint = checkpoint[nest]
    return {}


def _head(heads):
    """VISSL's heads as they are; of ClassyVision's, by block and name, the tensors of the only one.

    Heads of another form, such as a list, are left out: no classifier has it.
    """
    while isinstance(heads, dict) and len(heads) == 1:
        (only,) = heads.values()
        if not isinstance(only, dict):
            break
        heads = only
    return heads if isinstance(heads, dict) else {}


def _float32(tensor):
    """bfloat16 and half precision as float32; anything else as it is."""
    halves = tensor.dtype.kind not in "fiub" or tensor.dtype.itemsize == 2
    return tensor.astype("float32") if halves else tensor


def _damaged(path, error):
    return ValueError(f"{path} is damaged or holds no weights: {first_line(error)}")
