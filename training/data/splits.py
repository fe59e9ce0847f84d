"""The kinds of splits of a data set, and what a loader of a data set returns."""

from typing import NamedTuple

from .table import TableSplit
from .tfds_catalog import TfdsSplit

Split = TableSplit | TfdsSplit


class Loaded(NamedTuple):
    """What a loader found: names of the classes, both splits (or None), and lines to print."""

    class_names: tuple[str, ...]
    train: Split | None
    test: Split | None
    notes: tuple[str, ...] = ()
