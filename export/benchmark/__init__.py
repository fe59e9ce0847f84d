"""Measures the speed of exported files: `regnet benchmark files`."""
