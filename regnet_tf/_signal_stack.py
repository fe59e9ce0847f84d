"""The stack on which a thread receives signals."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_SIZE = 64  # bytes, more than a `stack_t` has


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Restores this thread's signal stack at the end of the block.

    OpenVINO sets one where it compiles a network, and frees it with the network. Of two networks it
    restores a stack that it has freed, if the older one goes first. The next signal would then end
    the process by a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), ctypes.create_string_buffer(_SIZE)
    library.sigaltstack(None, before)
    try:
        yield
    finally:
        library.sigaltstack(before, None)
