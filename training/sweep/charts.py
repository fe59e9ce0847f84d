"""Figures of populations, with matplotlib. No window system is needed."""

import itertools

import numpy as np

from regnet_tf.design_space import (
    best_range,
    distribution_band,
    error_distribution,
    expected_minimum,
    widths_of,
)

from ..figures import empty_figure

COLORS = ("#1f5fa8", "#e07b1a", "#2e8b57", "#c8202f", "#7b4fa3", "#8c6d46", "#d45fa0", "#666666")
_DARK = "#333333"
_COLUMNS = 4
_SHOWN = 4  # number of best networks to show, and of worst networks


def distributions(populations, weights, seed):
    """Draws error distributions with bootstrap bands, unweighted and with matching flops.

    Args:
        populations: list of `Population`.
        weights: weights of each population that make the distributions of flops match.
        seed: seed of the bootstrap.
    """
    figure = empty_figure(
        (11, 4.2), "Error distributions and what a bootstrap makes of them (95 %)"
    )
    panels = zip(
        figure.subplots(1, 2, sharey=True),
        ("all networks alike", "weighted: flops match"),
        ([None] * len(populations), weights),
        strict=True,
    )
    thresholds = _thresholds(populations)
    for axes, title, chosen in panels:
        for population, weight, color in zip(populations, chosen, _colors(), strict=False):
            band = distribution_band(population.errors, thresholds, seed=seed, weights=weight)
            shares = error_distribution(population.errors, thresholds, weight)
            percent = 100 * thresholds
            style = {"color": color, "alpha": 0.15, "linewidth": 0, "step": "post"}
            axes.fill_between(percent, band.low, band.high, **style)
            axes.step(percent, shares, color=color, where="post", label=_label(population, weight))
        axes.set_title(title, fontsize=10)
        _finish(axes, "test error (%)", "cumulative share")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def searches(populations):
    """Draws the expected error of the best of n networks."""
    figure = empty_figure((6.4, 4), "Expected error of the best of n networks")
    axes = figure.subplots()
    for population, color in zip(populations, _colors(), strict=False):
        draws = np.arange(1, len(population) + 1)
        errors = 100 * expected_minimum(population.errors, draws)
        axes.plot(draws, errors, color=color, label=population.name)
    axes.set_xscale("log")
    _finish(axes, "networks trained", "test error of the best (%)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def complexities(populations):
    """Draws errors against flops, parameters and activations."""
    figure = empty_figure((11, 3.8), "Cost and error")
    for axes, cost in zip(figure.subplots(1, 3, sharey=True), populations[0].costs, strict=True):
        for population, color in zip(populations, _colors(), strict=False):
            values, errors = population.costs[cost] / 1e6, 100 * population.errors
            axes.scatter(values, errors, s=14, color=color, alpha=0.7, label=population.name)
        _finish(axes, f"{cost} (millions)", "test error (%)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def parameters(population, seed):
    """Draws errors against every parameter, with the best range by the empirical bootstrap."""
    columns = population.parameters
    rows = -(-len(columns) // _COLUMNS)
    title = f"{population.name}: shaded, where the best value lies (95 %)"
    figure = empty_figure((11, 2.5 * rows + 0.5), title)
    grid = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for axes in grid.flat[len(columns) :]:
        axes.set_axis_off()
    for axes, (name, values) in zip(grid.flat, columns.items(), strict=False):
        low, median, high = best_range(values, population.errors, seed=seed)
        axes.axvspan(low, high, color=COLORS[0], alpha=0.15, linewidth=0)
        axes.axvline(median, color=COLORS[0], linewidth=1)
        axes.scatter(values, 100 * population.errors, s=9, color=_DARK, alpha=0.7)
        _finish(axes, name, "test error (%)")
    return figure


def networks(population):
    """Draws block widths of the best networks (above) and worst (below), with linear fits."""
    order = np.argsort(population.errors, kind="stable")
    shown = min(_SHOWN, len(order) // 2)
    figure = empty_figure((11, 5.2), f"{population.name}: best networks above, worst below")
    rows = figure.subplots(2, shown, squeeze=False)
    for axes_of_row, places in zip(rows, (order[:shown], order[::-1][:shown]), strict=True):
        for axes, place in zip(axes_of_row, places, strict=True):
            _draw_widths(axes, population, place)
    return figure


def _draw_widths(axes, population, place):
    """Draws the widths of one network and the closest quantized line."""
    config, fit = population.configs[place], population.fits[place]
    blocks, widths = np.arange(config.total_depth), widths_of(config)
    axes.step(blocks, widths, color=COLORS[0], where="mid", label="network")
    axes.plot(blocks, fit.initial_width + fit.width_slope * blocks, ":", color=_DARK, label="line")
    quantized = fit.config(group_width=1).block_widths.quantized
    axes.plot(blocks, quantized, "o--", color=COLORS[1], markersize=3, linewidth=1, label="fit")
    text = f"error {population.errors[place]:.1%}, of the fit {fit.error:.2f}"
    axes.set_title(text, fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(bottom=0)
    _finish(axes, "block", "width")
    axes.legend(frameon=False, fontsize=7)


def _thresholds(populations):
    """Returns thresholds just above every error, as the distribution counts errors *below*."""
    errors = np.unique(np.concatenate([population.errors for population in populations]))
    return np.concatenate([[0], np.nextafter(errors, 1)])


def _label(population, weights):
    mean = np.average(population.errors, weights=weights)
    return f"{population.name}: {len(population)} networks, mean {mean:.1%}"


def _colors():
    return itertools.cycle(COLORS)


def _finish(axes, x_label, y_label):
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
