"""The kinds of splits of a data set."""

from .table import TableSplit
from .tfds_catalog import TfdsSplit

Split = TableSplit | TfdsSplit
