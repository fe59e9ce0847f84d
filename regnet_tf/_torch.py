"""Imports PyTorch and packages built on it, to compare our networks with theirs."""

import contextlib
import importlib

from regnet_tf._errors import MissingPackageError


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


def import_timm():
    """Returns PyTorch and timm, even without torchvision's compiled operations.

    Raises:
        MissingPackageError: if one of them is not installed.
    """
    try:
        return import_with_torch("timm")
    except ImportError as error:
        raise MissingPackageError("This needs PyTorch and timm: pip install torch timm") from error
