"""Waiting for what other processes do, however busy the machine is."""

import time


def wait_for(condition, seconds=1800):
    """What `condition` returns once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")
