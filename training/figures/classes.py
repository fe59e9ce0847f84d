"""A figure of one score for each class."""

import numpy as np

from .canvas import BLUE, GREY, ORANGE, empty_figure, fitted, named, plain_ticks

_MOST, _SHOWN = 50, 25  # with more classes, the worst and the best ones are shown
_LABEL, _SIZE = 2.2, 8  # width of a name in inches, and its size in points


def classes(values, support, title, measure, unit):
    """Draws the score of each class as bars, from the lowest on.

    Of more than 50 classes, the 25 lowest and the 25 highest are drawn.

    Args:
        values: name of the class -> score from 0 to 1, or None if unknown.
        support: name of the class -> number of test images or pixels.
        title: title of the figure.
        measure: name of the score.
        unit: what `support` counts.
    """
    known = sorted((name for name in values if values[name] is not None), key=values.get)
    parts = [known]
    if len(known) > _MOST:
        parts = [known[:_SHOWN], known[-_SHOWN:]]
    unknown = len(values) - len(known)
    notes = [f"{measure} of each class"]
    if len(parts) == 2:
        notes = [
            f"{measure} of the {_SHOWN} lowest and the {_SHOWN} highest of {len(known)} classes"
        ]
    if unknown:
        notes.append(f"{unknown} without test images are left out")
    rows = max(len(parts[0]), 1)
    size = (5.6 * len(parts) + 0.4, 0.21 * rows + 1.6)
    figure = empty_figure(size, f"{title}: {'; '.join(notes)}")
    mean = np.mean([values[name] for name in known]) if known else 0.0
    for axes, names in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        _draw(axes, names, values, support, unit)
        label = f"mean {100 * mean:.1f} %"
        axes.axvline(100 * mean, color=ORANGE, linewidth=1, zorder=0.9, label=label)
        axes.set_xlabel(f"{measure} (%)")
    figure.axes[0].legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def _draw(axes, names, values, support, unit):
    places = np.arange(len(names))
    widths = [100 * values[name] for name in names]
    axes.barh(places, widths, color=BLUE, height=0.7)
    plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    style = {"va": "center", "fontsize": 7, "bbox": plate}
    for place, width, name in zip(places, widths, names, strict=True):
        text = f"{width:.0f} %  ({support[name]:,})"
        axes.text(width + 1, place, text, color=GREY, **style)
    labels = [fitted(named(name), _LABEL, _SIZE)[0] for name in names]
    plain_ticks(axes.yaxis, places, labels, fontsize=_SIZE)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 118)
    axes.set_xticks(range(0, 101, 20))
    axes.set_title(f"in parentheses: number of {unit}", fontsize=7, color=GREY, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
