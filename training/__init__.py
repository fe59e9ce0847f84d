"""Training programs, run from a checkout: `regnet train --help`."""
