"""Runs `regnet data` as `python -m training.data`."""

import sys

from ..data_command import main

if __name__ == "__main__":
    sys.exit(main())
