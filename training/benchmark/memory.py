"""Memory of this process. It needs only Python: processes of other environments import it."""

import sys
from pathlib import Path


def most_memory():
    """Returns the peak memory of this process in MiB, libraries included.

    On Linux, `getrusage` also counts the memory of the parent process; `/proc/self/status` does
    not.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) / 1024
    except (OSError, ValueError):
        import resource  # not available on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
