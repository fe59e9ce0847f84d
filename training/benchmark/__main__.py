"""`python -m training.benchmark` is `regnet benchmark`."""

from regnet_command import start

if __name__ == "__main__":
    start(".command", __package__)
