"""A figure of test accuracies of several ways to train."""

import numpy as np

from .canvas import BLUE, ORANGE, empty_figure


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
    for number, (way, color) in enumerate(zip(ways, (BLUE, ORANGE), strict=False)):
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
