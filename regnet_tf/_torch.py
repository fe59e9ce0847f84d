"""PyTorch and what stands on it, where networks are compared with its own."""

import contextlib
import importlib


def import_with_torch(package):
    """PyTorch and a package that imports torchvision, on machines without its operations too.

    A CPU build of PyTorch beside torchvision's standard wheel lacks torchvision's compiled
    operations, and torchvision does not import unless they are at least declared.

    Args:
        package: "torchvision" itself, or for example "timm".

    Raises:
        ModuleNotFoundError: if one of them is not installed.
    """
    import torch

    with contextlib.suppress(RuntimeError):  # they are there
        # Declared as long as this name lives, hence until the import is done.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return torch, importlib.import_module(package)
