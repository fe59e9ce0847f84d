"""What a measurement ran on."""

import contextlib
import platform
from importlib import metadata

from regnet_tf import _cpu


def environment(threads) -> dict:
    """Returns processor, threads and versions, to record with the results."""
    versions = {}
    for package in ("tensorflow", "keras", "numpy", "torch", "timm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "processor": _cpu.processor(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
        "onednn": _cpu.onednn(),
    }
