"""Training programs, run from a checkout: `python -m training --help`."""
