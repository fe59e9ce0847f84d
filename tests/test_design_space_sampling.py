"""Networks within windows: against `complexity`, pycls' rules, and each other."""

import dataclasses
import json
import time

import numpy as np
import pytest

from regnet_tf import RegNetConfig, complexity
from regnet_tf.design_space import (
    ANYNETX_A,
    ANYNETX_E,
    REGNET,
    REGNETX,
    REGNETY,
    SPACES,
    AnyNetSpace,
    regnets_of,
    sample,
)
from regnet_tf.design_space.budget import limits

WINDOW = (360e6, 400e6)  # the paper's


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("image_size, classes, channels", [(224, 1000, 3), (75, 10, 1)])
def test_costs_of_arrays_are_those_of_configurations(name, image_size, classes, channels):
    space = SPACES[name].replace(se_ratio=0.1) if name == "AnyNetX_B" else SPACES[name]
    if name in ("AnyNetX_C", "RegNetX"):
        space = space.replace(stride=(1, 2, 2, 2))
    candidates = space.draw(np.random.default_rng(5), 400)
    costs = candidates.complexity(image_size, classes, channels)
    configs = candidates.configs()[:40]
    assert len(configs) == 40
    for row, config in enumerate(configs):
        expected = complexity(config, image_size, classes=classes, channels=channels)
        expected = dataclasses.asdict(expected)
        assert expected == {field: getattr(costs, field)[row] for field in expected}, config
        assert config in space and config not in space.replace(stride=1)
        assert [stage.width for stage in config.stages] == candidates.widths[row].tolist()
        assert [stage.depth for stage in config.stages] == candidates.depths[row].tolist()


def test_costs_without_shortcuts():
    """Equal widths and stride 1, where a stage's first block has no projection."""
    space = AnyNetSpace(
        name="flat", stages=3, max_width=16, group_widths=(4,), bottleneck_ratios=(1, 2), stride=1,
        stem_width=16,
    )  # fmt: skip
    candidates = space.draw(np.random.default_rng(0), 60)
    costs = candidates.complexity(16, 10)
    for row, config in enumerate(candidates.configs()):
        assert costs.parameters[row] == complexity(config, 16, classes=10).parameters
        assert costs.multiply_adds[row] == complexity(config, 16, classes=10).multiply_adds


@pytest.mark.parametrize("space", [ANYNETX_A, ANYNETX_E, REGNETX, REGNETY], ids=lambda s: s.name)
def test_samples(space):
    window = {"flops": WINDOW, "parameters": (2e6, 9e6), "activations": (0, 5e6)}
    found = sample(space, 40, seed=7, **window)
    assert len(found) == len({config.identity for config in found}) == 40
    for config in found:
        assert config in space
        cost = complexity(config)
        for name, (low, high) in window.items():
            assert low <= getattr(cost, name) <= high


@pytest.mark.parametrize("space", [ANYNETX_A, REGNETX], ids=lambda s: s.name)
def test_seeds(space):
    first = sample(space, 250, seed=0, flops=WINDOW)
    assert sample(space, 250, seed=0, flops=WINDOW) == first
    assert sample(space, 30, seed=0, flops=WINDOW) == first[:30]
    assert sample(space, 30, seed=1, flops=WINDOW) != first[:30]
    assert sample(space, 0, seed=0, flops=WINDOW) == []


@pytest.mark.parametrize("space", [ANYNETX_A, REGNETX], ids=lambda s: s.name)
def test_samples_are_written_and_read(space):
    for config in sample(space, 5, seed=2):
        again = RegNetConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config and again.identity == config.identity


def test_samples_are_fast():
    start = time.process_time()
    assert len(sample(ANYNETX_A, 2000, seed=0, flops=WINDOW)) == 2000
    assert time.process_time() - start < 5  # 0.5 s where nothing else runs


def test_all_of_a_small_space():
    space = AnyNetSpace(
        name="two", stages=1, max_depth=2, max_width=16, group_widths=(8,), bottleneck_ratios=(1,)
    )
    assert len(sample(space, 4, seed=0)) == space.size == 4
    with pytest.raises(ValueError, match=r"`count` must be at most 4, the number of settings"):
        sample(space, 5, seed=0)
    same = space.replace(group_widths=(8, 32))  # both are 8 where the width is 8, or 8 and 16
    with pytest.raises(ValueError, match=r"Found 6 of 8 different networks of two; the last"):
        sample(same, 8, seed=0, tries=10_000)


@pytest.mark.parametrize("count", [10**5 + 1, 10**19, 10**400])
def test_too_many_networks(count):
    with pytest.raises(ValueError, match=r"`count` must be .* at most 100,000\. Received: count="):
        sample(REGNETX, count, seed=0)


def test_stages_follow_pycls():
    """The paper's section 3.3 in plain Python, and the rule for valid ones."""
    for config in REGNET.draw(np.random.default_rng(4), 2000).configs():
        widths = config.block_widths
        ratio = np.log(widths.continuous / config.initial_width) / np.log(config.width_multiplier)
        assert len(set(widths.quantized.tolist())) == round(ratio.max()) + 1 == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"depths": (4, 12)},
        # 8 * 1.5 and 8 * 1.5 ** 2 are both rounded to 16.
        {"depths": (4, 30), "initial_widths": (8, 8), "width_multipliers": (1.5, 1.6)},
    ],
    ids=["gaps", "equal widths"],
)
def test_invalid_networks_are_not_drawn(changes):
    """Of all draws of the numbers, those are kept that have four stages and no gap."""
    space = REGNET.replace(width_slopes=(1.0, 255.9), **changes)
    numbers = {field: law.draw(np.random.default_rng(0), 2000) for field, law in laws(space)}
    kept = space._stages(numbers)[0]
    kept = set(zip(*(kept[field].tolist() for field in numbers), strict=True))
    for row in zip(*(numbers[field].tolist() for field in numbers), strict=True):
        config = RegNetConfig(**dict(zip(numbers, row, strict=True)), group_width=1)
        ratio = np.log(config.block_widths.continuous[-1] / config.initial_width)
        powers = round(ratio / np.log(config.width_multiplier)) + 1
        assert (row in kept) == (len(config.stages) == powers == 4), row


def laws(space):
    return space._laws().items()


def test_hopeless_windows_are_reported():
    with pytest.raises(ValueError) as error:
        sample(REGNETX, 3, seed=0, flops=(1e3, 2e3), parameters=(0, 1e6), tries=20_000)
    message = str(error.value)
    assert "Found 0 of 3 different networks of RegNetX with flops from 1,000 to 2,000" in message
    assert "parameters from 0 to 1,000,000 (seen: " in message
    assert "the last 24,576 draws" in message


@pytest.mark.parametrize(
    "argument, value, allowed",
    [
        ("space", "AnyNetX_A", "a DesignSpace"),
        ("count", -1, "at least 0"),
        ("seed", -1, "at least 0"),
        ("flops", 4e8, "None or .least, most."),
        ("flops", (4e8, 3e8), "in this order"),
        ("parameters", (-1, 5), "at least 0"),
        ("activations", ("a", 5), "a finite number"),
        ("image_size", 16, "at least 32"),
        ("classes", 0, "at least 1"),
        ("tries", 0, "at least 1"),
    ],
)
def test_errors(argument, value, allowed):
    good = {"space": ANYNETX_A, "count": 1, "seed": 0}
    with pytest.raises(ValueError, match=f"`{argument}` must be .*{allowed}"):
        sample(**{**good, argument: value})


@pytest.mark.parametrize("flops", [2e8, 1.6e9])
@pytest.mark.parametrize("se_ratio", [0, 0.25])
def test_budgets(flops, se_ratio):
    found = regnets_of(flops, se_ratio=se_ratio, seed=1, count=4)
    distances = [abs(complexity(config).flops - flops) for config in found]
    assert len(found) == 4 and distances == sorted(distances) and distances[-1] < 0.02 * flops
    parameters, activations = limits(flops)
    for config in found:
        cost = complexity(config)
        assert cost.parameters <= parameters and cost.activations <= activations
        assert config in (REGNETY if se_ratio else REGNETX)
    assert found == regnets_of(flops, se_ratio=se_ratio, seed=1, count=4)


def test_limits_of_budgets():
    # pycls: "if flops<F (B), setting params<3+5.5F and acts<6.5*sqrt(F) (M) works well"
    assert limits(4e9) == pytest.approx((25e6, 13e6))
    # A quarter of the pixels is a quarter of the flops and activations of the same network.
    assert limits(1e9, 112) == pytest.approx((25e6, 13e6 / 4))
    with pytest.raises(ValueError, match="`flops` must be"):
        regnets_of(0)
