"""Plots how a RegNet's widths are generated; needs no window system."""

import numpy as np

from regnet_tf._errors import import_optional
from regnet_tf._files import replacing

_BLUE, _ORANGE, _DARK, _GREY = "#1f5fa8", "#e07b1a", "#9a4f08", "#666666"


def draw_widths(config, path):
    """Saves a plot of the width of every block: on the line, quantized, and in the network.

    Args:
        config: a `RegNetConfig`. If its stages are explicit, only their widths are drawn.
        path: path of the PNG to write.

    Raises:
        MissingPackageError: if matplotlib is not installed.
    """
    figure = import_optional("matplotlib.figure", extra="pictures").Figure(
        (8, 4.5), layout="constrained"
    )
    axes = figure.subplots()
    _draw_stages(axes, config.stages)
    if config.explicit_stages is None:
        widths = config.block_widths
        blocks = np.arange(config.depth)
        label = f"$u_j$ = {config.initial_width} + {config.width_slope:g} j"
        axes.plot(blocks, widths.continuous, color=_GREY, linewidth=1.2, label=label)
        label = f"$w_j$, quantized by {config.width_multiplier:g}"
        axes.plot(blocks, widths.quantized, "o", color=_BLUE, markersize=5, label=label)
    axes.set(title=config.name, xlabel="block j", ylabel="width", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=130)


def _draw_stages(axes, stages):
    """Draws the stages' widths as bars behind the blocks."""
    depths, widths = ([getattr(s, field) for s in stages] for field in ("depth", "width"))
    starts = np.cumsum([0, *depths[:-1]]) - 0.5
    style = {"color": _ORANGE, "alpha": 0.3, "edgecolor": _ORANGE, "align": "edge"}
    bars = axes.bar(starts, widths, depths, label="width of the stage", **style)
    top = axes.secondary_xaxis("top")  # nothing of the plot crosses the numbers there
    top.set_xticks([bar.get_x() + bar.get_width() / 2 for bar in bars], widths)
    top.tick_params(color=_ORANGE, labelcolor=_DARK)
    top.spines["top"].set_visible(False)
