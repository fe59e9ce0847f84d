"""Fits of quantized lines, against the published generators and a plain search."""

import itertools

import numpy as np
import pytest

from regnet_tf import VARIANTS, RegNetConfig, StageConfig, block_widths, get_config
from regnet_tf.design_space import ANYNETX_C, REGNETX, fit_regnet, sample, widths_of

GENERATED = [key for key, row in VARIANTS.items() if row.config.explicit_stages is None]


@pytest.mark.parametrize("key", GENERATED)
def test_published_networks_are_fitted_exactly(key):
    config = VARIANTS[key].config
    fit = fit_regnet(widths_of(config), group_width=config.group_width, rounding=config.rounding)
    assert fit.error == 0
    fitted = fit.config(bottleneck_ratio=config.bottleneck_ratio, **config.options)
    assert fitted.stages == config.stages
    assert fitted.identity == config.identity
    # Other numbers may give the same stages: w_0 by some quanta, the others by a tenth.
    assert abs(np.log(fit.initial_width / config.initial_width)) < 0.2
    assert fit.width_slope == pytest.approx(config.width_slope, rel=0.08)
    assert fit.width_multiplier == pytest.approx(config.width_multiplier, rel=0.08)


def test_widths_of_a_name():
    assert widths_of("regnety_002") == widths_of(get_config("regnety_002"))
    with pytest.raises(ValueError, match="`config` must be a known RegNet"):
        widths_of("regnety_200")
    with pytest.raises(ValueError, match="`config` must be a RegNetConfig or a variant's name"):
        widths_of(None)


def test_quantized_widths_are_fitted_exactly():
    """Before the group width is considered, the paper's own setting."""
    for key in ("regnetx_002", "regnety_032", "regnetx_080"):
        config = VARIANTS[key].config
        fit = fit_regnet(config.block_widths.quantized)
        assert fit.error == 0
        assert (fit.depth, fit.initial_width) == (config.depth, config.initial_width)
        assert fit.config(group_width=config.group_width).stages == config.stages


def test_free_networks_fit_worse():
    window = {"flops": (360e6, 400e6), "seed": 3}
    free = [fit_regnet(widths_of(config)).error for config in sample(ANYNETX_C, 6, **window)]
    regular = [fit_regnet(widths_of(config)).error for config in sample(REGNETX, 6, **window)]
    assert max(regular) < 0.2 and np.median(regular) < 0.05
    assert np.median(free) > 0.25


def test_no_worse_than_a_plain_search():
    draw = np.random.default_rng(0)
    for _ in range(2):
        observed = 8 * draw.integers(1, 25, size=5)
        best = np.inf
        for initial, slope, multiplier in itertools.product(
            range(8, 201, 8), np.geomspace(0.5, 200, 30), (1.5, 2.0, 2.5, 3.0)
        ):
            predicted = block_widths(5, initial, slope, multiplier).quantized
            best = min(best, np.mean(np.abs(np.log(predicted / observed))))
        fit = fit_regnet(observed)
        assert 0 < fit.error <= best + 1e-12
        numbers = (fit.depth, fit.initial_width, fit.width_slope, fit.width_multiplier)
        predicted = block_widths(*numbers).quantized
        assert fit.error == pytest.approx(np.mean(np.abs(np.log(predicted / observed))))


def test_blocks_that_step_at_once():
    # With w_m = 4, blocks 1 and 7 take their next exponent at the same slope, w_a = w_0: no slope
    # widens block 1 alone, and the nearest network has one of eight blocks wrong.
    fit = fit_regnet([8] + [32] * 7, width_multipliers=(4, 4))
    assert fit.error == pytest.approx(np.log(4) / 8)


def test_error_by_hand():
    # Widths can only rise: the best line is flat, at one of the widths between which the median is.
    assert fit_regnet([32, 16]).error == pytest.approx(np.log(2) / 2)
    assert fit_regnet([24]).error == fit_regnet([24, 24, 24]).error == 0
    assert fit_regnet([24, 24, 24]).config(group_width=8).stages == (StageConfig(24, 3, 8),)


def test_multipliers_and_quantum():
    fit = fit_regnet([10, 40, 160], quantum=10, width_multipliers=(4, 4))
    assert (fit.initial_width, fit.width_multiplier, fit.error) == (10, 4.0, 0)
    assert fit_regnet([10, 40, 160], quantum=10, width_multipliers=(1.5, 3)).error > 0.05
    assert fit_regnet([8, 80, 88], width_multipliers=(3, 3)).error > 0.05


def test_widths_of():
    stages = (StageConfig(16, 2, 8), StageConfig(32, 1, 8))
    assert widths_of(RegNetConfig(explicit_stages=stages)) == [16, 16, 32]


@pytest.mark.parametrize(
    "argument, value, allowed",
    [
        ("widths_per_block", [], "a sequence of widths above 0 and at most 1,048,576"),
        ("widths_per_block", [16, 0], "a sequence of widths above 0 and at most 1,048,576"),
        ("widths_per_block", "wide", "a sequence of widths above 0 and at most 1,048,576"),
        ("widths_per_block", [8] * 65, "at most 64 widths"),
        ("group_width", 0, "at least 1"),
        ("bottleneck_ratio", 1.5, "a whole number"),
        ("quantum", 0, "at least 1"),
        ("rounding", "up", "'nearest'"),
        ("width_multipliers", (1.0, 3.0), "at least 1.01"),
        ("width_multipliers", 2.0, "at least 1.01"),
    ],
)
def test_errors(argument, value, allowed):
    good = {"widths_per_block": [8, 16]}
    with pytest.raises(ValueError, match=f"`{argument}` must be .*{allowed}"):
        fit_regnet(**{**good, argument: value})
