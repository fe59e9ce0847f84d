"""Measures this project against others, and writes the pages of what was measured."""

import regnet_command  # noqa: F401  it takes over the process of a program
