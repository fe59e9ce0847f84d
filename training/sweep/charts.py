"""Figures of populations, with matplotlib: one width, one type. No window system is needed."""

import numpy as np

from regnet_tf._errors import import_optional
from regnet_tf.design_space import (
    distribution_band,
    error_distribution,
    expected_minimum,
)

from ..figures import empty_figure

#: Colours of the populations in their order; the eighth serves all others.
COLORS = ("#1f5fa8", "#e07b1a", "#2e8b57", "#c8202f", "#7b4fa3", "#8c6d46", "#d45fa0", "#666666")
DARK = "#333333"
WIDTH = 11  # inches of every figure
_ROW = 3.1  # inches of a row of panels
_COLUMNS = 3
_STYLE = {
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "lines.linewidth": 1.4, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
}  # fmt: skip
#: Parameter -> label, the paper's best value.
_OF_PAPER = {
    "total depth": ("depth d", 20),
    "width multiplier": ("width multiplier w_m", 2.5),
    "bottleneck ratio": ("bottleneck ratio (inner / width)", 1),
    "group width": ("group width g", None),
}


def styled():
    """Context manager with the type and the lines of all figures."""
    return import_optional("matplotlib").rc_context(_STYLE)


def panels(count, title, columns=_COLUMNS, **shared):
    """Returns a figure of the common width and its `count` panels."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = empty_figure((WIDTH, _ROW * rows + 0.4), title)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, grid.flat[:count]


def color_of(place):
    """Returns the colour of the population at a place."""
    return COLORS[min(place, len(COLORS) - 1)]


def steps(populations, pairs, seed):
    """Draws the error distributions of neighbouring populations, with 95 % bands; one panel a pair.

    Args:
        populations: list of `Population`.
        pairs: the numbers of neighbouring pairs, of `analysis.json`.
        seed: seed of the bootstrap.
    """
    figure, grid = panels(len(pairs), "Error distributions step by step, 95 % bands", sharey=True)
    for first, (axes, pair) in enumerate(zip(grid, pairs, strict=True)):
        for place in (first, first + 1):
            _distribution(axes, populations[place], place, seed)
        p_value = "p < 0.001" if pair["p_value"] < 0.001 else f"p = {pair['p_value']:.3f}"
        axes.set_title(
            f"{pair['a']} - {pair['b']}\nKolmogorov-Smirnov {pair['statistic']:.2f}, {p_value}"
        )
        _finish_distribution(axes)
    _legend(figure, populations)
    return figure


def distributions(populations, weights, seed):
    """Draws the error distributions of all, unweighted and with matching flops.

    Args:
        populations: list of `Population`.
        weights: weights of each population that make the distributions of flops match.
        seed: seed of the bootstrap.
    """
    figure, grid = panels(2, "Error distributions of all populations, 95 % bands", sharey=True)
    sets = (("all networks alike", [None] * len(weights)), ("weighted: flops match", weights))
    for axes, (title, chosen) in zip(grid, sets, strict=True):
        for place, (population, weight) in enumerate(zip(populations, chosen, strict=True)):
            _distribution(axes, population, place, seed, weight)
        axes.set_title(title)
        _finish_distribution(axes)
    _legend(figure, populations)
    return figure


def _distribution(axes, population, place, seed, weights=None):
    errors, color = population.errors, color_of(place)
    thresholds = np.nextafter(np.unique(errors), 1)  # the distribution counts errors *below*
    band = distribution_band(errors, thresholds, seed=seed, weights=weights)
    shares = error_distribution(errors, thresholds, weights)
    axes.fill_between(
        100 * thresholds, band.low, band.high, color=color, alpha=0.15, linewidth=0, step="post"
    )
    axes.step(100 * thresholds, shares, color=color, where="post")


def _finish_distribution(axes):
    percent_axis(axes.xaxis)
    axes.set(xlabel="test error (%)", ylabel="share of the networks", ylim=(0, 1.02))


def searches(populations):
    """Draws the expected error of the best of n networks."""
    figure, (axes,) = panels(1, "Expected error of the best of n networks")
    for place, population in enumerate(populations):
        draws = np.arange(1, len(population) + 1)
        errors = 100 * expected_minimum(population.errors, draws)
        axes.plot(draws, errors, color=color_of(place))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    percent_axis(axes.yaxis)
    axes.set(xlabel="networks trained", ylabel="test error of the best (%)")
    _legend(figure, populations)
    return figure


def complexities(populations):
    """Draws errors against flops, parameters and activations."""
    figure, grid = panels(3, "Cost and error", sharey=True)
    for axes, cost in zip(grid, populations[0].costs, strict=True):
        for place, population in enumerate(populations):
            values, errors = population.costs[cost] / 1e6, 100 * population.errors
            axes.scatter(values, errors, s=12, color=color_of(place), alpha=0.7)
        percent_axis(axes.yaxis)
        axes.set(xlabel=f"{cost} (millions)", ylabel="test error (%)")
    _legend(figure, populations)
    return figure


def _legend(figure, populations):
    """Names the populations below the panels."""
    lines = import_optional("matplotlib.lines")
    handles = [
        lines.Line2D([], [], color=color_of(place), marker="o", linestyle="", label=one.name)
        for place, one in enumerate(populations)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def best_values(facts):
    """Draws the best depth, width multiplier, bottleneck ratio and group width of each population.

    Args:
        facts: the numbers of the populations, of `analysis.json`.
    """
    title = "Best values by the empirical bootstrap: median, 95 % range; dashed: the paper's"
    figure, grid = panels(len(_OF_PAPER), title, columns=2, sharey=True)
    for axes, (parameter, (label, value)) in zip(grid, _OF_PAPER.items(), strict=True):
        for place, one in enumerate(facts):
            found = one["best_ranges"].get(parameter)
            if found is not None:
                _interval(axes, place, found)
        if value is not None:
            axes.axvline(value, color=DARK, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(facts)), [one["name"] for one in facts])
        _whole(axes.xaxis, [one["best_ranges"].get(parameter, {}) for one in facts])
        axes.set(xlabel=label, ylim=(len(facts) - 0.5, -0.5))
    return figure


def _interval(axes, place, found):
    """Draws what was tried (thin), the best range (thick) and its median."""
    color = color_of(place)
    axes.plot((found["least"], found["greatest"]), (place, place), color=color, linewidth=1)
    style = {"color": color, "alpha": 0.35, "linewidth": 8, "solid_capstyle": "butt"}
    axes.plot((found["low"], found["high"]), (place, place), **style)
    axes.plot(found["median"], place, "o", color=color)


def parameters(population, place, ranges):
    """Draws errors against every parameter, with the range of its best value.

    Args:
        population: a `Population`.
        place: its place, which gives its colour.
        ranges: its "best_ranges" of `analysis.json`.
    """
    title = f"{population.name}: shaded, where the best value lies (95 %); line, its median"
    figure, grid = panels(len(ranges), title, columns=4, sharey=True)
    for axes, (name, values) in zip(grid, population.parameters.items(), strict=True):
        found, scale = ranges[name], 1e6 if name in population.costs else 1
        low, median, high = (found[end] / scale for end in ("low", "median", "high"))
        axes.axvspan(low, high, color=color_of(place), alpha=0.18, linewidth=0)
        axes.axvline(median, color=color_of(place))
        axes.scatter(values / scale, 100 * population.errors, s=10, color=DARK, alpha=0.7)
        percent_axis(axes.yaxis)
        _whole(axes.xaxis, [] if scale > 1 else [found])
        axes.set(xlabel=f"{name} (millions)" if scale > 1 else name)
    for axes in grid[::4]:
        axes.set_ylabel("test error (%)")
    return figure


def _whole(axis, ranges):
    """Gives an axis whole numbers if all ends of the tried ranges are whole."""
    ends = [one[end] for one in ranges if one for end in ("least", "greatest")]
    if ends and all(float(end).is_integer() for end in ends):
        axis.get_major_locator().set_params(integer=True)


def percent_axis(axis):
    """Gives an axis of errors a logarithmic scale with plain numbers."""
    ticker = import_optional("matplotlib.ticker")
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("log")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(ticker.NullLocator())
