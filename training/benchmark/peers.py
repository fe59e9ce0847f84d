"""Other libraries to measure against."""

from regnet_tf._errors import MissingPackageError
from regnet_tf._torch import import_with_torch


def import_timm():
    """Returns PyTorch and timm, even without torchvision's compiled operations.

    Raises:
        MissingPackageError: if one of them is not installed.
    """
    try:
        return import_with_torch("timm")
    except ImportError as error:
        raise MissingPackageError("This needs PyTorch and timm: pip install torch timm") from error
