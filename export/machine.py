"""What numbers of speed depend on."""

import platform


def processor() -> str:
    """Its name, where Linux tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line for line in file if line.startswith("model name")]
        return names[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
