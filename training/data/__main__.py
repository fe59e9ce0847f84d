"""`python -m training.data` is `regnet data`."""

from regnet_command import start

if __name__ == "__main__":
    start("..data_command", __package__)
