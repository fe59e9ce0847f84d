"""`python -m export.benchmark` is `regnet benchmark files`."""

from regnet_command import start

if __name__ == "__main__":
    start(".command", __package__)
