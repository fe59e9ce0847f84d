"""The processor, and the oneDNN kernels that TensorFlow uses on it."""

import ctypes
import functools
import os
import platform
import sys

_AVX512_ON_WINDOWS = 41  # PF_AVX512F_INSTRUCTIONS_AVAILABLE
# oneDNN's environment variable: its current name and its former name.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


def processor() -> str:
    """Returns the processor's name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def onednn() -> str:
    """Returns which oneDNN kernels TensorFlow uses.

    Returns:
        "off" if TensorFlow runs without oneDNN, or was built without it. "avx512", "avx2" or
        "sse41" on x86, by the processor and the variable ONEDNN_MAX_CPU_ISA. "on" elsewhere.
    """
    from regnet_tf._internals import has_onednn  # imports Keras, which takes seconds

    if not has_onednn():
        return "off"
    if not _is_x86():
        return "on"
    limit = next((os.environ[name].upper() for name in _LIMITS if name in os.environ), "")
    if limit in ("SSE41", "AVX") or not _has("avx2"):
        return "sse41"
    return "avx2" if limit.startswith("AVX2") or not _has("avx512bw") else "avx512"


def could_have_onednn() -> bool:
    """Whether TensorFlow's packages for this system include oneDNN: all except macOS."""
    return sys.platform != "darwin"


def _is_x86():
    return platform.machine().lower() in ("x86_64", "amd64")


def _has(flag):
    """Whether the processor has these vector instructions."""
    if sys.platform == "win32":
        has_avx512 = ctypes.windll.kernel32.IsProcessorFeaturePresent(_AVX512_ON_WINDOWS)
        return bool(has_avx512) if flag.startswith("avx512") else True
    return flag in _cpuinfo("flags").split()


@functools.cache
def _cpuinfo(key):
    """Returns a value from Linux' description of the first processor; "" elsewhere."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        pass
    return ""
