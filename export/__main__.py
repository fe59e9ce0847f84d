"""`python -m export` is `regnet export`."""

from regnet_command import start

if __name__ == "__main__":
    start(".command", __package__)
