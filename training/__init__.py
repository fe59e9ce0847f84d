"""Training programs, run from a checkout: `regnet train --help`."""

import regnet_command  # noqa: F401  it takes over the process of a program
