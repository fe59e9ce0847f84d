"""What a measurement ran on."""

import platform

from regnet_tf import _cpu
from regnet_tf._versions import installed_versions


def environment(threads: int | None) -> dict:
    """Returns processor, threads and versions, to record with the results."""
    return {
        "processor": _cpu.processor(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": installed_versions(("tensorflow", "keras", "numpy", "torch", "timm")),
        "onednn": _cpu.onednn(),
    }
