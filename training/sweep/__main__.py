"""`python -m training.sweep` is `regnet sweep`."""

from regnet_command import start

if __name__ == "__main__":
    start(".command", __package__)
