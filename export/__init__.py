"""Programs that export a trained RegNet for servers and phones."""

import regnet_command  # noqa: F401  it takes over the process of a program
