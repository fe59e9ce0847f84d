"""`python -m export.client` is `regnet ask`."""

from regnet_command import start

if __name__ == "__main__":
    start(".command", __package__)
