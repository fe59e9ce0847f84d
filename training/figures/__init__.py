"""Figures of training runs and evaluations, with matplotlib. No window system is needed."""

from .boxes import Boxes, boxes
from .canvas import empty_figure, named, write_figure
from .classes import classes
from .confusion import confusion
from .curves import curves
from .sheets import SHEET, Scene, Sheet, Shown, ShownSet

__all__ = [
    "SHEET",
    "Boxes",
    "Scene",
    "Sheet",
    "Shown",
    "ShownSet",
    "boxes",
    "classes",
    "confusion",
    "curves",
    "empty_figure",
    "named",
    "write_figure",
]
