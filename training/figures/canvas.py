"""What all figures share: colours, files, and texts that fit into their place."""

import contextlib
import functools
import os
import warnings

from regnet_tf._errors import import_optional
from regnet_tf._files import replacing
from regnet_tf.class_names import readable

BLUE, ORANGE, RED, GREY = "#1f5fa8", "#e07b1a", "#c8202f", "#666666"
LIGHT = "#eeeeee"
_DPI = 130
_POINTS = 72  # of an inch
_ELLIPSIS = "…"


def write_figure(figure, path):
    """Writes a figure as PNG; an old file is replaced when the new one is complete."""
    with replacing(path) as partial, _without_warnings():
        figure.savefig(partial, format="png", dpi=_DPI)


def empty_figure(size, title, layout="constrained"):
    """Returns an empty figure.

    Args:
        size: width and height in inches.
        title: title of the figure; a long one is shortened.
        layout: matplotlib's layout engine, or None to place axes by hand.
    """
    figure = import_optional("matplotlib.figure").Figure(size, layout=layout)
    if title:
        shown = fitted(title, size[0] - 0.4, 11, lines=2)
        place = {} if layout else {"y": 1 - 0.12 / size[1]}  # else below the edge by a share
        figure.suptitle("\n".join(shown), fontsize=11, parse_math=False, **place)
    return figure


def named(class_name):
    """Returns the name of a class for people; an ImageNet synset's first words."""
    return cleaned(readable(class_name))


def cleaned(text):
    """Returns a text that matplotlib can draw: in one line, and of valid characters."""
    text = os.fspath(text) if isinstance(text, os.PathLike) else str(text)
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


@functools.lru_cache(maxsize=10_000)
def text_width(text, size):
    """Returns the width of a text in inches.

    Args:
        text: the text.
        size: font size in points.
    """
    paths, properties = _text_tools()
    font = properties(size=size)
    with _without_warnings():
        width, _, _ = paths.get_text_width_height_descent(text, font, ismath=False)
    return width / _POINTS


@contextlib.contextmanager
def _without_warnings():
    """Hides matplotlib's warnings about letters that its font lacks, which become boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def fitted(text, width, size, lines=1, keep="both"):
    """Returns a text in lines that are not wider than some width.

    A line ends at a space, `_`, `-` or `/` where one is near.

    Args:
        text: the text.
        width: width in inches.
        size: font size in points.
        lines: maximum number of lines.
        keep: which end of a too long text is kept: "both" or "end".
    """
    text = cleaned(text)
    found: list[str] = []
    while len(found) < lines - 1 and text_width(text, size) > width:
        place = _most_characters(text, width, size)
        breaks = [text.rfind(one, place // 2, place) + 1 for one in " _-/"]
        place = max(breaks) or place
        found.append(text[:place].rstrip())
        text = text[place:].lstrip()
    return [*found, _shortened(text, width, size, keep)]


def _shortened(text, width, size, keep):
    """Returns a text that loses its middle or its start if it is too wide."""
    if text_width(text, size) <= width:
        return text
    room = width - text_width(_ELLIPSIS, size)
    start = text[: _most_characters(text, room / 2, size)].rstrip() if keep == "both" else ""
    rest = text[::-1]
    end = rest[: _most_characters(rest, room - text_width(start, size), size)][::-1]
    return start + _ELLIPSIS + end.lstrip()


def _most_characters(text, width, size):
    """Returns how many of the first characters fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(text[:middle], size) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


@functools.cache
def _text_tools():
    paths = import_optional("matplotlib.textpath").TextToPath()
    return paths, import_optional("matplotlib.font_manager").FontProperties


def plain_ticks(axis, places, labels, **style):
    """Sets the ticks of an axis to texts that are not read as formulas.

    Args:
        axis: matplotlib's axis.
        places: position of each tick.
        labels: text of each tick.
        **style: properties of the texts.
    """
    axis.set_ticks(places, labels)
    for label in axis.get_ticklabels():
        label.set(parse_math=False, **style)
