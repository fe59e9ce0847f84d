"""Sheets of test images with what a network says about them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from regnet_tf._errors import import_optional
from regnet_tf._predictors import THRESHOLD

from .canvas import GREY, RED, cleaned, empty_figure, fitted, named

#: Number of images on a sheet.
SHEET = 40
_COLUMNS = 8
_SCENES_PER_ROW = 3
_CELL, _GAP = 1.45, 0.15  # width of a picture and the space next to it, in inches
_LINE, _SIZE, _SMALL = 0.145, 8, 6.5  # height of a line in inches; sizes in points
_MOST_NAMED = 30  # classes in the legend of a map
_IGNORED = "#ffffff"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A test image with one class.

    Attributes:
        image: the network's input, a tensor `(height, width, channels)`.
        label: true class.
        guess: predicted class.
        score: its probability.
        index: number of the image in the test.
    """

    image: Any
    label: int
    guess: int
    score: float
    index: int

    @property
    def is_right(self) -> bool:
        """Whether the prediction is right."""
        return self.label == self.guess

    @property
    def error(self) -> float:
        """Probability of the class that is wrongly predicted; 0 if the prediction is right."""
        return 0.0 if self.is_right else float(self.score)

    def texts(self, class_names: Sequence[str]) -> list[str]:
        """Returns the prediction, and the truth if it differs."""
        found = [f"{self.score:.0%} {named(class_names[self.guess])}"]
        return found if self.is_right else [*found, f"is {named(class_names[self.label])}"]


@dataclasses.dataclass(frozen=True)
class ShownSet:
    """A test image with any number of classes.

    Attributes:
        image: the network's input, a tensor `(height, width, channels)`.
        has: whether the image has each class.
        scores: probability of each class.
        index: number of the image in the test.
    """

    image: Any
    has: np.ndarray
    scores: np.ndarray
    index: int

    @property
    def errors(self) -> np.ndarray:
        """How far the probability of each class is from the truth."""
        return np.abs(self.has - self.scores)

    @property
    def error(self) -> float:
        """The largest one of `errors`."""
        return float(self.errors.max())

    @property
    def guess(self) -> int:
        """The class with the largest error."""
        return int(self.errors.argmax())

    @property
    def is_right(self) -> bool:
        """Whether the prediction of every class is right."""
        return bool(((self.scores > THRESHOLD) == self.has).all())

    def texts(self, class_names: Sequence[str]) -> list[str]:
        """Returns the predicted classes, and those that are missed or wrongly predicted."""
        named_ones = self.scores > THRESHOLD
        lines = [_listed(named_ones, self.scores, class_names) or "nothing"]
        for word, places in (
            ("misses", self.has & ~named_ones),
            ("is not", named_ones & ~self.has),
        ):
            if places.any():
                lines.append(f"{word} {_listed(places, self.scores, class_names)}")
        return lines


def _listed(places, scores, class_names):
    order = [n for n in np.argsort(-scores, kind="stable") if places[n]]
    return ", ".join(f"{scores[n]:.0%} {named(class_names[n])}" for n in order)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A test image with a class for each pixel.

    Attributes:
        image: the network's input, a tensor `(height, width, channels)`.
        true: classes `(height, width)`; other numbers are ignored pixels.
        predicted: classes `(height, width)`.
        index: number of the image in the test.
    """

    image: Any
    true: np.ndarray
    predicted: np.ndarray
    index: int


class Sheet:
    """Draws sheets of test images.

    Args:
        predictor: the network, a `regnet_tf._predictors.Predictor`.
        class_names: names of its classes.
        paths: file names of the test images; None if they have none.
    """

    def __init__(self, predictor, class_names, paths):
        self._predictor = predictor
        self._names = class_names
        self._paths = paths

    def draw(self, items, title, grad_cam=False):
        """Draws images with their predictions beneath; wrong ones have a red frame.

        Args:
            items: list of `Shown` or `ShownSet`.
            title: title of the figure.
            grad_cam: whether to draw Grad-CAM's heat map of the prediction next to each image.
        """
        if not items:
            return _note(title, "There are none.")
        width, columns = (2 * _CELL, _COLUMNS // 2) if grad_cam else (_CELL, _COLUMNS)
        columns = min(columns, len(items))
        captions = [self._caption(item, width) for item in items]
        step = (width + _GAP, _CELL + _LINE * max(map(len, captions)) + 2 * _GAP)
        rows, top = -(-len(items) // columns), 0.55
        size = np.array([max(columns * step[0] + _GAP, 6.0), rows * step[1] + top])
        figure = empty_figure(size, title, layout=None)
        for number, (item, caption) in enumerate(zip(items, captions, strict=True)):
            row, column = divmod(number, columns)
            left, upper = _GAP + column * step[0], size[1] - top - row * step[1]
            picture = self._picture(item, grad_cam)
            axes = figure.add_axes(
                (left / size[0], (upper - _CELL) / size[1], width / size[0], _CELL / size[1])
            )
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[], anchor="C")
            color = GREY if item.is_right else RED
            axes.spines[:].set(color=color, linewidth=0.5 if item.is_right else 2.5)
            for line, (text, style) in enumerate(caption):
                y = (upper - _CELL - 0.06 - line * _LINE) / size[1]
                figure.text(left / size[0], y, text, va="top", parse_math=False, **style)
        return figure

    def draw_scenes(self, scenes, title):
        """Draws images next to their true and their predicted map of classes.

        Ignored pixels are white.

        Args:
            scenes: list of `Scene`.
            title: title of the figure.
        """
        if not scenes:
            return _note(title, "There are none.")
        columns = min(_SCENES_PER_ROW, len(scenes))
        rows, classes = -(-len(scenes) // columns), len(self._names)
        size = (max(4.6 * columns, 6.0), 1.75 * rows + 1.3)
        figure = empty_figure(size, title)
        grid = figure.subplots(rows, 3 * columns, squeeze=False)
        colors = import_optional("matplotlib").colormaps["tab20"].resampled(max(20, classes))
        for axes in grid.flat:
            axes.set_axis_off()
        for trio, scene in zip(grid.reshape(-1, 3), scenes, strict=False):
            trio[0].imshow(self._predictor.picture(scene.image))
            for axes, one in zip(trio[1:], (scene.true, scene.predicted), strict=True):
                shown = np.ma.masked_where((one < 0) | (one >= classes), one)
                axes.imshow(shown, cmap=colors, vmin=0, vmax=colors.N - 1, interpolation="nearest")
            if self._paths is not None:
                path = fitted(self._paths[scene.index], 1.45, _SMALL, keep="end")[0]
                trio[0].set_title(path, fontsize=_SMALL, y=-0.16, parse_math=False, color=GREY)
        for axes, name in zip(grid[0], ("image", "truth", "prediction") * columns, strict=True):
            axes.text(0.5, 1.04, name, ha="center", fontsize=9, transform=axes.transAxes)
        patch = import_optional("matplotlib.patches").Patch
        handles = [patch(color=colors(n), label=named(one)) for n, one in enumerate(self._names)]
        if classes <= _MOST_NAMED:
            place = {"loc": "outside lower center", "ncols": int(size[0] / 1.4), "fontsize": 8}
            figure.legend(handles=handles, **place)
        return figure

    def _caption(self, item, width):
        """Returns the lines beneath an image, each with its style."""
        color = "black" if item.is_right else RED
        lines = [
            (line, {"fontsize": _SIZE, "color": color})
            for text in item.texts(self._names)
            for line in fitted(text, width, _SIZE, lines=2)
        ]
        if self._paths is not None:
            path = fitted(self._paths[item.index], width, _SMALL, keep="end")[0]
            lines.append((path, {"fontsize": _SMALL, "color": GREY}))
        return lines

    def _picture(self, item, grad_cam):
        picture = self._predictor.picture(item.image)
        if not grad_cam:
            return picture
        heat = self._predictor.heat_map(item.image, item.guess)
        return np.concatenate([picture, heat], 1)


def _note(title, text):
    figure = empty_figure((6.0, 1.4), title)
    figure.text(0.5, 0.4, cleaned(text), ha="center", color=GREY)
    return figure
