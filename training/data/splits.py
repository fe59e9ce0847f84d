"""The kinds of splits of a data set, and what a loader of a data set returns."""

from typing import NamedTuple

from .table import TableSplit
from .tfds_catalog import TfdsSplit

Split = TableSplit | TfdsSplit


class Loaded(NamedTuple):
    """What a loader found.

    Attributes:
        class_names: names of the classes.
        train: the training split, or None.
        test: the test split, or None.
        notes: lines to print.
        any_class: as in `DataSet`.
    """

    class_names: tuple[str, ...]
    train: Split | None
    test: Split | None
    notes: tuple[str, ...] = ()
    any_class: bool = False
