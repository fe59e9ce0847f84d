"""Runs `regnet ask` as `python -m export.client`."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
