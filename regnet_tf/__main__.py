"""`python -m regnet_tf` is `regnet`, which starts faster."""

from regnet_command import start

if __name__ == "__main__":
    start()
