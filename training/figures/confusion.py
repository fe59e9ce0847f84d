"""The confusion matrix, for few and for many classes."""

import numpy as np

from .canvas import LIGHT, empty_figure, fitted, named, plain_ticks

_MOST = 30  # classes of a matrix with names and numbers
_PAIRS = 12  # listed pairs of classes that are confused
_CELLS = 250  # largest side of the small matrix of all classes, in cells
_LABEL, _SIZE = 2.4, 8  # width of a name in inches, and its size in points


def confusion(counts, class_names, title, support=None):
    """Draws a confusion matrix in percent of each true class, with errors in red.

    Classes that neither occur nor are predicted are left out. Of more than 30 classes, the 30
    most confused ones are drawn, next to a small matrix of all and a list of the most frequent
    confusions.

    Args:
        counts: `(true class, predicted class)`.
        class_names: a name for every class.
        title: title of the figure.
        support: number of images or pixels of each true class; default: the sums of the rows.
    """
    support = counts.sum(1) if support is None else np.asarray(support)
    used = np.flatnonzero((support > 0) | (counts.sum(0) > 0))
    used = used if len(used) else np.arange(len(class_names))
    counts, support = counts[np.ix_(used, used)], support[used]
    names = [named(class_names[index]) for index in used]
    shares = counts / np.maximum(support[:, None], 1)
    heading = f"{title}: {_verdict(counts, support)}"
    if len(names) <= _MOST:
        side = max(0.42 * len(names), 2.4)
        labels = min(max(0.11 * max(map(len, names)), 0.4), _LABEL) + 0.9
        figure = empty_figure((max(side + labels, 6.0), side + labels + 0.4), heading)
        axes = figure.subplots()
        _draw(axes, shares, counts, support, names)
        return figure
    return _many(counts, shares, support, names, heading)


def _verdict(counts, support):
    wrong = int(counts.sum() - np.trace(counts))
    return f"{wrong:,} of {int(support.sum()):,} wrong, in % of each true class"


def _many(counts, shares, support, names, heading):
    """Draws the most confused classes, and all of them small."""
    errors = counts * ~np.eye(len(names), dtype=bool)
    most = _most_confused(errors)
    figure = empty_figure((18.5, 13.2), heading)
    large, right = figure.subfigures(1, 2, width_ratios=(2.9, 1))
    part = np.ix_(most, most)
    axes = large.subplots()
    _draw(axes, shares[part], counts[part], support[most], [names[index] for index in most])
    axes.set_title(f"the {len(most)} most confused classes of {len(names)}", fontsize=10)
    small, listed = right.subplots(2, 1)
    coarse, step = _coarse(counts, support)
    right_ones = np.eye(len(coarse), dtype=bool)
    _show(small, coarse, right_ones)
    each = "one cell a class" if step == 1 else f"{step} classes a cell"
    small.set_title(f"all {len(names)} classes, {each}", fontsize=10)
    small.set(xticks=[], yticks=[], xlabel="predicted", ylabel="true")
    _list_pairs(listed, errors, support, names)
    return figure


def _most_confused(errors):
    """Returns the classes of the most frequent confusions, in their order."""
    pairs = np.argsort(-errors, axis=None, kind="stable")
    classes = np.stack(np.unravel_index(pairs, errors.shape), -1).ravel()
    return np.sort(list(dict.fromkeys(classes.tolist()))[:_MOST])


def _coarse(counts, support):
    """Returns shares of groups of neighbouring classes, and the number of classes in a group."""
    step = -(-len(counts) // _CELLS)
    starts = np.arange(0, len(counts), step)
    sums = np.add.reduceat(np.add.reduceat(counts, starts, 0), starts, 1)
    return sums / np.maximum(np.add.reduceat(support, starts)[:, None], 1), step


def _list_pairs(axes, errors, support, names):
    axes.set_axis_off()
    axes.set_title("most frequent confusions: true, taken for", fontsize=10)
    order = np.argsort(-errors, axis=None, kind="stable")[:_PAIRS]
    for line, (true, predicted) in enumerate(
        zip(*np.unravel_index(order, errors.shape), strict=True)
    ):
        count = errors[true, predicted]
        if not count:
            break
        share = f"{count:,} of {support[true]:,}"
        pair = "  →  ".join(fitted(names[index], 1.5, _SIZE)[0] for index in (true, predicted))
        style = {"fontsize": _SIZE, "va": "top", "transform": axes.transAxes, "parse_math": False}
        y = 0.97 - 0.05 * line
        axes.text(0, y, pair, **style)
        axes.text(1, y, share, ha="right", **style)


def _show(axes, shares, right):
    """Draws the shares: right ones in blue, errors in red."""
    axes.set_facecolor(LIGHT)
    axes.imshow(
        np.ma.masked_where(~right, shares), cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest"
    )
    # The square root makes a single error among dozens visible.
    wrong = np.ma.masked_where(right | (shares == 0), np.sqrt(shares))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=1, interpolation="nearest")


def _draw(axes, shares, counts, support, names):
    """Draws a matrix with names and percentages."""
    places = np.arange(len(names))
    _show(axes, shares, np.eye(len(names), dtype=bool))
    labels = [fitted(name, _LABEL, _SIZE)[0] for name in names]
    style = {"fontsize": _SIZE}
    turned = 90 if max(map(len, labels)) > 3 else 0
    plain_ticks(axes.xaxis, places, labels, rotation=turned, **style)
    pairs = zip(labels, support, strict=True)
    plain_ticks(axes.yaxis, places, [f"{name}  ({count:,})" for name, count in pairs], **style)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (number)")
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        text = {"ha": "center", "va": "center", "fontsize": 8, "color": color}
        axes.text(column, row, _percent(shares[row, column]), **text)


def _percent(share):
    """Returns a share in percent without digits, but not 0 or 100 for what is neither."""
    if share <= 0.005:
        return "<1"
    return ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
