"""Curves of a training run: losses, accuracies and learning rate."""

import numpy as np

from .canvas import BLUE, GREY, ORANGE, RED, empty_figure

#: Test metrics besides the loss and the accuracy: name -> label.
_SCORES = {
    "balanced_accuracy": "balanced test accuracy",
    "mean_average_precision": "test mean average precision",
    "macro_f1": "test macro F1",
    "micro_f1": "test micro F1",
    "mean_iou": "test mean IoU",
    "top5_accuracy": "top-5 test accuracy",
}
# Outliers are at most this share of the values, and so many times as far from the lowest one as the
# others. Fewer values have none.
_SHARE, _FAR, _FEWEST = 0.1, 3.0, 6
_WIDE = 20.0  # values so many times the median need a logarithmic axis
_MARGIN = 0.06
_STYLE = {"marker": "o", "markersize": 3.5, "linewidth": 1.4}


def curves(history, title, score="accuracy", selected=None):
    """Draws losses, accuracies and learning rate over the epochs.

    The training loss is the plain cross-entropy, as the test loss is: without label smoothing and
    class weights. Single values far off are arrows at the edge, so that they flatten nothing. If
    many are far off, the axis of the loss is logarithmic.

    Args:
        history: one dict per epoch: "loss", and "cross_entropy" if it differs; "val_loss",
            "accuracy", "val_accuracy" (from 0 to 1), "learning_rate".
        title: title of the figure.
        score: main test metric, "accuracy" or another one with "val_" in the history.
        selected: index of the epoch whose network is kept, to mark it; None for no mark.
    """
    figure = empty_figure((12, 3.8), title)
    loss, accuracy, rate = figure.subplots(1, 3)
    train_loss = "cross_entropy" if "cross_entropy" in history[0] else "loss"
    lines = [("training", BLUE, column(history, train_loss))]
    lines.append(("test", ORANGE, column(history, "val_loss")))
    _draw(loss, lines, can_be_logarithmic=True)
    loss.set_ylabel("cross-entropy" if train_loss == "cross_entropy" else "loss")
    lines = [("training", BLUE, 100 * column(history, "accuracy"))]
    lines.append(("test", ORANGE, 100 * column(history, "val_accuracy")))
    lines += [
        (_SCORES[name], RED, 100 * column(history, f"val_{name}")) for name in _also(history, score)
    ]
    _draw(accuracy, lines)
    accuracy.set_ylabel("accuracy (%)")
    _headline(accuracy, history, score, selected)
    rate.plot(_epochs(history), column(history, "learning_rate"), color=GREY, **_STYLE)
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(history) == 1:
            axes.set(xlim=(0.5, 1.5), xticks=[1])
        if selected is not None:
            label = f"best epoch, {selected + 1}" if axes is loss else None
            axes.axvline(selected + 1, color=GREY, linewidth=1, linestyle=":", label=label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (loss, accuracy):
        axes.legend(frameon=False, fontsize=8)
    return figure


def column(history, name):
    """Returns a number of each epoch, NaN where it is missing."""
    return np.array([float(epoch.get(name, np.nan)) for epoch in history])


def robust_limit(values):
    """Returns the upper limit that keeps all values but outliers, or None if there are none.

    Args:
        values: numbers; NaN does not count.
    """
    known = np.sort(values[~np.isnan(values)])
    if len(known) < _FEWEST:
        return None
    heights = known - known[0]
    most = max(1, int(_SHARE * len(known)))
    far = [n for n in range(1, most + 1) if heights[-n] > _FAR * heights[-n - 1]]
    if not far:
        return None
    high = known[-max(far) - 1]
    return high + _MARGIN * max(high - known[0], 1e-9)


def _epochs(history):
    return np.arange(1, len(history) + 1)


def _draw(axes, lines, can_be_logarithmic=False):
    """Draws lines over the epochs, with arrows for outliers."""
    together = np.concatenate([values for *_, values in lines])
    limit = robust_limit(together)
    if can_be_logarithmic and _is_wide(together, limit):
        limit = None
        axes.set_yscale("log")
    for label, color, values in lines:
        if np.isnan(values).all():
            continue
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=color, label=label, **_STYLE)
        if limit is None:
            continue
        for epoch, value in zip(epochs, values, strict=True):
            if value > limit:
                place = {"xycoords": ("data", "axes fraction"), "color": color, "fontsize": 8}
                arrow = {"arrowstyle": "-|>", "color": color}
                text = {"textcoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
                xytext = (epoch, 0.9)
                axes.annotate(
                    f"{value:.3g}", (epoch, 1.0), xytext=xytext, arrowprops=arrow, **place, **text
                )
    if limit is not None:
        low = min(np.nanmin(values) for *_, values in lines if not np.isnan(values).all())
        axes.set_ylim(low - _MARGIN * (limit - low), limit)


def _is_wide(values, limit):
    """Whether positive values up to a limit, or None, spread over orders of magnitude."""
    shown = values[~np.isnan(values)]
    shown = shown if limit is None else shown[shown <= limit]
    return shown.size > 0 and shown.min() > 0 and shown.max() > _WIDE * np.median(shown)


def _also(history, score):
    """Returns the test metrics to draw besides the accuracy: the score, and balanced accuracy.

    Balanced accuracy equals the accuracy if all classes have the same number of images.
    """
    found = [score] if score in _SCORES else []
    balanced = column(history, "val_balanced_accuracy")
    apart = np.nanmax(np.abs(balanced - column(history, "val_accuracy")), initial=0)
    if "balanced_accuracy" not in found and apart > 0.01:
        found.append("balanced_accuracy")
    return found


def _headline(axes, history, score, selected):
    """Writes the score of the network that is kept."""
    values = column(history, f"val_{score}")
    index = len(values) - 1 if selected is None else selected
    when = "at the end" if selected is None else f"in epoch {selected + 1}"
    if score == "loss":
        axes.set_title(f"test loss {when}: {values[index]:.4f}", fontsize=10, color=ORANGE)
        return
    label, color = _SCORES.get(score, "test accuracy"), RED if score in _SCORES else ORANGE
    axes.set_title(f"{label} {when}: {100 * values[index]:.2f} %", fontsize=10, color=color)
