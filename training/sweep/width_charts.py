"""Figures of block widths and of their linear fits, as figures 8 and 9 of the paper draw them."""

import numpy as np

from regnet_tf.design_space import widths_of

from .charts import COLORS, DARK, color_of, panels, percent_axis
from .naming import numbers, shape

_BEST = 20  # networks whose widths are drawn in one panel, as in figure 8
_SHOWN = 4  # number of best networks to show, and of worst networks


def networks(population, place):
    """Draws the widths of the 20 best networks together, then of the best and the worst alone.

    Args:
        population: a `Population`.
        place: its place, which gives its colour.
    """
    order = np.argsort(population.errors, kind="stable")
    shown = min(_SHOWN, len(order) // 2)
    chosen = [*order[:shown], *order[::-1][:shown]]
    title = f"{population.name}: widths of the blocks; the best networks, then the worst"
    figure, grid = panels(1 + len(chosen), title, sharey=True)
    _draw_best(grid[0], population, order[:_BEST], color_of(place))
    for axes, one in zip(grid[1:], chosen, strict=True):
        _draw_widths(axes, population, one, color_of(place))
    handles, labels = grid[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def fits(populations):
    """Draws errors against e_fit, the error of the linear fit; one panel a population."""
    title = f"Error of the linear fit e_fit and test error; filled: the {_BEST} best networks"
    figure, grid = panels(len(populations), title, sharex=True, sharey=True)
    for place, (axes, population) in enumerate(zip(grid, populations, strict=True)):
        fit_errors = np.array([fit.error for fit in population.fits])
        best = np.argsort(population.errors, kind="stable")[:_BEST]
        percent = 100 * population.errors
        style = {"s": 14, "edgecolors": color_of(place)}
        axes.scatter(fit_errors, percent, facecolors="none", linewidths=0.8, **style)
        axes.scatter(fit_errors[best], percent[best], color=color_of(place), s=14)
        mean = fit_errors.mean(), fit_errors[best].mean()
        axes.set_title(f"{population.name}: mean e_fit {mean[0]:.2f}, of the best {mean[1]:.2f}")
        percent_axis(axes.yaxis)
        axes.set(xlabel="e_fit", ylabel="test error (%)")
        axes.tick_params(labelbottom=True)  # the panel below may be empty
    return figure


def _draw_best(axes, population, places, color):
    for place in places:
        widths = widths_of(population.configs[place])
        axes.plot(np.arange(1, len(widths) + 1), widths, color=color, alpha=0.4, linewidth=1)
    axes.set_title(f"the {len(places)} best networks")
    _finish(axes)


def _draw_widths(axes, population, place, color):
    """Draws the widths of one network, the line u_j, and the closest quantized line."""
    config, fit = population.configs[place], population.fits[place]
    blocks, widths = np.arange(1, config.total_depth + 1), widths_of(config)
    axes.plot(blocks, widths, "o-", color=color, markersize=3, label="widths of the blocks")
    line = fit.initial_width + fit.width_slope * (blocks - 1)
    axes.plot(blocks, line, ":", color=DARK, label="line u_j of the fit")
    quantized = fit.config(group_width=1).block_widths.quantized
    axes.plot(blocks, quantized, "--", color=COLORS[-1], label="quantized fit")
    error = f"error {population.errors[place]:.1%}, e_fit {fit.error:.2f}"
    axes.set_title(f"{error}\n{numbers(config)}\n{shape(config)}", fontsize=8)
    _finish(axes)


def _finish(axes):
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="block j", ylabel="width w_j")
