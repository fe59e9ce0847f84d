"""`python -m regnet_command` is `regnet`."""

from . import start

if __name__ == "__main__":
    start()
