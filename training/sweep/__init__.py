"""Populations: many networks of a design space, each trained a little, and what they show.

`regnet sweep run` trains them, `regnet sweep analyze` compares them.
"""

from pathlib import Path


def built_in() -> dict:
    """Name -> file of the populations that come with the project."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "specs").glob("*.json"))}
