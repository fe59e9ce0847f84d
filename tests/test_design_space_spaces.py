"""Design spaces against the paper's table, pycls' laws of drawing, and plain enumeration."""

import ast
import itertools
import math
import pathlib
import re
import sys

import numpy as np
import pytest

import regnet_tf.design_space
from regnet_tf import VARIANTS, RegNetConfig, StageConfig, get_config
from regnet_tf.design_space import (
    ANYNETX_A,
    ANYNETX_C,
    ANYNETX_D,
    ANYNETX_E,
    REGNET,
    REGNETX,
    REGNETY,
    SPACES,
    AnyNetSpace,
    RegNetSpace,
)
from regnet_tf.design_space.laws import Law, log_uniform, uniform
from regnet_tf.widths import compatible_width

#: Degrees of freedom and size of the paper's table of design spaces.
PAPER = {
    "AnyNetX_A": (16, (16 * 128 * 3 * 6) ** 4),
    "AnyNetX_B": (13, (16 * 128 * 6) ** 4 * 3),
    "AnyNetX_C": (10, (16 * 128) ** 4 * 3 * 6),
    "AnyNetX_D": (10, (16 * 128) ** 4 * 3 * 6 / math.factorial(4)),
    "AnyNetX_E": (10, (16 * 128) ** 4 * 3 * 6 / math.factorial(4) ** 2),
    "RegNet": (6, 64**4 * 6 * 3),
}
FLAGS = (
    "shared_bottleneck_ratio",
    "shared_group_width",
    "nondecreasing_widths",
    "nondecreasing_depths",
)


def test_degrees_of_freedom():
    for name, (freedom, _) in PAPER.items():
        assert SPACES[name].degrees_of_freedom == freedom, name
    assert REGNETX.degrees_of_freedom == REGNETY.degrees_of_freedom == 5


def test_sizes_of_the_paper():
    for name in ("AnyNetX_A", "AnyNetX_B", "AnyNetX_C"):
        assert SPACES[name].size == PAPER[name][1]
    assert f"{ANYNETX_A.size:.1e}" == "1.8e+18"
    # Equal neighbours make D and E larger than the factorials of the paper say.
    assert ANYNETX_D.size == math.comb(131, 4) * 16**4 * 3 * 6
    assert 1.0 < ANYNETX_D.size / PAPER["AnyNetX_D"][1] < 1.05
    assert 1.4 < ANYNETX_E.size / PAPER["AnyNetX_E"][1] < 1.5


def test_size_of_regnet_on_the_paper_grid():
    # 64 values of each number, as the paper counts; our steps are finer.
    assert f"{PAPER['RegNet'][1]:.1e}" == "3.0e+08"
    assert REGNET.size == 63 * 31 * 2480 * 1501 * 3 * 6


TINY = {
    "stages": 2,
    "max_depth": 2,
    "max_width": 24,
    "group_widths": (6, 16),
    "bottleneck_ratios": (0.5, 1.0),
}


def settings_of(space):
    """Every setting of a tiny AnyNet space: (depths, widths, ratios, group widths), in Python."""
    stages = range(space.stages)
    widths = range(space.quantum, space.max_width + 1, space.quantum)
    for numbers in itertools.product(
        itertools.product(range(1, space.max_depth + 1), repeat=len(stages)),
        itertools.product(widths, repeat=len(stages)),
        itertools.product(space.bottleneck_ratios, repeat=len(stages)),
        itertools.product(space.group_widths, repeat=len(stages)),
    ):
        depths, wished, ratios, groups = numbers
        if space.shared_bottleneck_ratio and len(set(ratios)) > 1:
            continue
        if space.shared_group_width and len(set(groups)) > 1:
            continue
        if space.nondecreasing_widths and wished[0] > wished[1]:
            continue
        if space.nondecreasing_depths and depths[0] > depths[1]:
            continue
        yield numbers


def network(depths, wished, ratios, groups):
    """The stages of one setting, by the scalar rule for group widths."""
    stages = []
    for depth, width, ratio, group in zip(depths, wished, ratios, groups, strict=True):
        stages.append(StageConfig(*_with(width, group, ratio, depth), bottleneck_ratio=ratio))
    return tuple(stages)


def _with(width, group, ratio, depth):
    width, group = compatible_width(width, group, ratio)
    return width, depth, group


@pytest.mark.parametrize("restrictions", range(5))
def test_members_and_size_by_enumeration(restrictions):
    flags = dict.fromkeys(FLAGS[:restrictions], True)
    space = AnyNetSpace(name="tiny", **TINY, **flags)
    settings = list(settings_of(space))
    assert space.size == len(settings)
    members = {network(*setting) for setting in settings}
    everything = AnyNetSpace(name="all", **{**TINY, "max_depth": 3, "max_width": 32})
    universe = {network(*setting) for setting in settings_of(everything)}
    assert members < universe
    drawn = space.draw(np.random.default_rng(0), 500).configs()
    assert {config.stages for config in drawn} <= members
    some = sorted(universe, key=repr)[:: 1 + len(universe) // 600]
    for stages in (*some, *list(members)[:300]):
        assert (RegNetConfig(explicit_stages=stages) in space) == (stages in members), stages


def test_a_space_within_another():
    names = ["AnyNetX_E", "AnyNetX_D", "AnyNetX_C", "AnyNetX_B", "AnyNetX_A"]
    rng = np.random.default_rng(1)
    for place, name in enumerate(names):
        drawn = SPACES[name].draw(rng, 40).configs()
        for larger in names[place:]:
            assert all(config in SPACES[larger] for config in drawn), (name, larger)
        if place:
            assert not all(config in SPACES[names[place - 1]] for config in drawn)


def test_regnets_are_members_of_the_free_space():
    space = REGNETX.replace(group_widths=(8, 16, 32), depths=(12, 16), initial_widths=(8, 64))
    for config in space.draw(np.random.default_rng(2), 1500).configs():
        fits = max(stage.width for stage in config.stages) <= 1024
        assert (config in ANYNETX_D) == fits, config
        assert config in space and config not in space.replace(stem_stride=1)


def test_published_networks():
    within = {key for key in VARIANTS if get_config(key) in REGNETX or get_config(key) in REGNETY}
    paper = {key for key in VARIANTS if re.fullmatch(r"regnet[xy]_\d+", key)}
    # These have g above 128, or w_0 above 255.
    large = {"regnetx_320", "regnety_320", "regnety_640", "regnety_1280", "regnety_2560"}
    assert within == paper - large
    assert get_config("regnety_004") not in REGNETX


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 11},
        {"depth": 29},
        {"initial_width": 256},
        {"width_slope": 256.0},
        {"width_multiplier": 1.99},
        {"width_multiplier": 3.01},
        {"group_width": 12},
        {"bottleneck_ratio": 0.5},
        {"se_ratio": 0.25},
        {"stem_width": 16},
        {"stem_stride": 1},
        {"stride": 1},
        {"activation": "silu"},
        {"rounding": "torchvision"},
        {"quantum": 4},
        {"width_slope": 5.0},  # fewer stages
        {"width_slope": 120.0, "depth": 12},  # a power of w_m left out
    ],
    ids=str,
)
def test_outside_of_regnetx(change):
    config = get_config("regnetx_004")
    assert config in REGNETX and config.replace(name="other", drop_path_rate=0.1) in REGNETX
    assert config.replace(**change) not in REGNETX


def test_explicit_stages_are_no_regnet():
    assert RegNetConfig(explicit_stages=get_config("regnetx_002").stages) not in REGNETX
    with pytest.raises(ValueError, match="`config` must be a RegNetConfig or a variant's name"):
        _ = 2 in REGNETX


def test_members_by_name():
    assert "RegNetX-200MF" in REGNETX and "RegNetY-200MF" not in REGNETX
    with pytest.raises(ValueError, match=r"`config` must be a known RegNet.*Nearest: RegNetX-2"):
        _ = "RegNetX-201MF" in REGNETX


@pytest.mark.parametrize(
    "values, low, quantum",
    [(range(8, 1025, 8), 8, 8), (range(1, 17), 1, 1), (range(64, 257, 8), 64, 8)],
)
def test_log_uniform_law_of_pycls(values, low, quantum):
    law = log_uniform(values)
    begin = low - min(quantum, low / 2)
    expected = np.log(law.values / begin) / np.log(law.values[-1] / begin)
    np.testing.assert_allclose(np.cumsum(law.shares), expected)


def test_powers_of_two_are_uniform():
    np.testing.assert_allclose(log_uniform((1, 2, 4, 8, 16, 32)).shares, 1 / 6)
    np.testing.assert_allclose(log_uniform((0.25, 0.5, 1)).shares, 1 / 3)
    # pycls' power2_or_log_uniform(1, 32, 8): half of the powers are 8 or more, drawn from (4, 32].
    shares = log_uniform((1, 2, 4, 8, 16, 24, 32)).shares
    above = 0.5 * np.diff(np.log([4, 8, 16, 24, 32])) / np.log(8)
    np.testing.assert_allclose(shares, [1 / 6, 1 / 6, 1 / 6, *above])
    assert log_uniform((7,)) == (np.array([7]), np.array([1.0]))


def test_sequences_that_do_not_fall():
    law = Law(np.array([1, 2, 5]), np.array([0.5, 0.3, 0.2]))
    expected = {
        places: math.prod(law.shares[place] for place in places)
        for places in itertools.combinations_with_replacement(range(3), 3)
    }
    count = 100_000
    drawn = law.draw_nondecreasing(np.random.default_rng(0), count, 3)
    for places, mass in expected.items():
        share = mass / sum(expected.values())
        found = np.mean((drawn == law.values[list(places)]).all(axis=1))
        assert abs(found - share) < 5 * math.sqrt(share / count), places
    assert np.all(np.diff(drawn) >= 0)


def test_marginal_laws_of_the_draws():
    drawn = ANYNETX_C.draw(np.random.default_rng(0), 20_000)
    # Ceiling of log-uniform from (0.5, 16]: median at the geometric mean, 2.8.
    assert np.mean(drawn.depths <= 2) == pytest.approx(math.log(4) / math.log(32), abs=0.01)
    assert np.all(drawn.bottleneck_ratios == drawn.bottleneck_ratios[:, :1])
    assert {0.25, 0.5, 1.0} == set(drawn.bottleneck_ratios[:, 0].tolist())
    depths = [c.depth for c in REGNET.draw(np.random.default_rng(0), 4000).configs()]
    assert min(depths) >= 4 and max(depths) <= 63


def test_small_space_for_small_images():
    space = AnyNetSpace(
        name="digits", stages=3, max_depth=4, max_width=128, stem_width=16, stem_stride=1,
        se_ratio=0.25, activation="silu", image_size=32,
    )  # fmt: skip
    config = space.sample(np.random.default_rng(3))
    assert config in space and config.name == "digits"
    assert (len(config.stages), config.total_stride, config.stem_width) == (3, 8, 16)
    assert (config.se_ratio, config.activation) == (0.25, "silu")
    assert space.size == (4 * 16 * 3 * 6) ** 3 and space.total_stride == 8
    generated = RegNetSpace(
        name="small", stages=3, depths=(3, 8), initial_widths=(8, 24), width_slopes=(4.0, 32.0),
        group_widths=(4, 8), bottleneck_ratios=(1.0,), stem_stride=1, stride=1, image_size=16,
    )  # fmt: skip
    config = generated.sample(np.random.default_rng(3))
    assert config in generated and config.total_stride == 1 and len(config.stages) == 3


def test_a_space_without_valid_networks_says_so():
    space = RegNetSpace(name="none", stages=4, depths=(1, 3))
    with pytest.raises(ValueError, match=r"No network of .* drawn from none is valid"):
        space.sample(np.random.default_rng(0))


@pytest.mark.parametrize(
    "space, field, value, allowed",
    [
        (ANYNETX_A, "name", "", "a text"),
        (ANYNETX_A, "stages", 0, "at least 1"),
        (ANYNETX_A, "quantum", 0, "at least 1"),
        (ANYNETX_A, "stride", 3, "1 or 2"),
        (ANYNETX_A, "stem_stride", 4, "1 or 2"),
        (ANYNETX_A, "se_ratio", -1, "at least 0"),
        (ANYNETX_A, "activation", "relu7", "one of 'relu'"),
        (ANYNETX_A, "group_widths", (), "1 to 1,000 choices"),
        (ANYNETX_A, "image_size", 31, "at least 32"),
        (ANYNETX_A, "max_depth", 0, "at least 1"),
        (ANYNETX_A, "max_width", 4, "at least 8"),
        (ANYNETX_A, "max_width", 1020, "a multiple of the quantum 8"),
        (REGNET, "depths", (0, 5), "at least 1"),
        (REGNET, "depths", (5, 65), "at least 1 and at most 64"),
        (REGNET, "depths", (5, 4), "the least and the greatest"),
        (REGNET, "depths", (5, "6"), "a finite number"),
        (REGNET, "initial_widths", (8, 255), "multiples of the quantum 8"),
        (REGNET, "width_slopes", (0.0, 5.0), "at least 0.1"),
        (REGNET, "width_multipliers", (1.0, 3.0), "at least 1.001"),
    ],
)
def test_errors(space, field, value, allowed):
    with pytest.raises(ValueError, match=f"`{field}` must be .*{re.escape(allowed)}"):
        space.replace(**{field: value})


@pytest.mark.parametrize(
    "field, value", [("group_widths", (0,)), ("bottleneck_ratios", (1.5,)), ("widths", 3)]
)
def test_errors_of_choices(field, value):
    name = "bottleneck_ratio" if field == "bottleneck_ratios" else field
    with pytest.raises(ValueError, match=f"`{name}`|Received: {name}"):
        ANYNETX_A.replace(**{field: value})


def test_only_numpy_is_needed():
    allowed = {"_checks", "_errors", "costs", "design_space", "options", "variants", "widths"}
    folder = pathlib.Path(regnet_tf.design_space.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module]
            for module in modules:
                top, *rest = module.split(".")
                fine = top == "numpy" or top in sys.stdlib_module_names
                assert fine or (top == "regnet_tf" and rest[0] in allowed), (path, module)


def test_uniform_law():
    assert uniform(range(12, 29)).shares == pytest.approx(np.full(17, 1 / 17))
