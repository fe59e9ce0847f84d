"""Populations: many networks of a design space, each trained for a few epochs.

`regnet sweep run` trains them; `regnet sweep analyze` compares them.
"""

from pathlib import Path


def built_in() -> dict:
    """Returns the built-in populations: name -> specification file."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "specs").glob("*.json"))}
