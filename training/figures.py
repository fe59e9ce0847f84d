"""Figures of a training run, with matplotlib. No window system is needed."""

import numpy as np

from regnet_tf._errors import import_optional
from regnet_tf._files import replacing

_DPI = 130
_BLUE, _ORANGE, _RED, _GREY = "#1f5fa8", "#e07b1a", "#c8202f", "#666666"
_SCORES = {"accuracy": ("test accuracy", _ORANGE), "mean_iou": ("test mean IoU", _RED)}
_COLUMNS, _ROWS = 12, 5
_SCENES_PER_ROW = 4
_MOST_NAMED_CLASSES = 30  # with more classes, names and counts in a matrix are unreadable


def write_figure(figure, path):
    """Writes a figure as PNG; an old file is replaced when the new one is complete."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=_DPI)


def curves(history, title, score="accuracy"):
    """Draws losses, accuracies and learning rate over the epochs.

    Args:
        history: one dict per epoch: "loss", "val_loss", "accuracy", "val_accuracy" (from 0 to 1),
            "learning_rate".
        title: title of the figure.
        score: main test metric, "accuracy" or "mean_iou"; drawn with the accuracies.
    """
    history = {name: [epoch[name] for epoch in history] for name in history[0]}
    figure = empty_figure((12, 3.8), title)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = np.arange(1, len(history["loss"]) + 1)
    style = {"marker": "o", "markersize": 3}
    for axes, key, scale, label in (
        (loss, "loss", 1, "loss"),
        (accuracy, "accuracy", 100, "accuracy (%)"),
    ):
        train, test = np.array(history[key]) * scale, np.array(history[f"val_{key}"]) * scale
        axes.plot(epochs, train, color=_BLUE, label="training", **style)
        axes.plot(epochs, test, color=_ORANGE, label="test", **style)
        axes.set_ylabel(label)
        axes.legend(frameon=False)
    name, color = _SCORES[score]
    values = 100 * np.array(history[f"val_{score}"])
    if score != "accuracy":
        accuracy.plot(epochs, values, color=color, label=name, **style)
        accuracy.legend(frameon=False)
    accuracy.set_title(f"{name} at the end: {values[-1]:.2f} %", fontsize=10, color=color)
    rate.plot(epochs, history["learning_rate"], color=_GREY, **style)
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def confusion(labels, predicted, class_names, title):
    """Draws the confusion matrix of predictions, see `confusion_of_counts`.

    Args:
        labels: true classes `(count,)`.
        predicted: predicted classes `(count,)`.
        class_names: a name for every class.
        title: title of the figure.
    """
    classes = len(class_names)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    wrong = f"{np.sum(labels != predicted)} of {len(labels)} wrong"
    return confusion_of_counts(counts, class_names, f"{title}: {wrong}")


def confusion_of_counts(counts, class_names, title):
    """Draws a confusion matrix of counts, with errors in red.

    Args:
        counts: `(true class, predicted class)`.
        class_names: a name for every class.
        title: title of the figure.
    """
    classes = len(class_names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    right = np.eye(classes, dtype=bool)

    figure = empty_figure((6.4, 6.4), title)
    axes = figure.subplots()
    axes.imshow(np.ma.masked_where(~right, shares), cmap="Blues", vmin=0, vmax=1.4)
    # The square root makes a single error among dozens visible.
    wrong = np.ma.masked_where(right | (counts == 0), np.sqrt(shares))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if classes <= _MOST_NAMED_CLASSES:
        long_names = max(map(len, class_names)) > 3
        axes.set_xticks(range(classes), class_names, rotation=90 if long_names else 0)
        axes.set_yticks(range(classes), class_names)
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = {"ha": "center", "va": "center", "fontsize": 9, "color": color}
            axes.text(column, row, counts[row, column], **text)
    return figure


def confusion_of_pixels(counts, class_names, title):
    """Draws a confusion matrix of pixels, in percent of each true class.

    Args:
        counts: pixel counts `(true class, predicted class)`.
        class_names: a name for every class.
        title: title of the figure.
    """
    percent = np.round(100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(int)
    return confusion_of_counts(percent, class_names, f"{title}: % of each class's pixels")


def segmentations(scenes, class_names, title):
    """Draws a sheet of images, each next to its true and its predicted map of classes.

    Args:
        scenes: list of `(image, true, predicted)`: image `(height, width, channels)`, maps
            `(height, width)`.
        class_names: a name for every class.
        title: title of the figure.
    """
    rows = -(-len(scenes) // _SCENES_PER_ROW)
    figure = empty_figure((3.4 * _SCENES_PER_ROW, 1.3 * rows + 0.9), title)
    grid = figure.subplots(rows, 3 * _SCENES_PER_ROW, squeeze=False)
    colors = import_optional("matplotlib").colormaps["tab20"].resampled(max(20, len(class_names)))
    for axes in grid.flat:
        axes.set_axis_off()
    trios = grid.reshape(-1, 3)
    for (shown, *maps), (image, *classes) in zip(trios, scenes, strict=False):
        shown.imshow(_displayable(image), cmap="gray_r")
        for axes, one in zip(maps, classes, strict=True):
            axes.imshow(one, cmap=colors, vmin=0, vmax=colors.N - 1, interpolation="nearest")
    for axes, name in zip(grid[0], ("image", "truth", "prediction") * _SCENES_PER_ROW, strict=True):
        axes.set_title(name, fontsize=9)
    patch = import_optional("matplotlib.patches").Patch
    handles = [patch(color=colors(n), label=name) for n, name in enumerate(class_names)]
    if len(handles) <= _MOST_NAMED_CLASSES:
        figure.legend(handles=handles, loc="outside lower center", ncols=11, fontsize=8)
    return figure


def comparison(choices, ways, title):
    """Draws test accuracies of several ways to train as bars, and their means as lines.

    Args:
        choices: one dict per choice of images, with its "seed" and way -> accuracy, 0 to 1.
        ways: the keys to compare.
        title: title of the figure.
    """
    figure = empty_figure((6.4, 4.2), title)
    axes = figure.subplots()
    places, width = np.arange(len(choices)), 0.8 / len(ways)
    for number, (way, color) in enumerate(zip(ways, (_BLUE, _ORANGE), strict=False)):
        heights = [100 * choice[way] for choice in choices]
        label = f"{way.replace('_', ' ')}, {np.mean(heights):.1f} % on average"
        bars = axes.bar(places + (number - 0.5) * width, heights, width, color=color, label=label)
        axes.bar_label(bars, fmt="{:.1f}", fontsize=8)
        axes.axhline(np.mean(heights), color=color, linewidth=1, linestyle="--")
    axes.set_xticks(places, [f"seed {choice['seed']}" for choice in choices])
    axes.set_ylabel("test accuracy (%)")
    axes.set_ylim(0, 112)
    axes.legend(frameon=False, loc="upper center", ncols=len(ways), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def select_examples(labels, probabilities, most=_COLUMNS * _ROWS):
    """Selects test images to show: wrong ones first, then evenly spaced right ones.

    Args:
        labels: true classes `(count,)`.
        probabilities: `(count, classes)`.
        most: maximum number of images.

    Returns:
        List of indices.
    """
    is_wrong = probabilities.argmax(-1) != labels
    wrong, right = np.flatnonzero(is_wrong)[: most // 2], np.flatnonzero(~is_wrong)
    count = min(most - len(wrong), len(right))
    spread = np.linspace(0, len(right) - 1, count).astype(int)
    return [int(index) for index in (*wrong, *right[spread])]


def predictions(images, labels, probabilities, class_names, title):
    """Draws a sheet of images with their predictions; wrong ones have a red frame.

    Args:
        images: list of `(height, width, channels)` arrays.
        labels: true classes `(count,)`.
        probabilities: `(count, classes)`.
        class_names: a name for every class.
        title: title of the figure.
    """
    rows = -(-len(images) // _COLUMNS)
    figure = empty_figure((_COLUMNS, 1.22 * rows + 0.5), f"{title}: predictions for test images")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_axis_off()
    for axes, image, label, scores in zip(grid.flat, images, labels, probabilities, strict=False):
        guess = scores.argmax()
        ok = guess == label
        text = class_names[guess] if ok else f"{class_names[guess]}, is {class_names[label]}"
        axes.imshow(_displayable(image), cmap="gray_r")
        axes.set_title(
            f"{text}  {scores[guess]:.0%}",
            fontsize=9,
            color="black" if ok else _RED,
            fontweight="normal" if ok else "bold",
        )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=_GREY if ok else _RED, linewidth=0.5 if ok else 3)
    return figure


def empty_figure(size, title):
    """Returns an empty figure; size in inches."""
    figure = import_optional("matplotlib.figure").Figure(size, layout="constrained")
    figure.suptitle(title)
    return figure


def _displayable(image):
    """Scales an image to 0 to 1; removes the axis of a single channel."""
    low, high = image.min(), image.max()
    image = (image - low) / max(high - low, 1e-6)
    return image[..., 0] if image.shape[-1] == 1 else image
