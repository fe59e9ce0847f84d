"""What a test gives to worker processes instead of a training."""

import os
import pathlib
import signal


def train(task):
    """Ends its process by SIGKILL as often as the task says; counts attempts in a file."""
    path = pathlib.Path(task["attempts"])
    with open(path, "a") as file:
        file.write("x")
    if len(path.read_text()) <= task["deaths"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"identity": task["identity"], "status": "trained"}
