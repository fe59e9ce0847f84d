"""Imports PyTorch and packages built on it, to compare our networks with theirs."""

import contextlib
import importlib


def import_with_torch(package):
    """Imports PyTorch and a package that needs torchvision, also without compiled operations.

    A CPU build of PyTorch with torchvision's standard wheel lacks torchvision's compiled
    operations. torchvision does not import unless they are at least declared.

    Args:
        package: "torchvision" itself, or for example "timm".

    Raises:
        ModuleNotFoundError: if one of them is not installed.
    """
    import torch

    with contextlib.suppress(RuntimeError):  # the operations exist
        # The declaration lives as long as this name, so until the import is done.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return torch, importlib.import_module(package)
