"""The width generator against published stages, hand-worked numbers and a plain rewriting of it."""

import math
import random
import re

import numpy as np
import pytest

from regnet_tf import StageConfig, block_widths, generate_stages
from regnet_tf.variants import VARIANTS
from regnet_tf.widths import compatible_width

PYCLS_ARGUMENTS = ("DEPTH", "W0", "WA", "WM", "GROUP_W", "BOT_MUL")
TIMM_ARGUMENTS = ("depth", "w0", "wa", "wm", "group_size", "bottle_ratio")


def columns(stages):
    """Widths, depths and group widths of stages, as the golden data has them."""
    rows = [(stage.width, stage.depth, stage.group_width) for stage in stages]
    return [list(column) for column in zip(*rows, strict=True)]


def golden_columns(row):
    return [row["stage_widths"], row["stage_depths"], row["stage_group_widths"]]


def test_stages_of_pycls(golden_variants):
    assert len(golden_variants["pycls"]) == 24
    for name, row in golden_variants["pycls"].items():
        stages = generate_stages(*(row["generator"][key] for key in PYCLS_ARGUMENTS))
        assert columns(stages) == golden_columns(row), name


GENERATED = [key for key, row in VARIANTS.items() if row.depth is not None]


@pytest.mark.parametrize("key", GENERATED)
def test_stages_of_timm(golden_variants, key):
    row = golden_variants["timm"][key]
    rounding = "torchvision" if key.endswith("_tv") else "nearest"
    arguments = [row["cfg"][argument] for argument in TIMM_ARGUMENTS]
    stages = generate_stages(*arguments, rounding=rounding)
    assert columns(stages) == golden_columns(row)
    assert [stage.stride for stage in stages] == row["stage_strides"]


def test_stages_of_torchvision(golden_variants):
    assert len(golden_variants["torchvision"]) == 15
    for name, row in golden_variants["torchvision"].items():
        generator = golden_variants["timm"][row["timm_name"]]["cfg"]
        arguments = [generator[argument] for argument in TIMM_ARGUMENTS]
        stages = generate_stages(*arguments, rounding="torchvision")
        assert columns(stages) == golden_columns(row), name


@pytest.mark.parametrize("key", GENERATED)
def test_both_roundings_of_every_variant(golden_variants, key):
    generator = golden_variants["timm"][key]["cfg"]
    row = golden_variants["width_generation"][key]
    arguments = [generator[argument] for argument in TIMM_ARGUMENTS]
    quantized = block_widths(*arguments[:4]).quantized
    widths, depths = np.unique(quantized, return_counts=True)
    assert (widths.tolist(), depths.tolist()) == (row["raw_widths"], row["depths"])
    for rounding, expected in (("nearest", row["pycls"]), ("torchvision", row["torchvision"])):
        stages = generate_stages(*arguments, rounding=rounding)
        assert columns(stages) == [expected, row["depths"], row["group_widths"]]


def test_block_widths_by_hand():
    # RegNetX-200MF. u_1 = 24 + 36.44 = 60.44, ln(60.44 / 24) / ln(2.49) = 1.01 -> 24 * 2.49 = 59.76
    widths = block_widths(13, 24, 36.44, 2.49)
    np.testing.assert_allclose(widths.continuous[:3], [24, 60.44, 96.88])
    assert widths.continuous[-1] == pytest.approx(24 + 12 * 36.44)
    assert widths.quantized.tolist() == [24, 56, *[152] * 4, *[368] * 7]


def test_tie_of_x_1_6gf_rounds_to_even():
    # 80 * 2.25 = 180 is halfway between 22 * 8 and 23 * 8.
    assert block_widths(18, 80, 34.01, 2.25).quantized[2] == 176


def test_quantum():
    # 10 * 2 ** s, rounded to tens and to ones.
    assert block_widths(4, 10, 7.0, 1.7, quantum=10).quantized.tolist() == [10, 20, 30, 30]
    assert block_widths(4, 10, 7.0, 1.7, quantum=1).quantized.tolist() == [10, 17, 29, 29]


def test_group_width_is_capped_by_the_inner_width():
    first, second, *_ = generate_stages(23, 80, 49.56, 2.88, 120)  # RegNetX-8.0GF
    assert (first.width, first.group_width, first.groups) == (80, 80, 1)
    assert (second.width, second.group_width, second.groups) == (240, 120, 2)


def test_slope_zero_gives_one_stage():
    assert generate_stages(5, 32, 0, 2.0, 8, stride=1) == (StageConfig(32, 5, 8, stride=1),)


def test_each_stage_may_have_its_own_stride():
    numbers = (13, 24, 36.44, 2.49, 8)
    stages = generate_stages(*numbers, stride=(1, 2, 2, 1))
    assert [stage.stride for stage in stages] == [1, 2, 2, 1]
    plain = generate_stages(*numbers)
    assert [one.width for one in stages] == [one.width for one in plain]
    with pytest.raises(ValueError, match=r"`stride` .* one for each of 4 stages.*\(1, 2\)"):
        generate_stages(*numbers, stride=(1, 2))
    with pytest.raises(ValueError, match="`stride` must be 1 or 2, or one of them for each stage"):
        generate_stages(*numbers, stride=(1, 2, 2, 3))


def test_one_block():
    assert generate_stages(1, 24, 36.44, 2.49, 8) == (StageConfig(24, 1, 8),)


@pytest.mark.parametrize(
    "width, group_width, ratio, expected",
    [
        (56, 16, 1.0, (64, 16)),  # 56 / 16 = 3.5 -> 4
        (72, 16, 1.0, (64, 16)),  # 72 / 16 = 4.5 -> 4, to even
        (8, 16, 1.0, (8, 8)),  # never more than the inner width
        (72, 8, 0.25, (64, 8)),  # inner 18 -> 16, 16 / 0.25
        (24, 16, 0.5, (24, 12)),  # inner 12 caps the group width
        (2, 4, 0.25, (4, 1)),  # inner at least 1
        (48, 10, 2.0, (50, 10)),  # inner 96 -> 100, 100 / 2
        (20, 6, 4.0, (21, 6)),  # lcm(6, 4) = 12, inner 80 -> 84; 78 = 13 * 6 would give 19.5
        (8, 5, 3.0, (10, 5)),  # lcm(5, 3) = 15, inner 24 -> 30 (1.6 -> 2)
    ],
)
def test_compatible_width_by_hand(width, group_width, ratio, expected):
    assert compatible_width(width, group_width, ratio) == expected


@pytest.mark.parametrize(
    "width, group_width, nearest, torchvision",
    [
        (392, 16, 384, 400),  # 24.5: to even, and up
        (35, 24, 24, 48),  # 24 is below 0.9 * 35
        (192, 56, 168, 224),  # 168 is below 0.9 * 192
        (100, 16, 96, 96),  # 96 is not below 0.9 * 100
    ],
)
def test_torchvision_rounds_up_and_never_far_down(width, group_width, nearest, torchvision):
    assert compatible_width(width, group_width) == (nearest, group_width)
    assert compatible_width(width, group_width, rounding="torchvision")[0] == torchvision


def reference_stages(depth, w_0, w_a, w_m, group_width, ratio):
    """Section 3.3 of the paper and pycls' rule for group widths, in plain Python."""
    blocks = []
    for j in range(depth):
        s = round(math.log((w_0 + w_a * j) / w_0) / math.log(w_m))
        blocks.append(round(w_0 * w_m**s / 8) * 8)
    stages = []
    for width in sorted(set(blocks)):
        inner = int(max(1, width * ratio))
        g = min(group_width, inner)
        multiple = math.lcm(g, int(ratio)) if ratio > 1 else g
        inner = max(multiple, round(inner / multiple) * multiple)
        stages.append((int(inner / ratio), blocks.count(width), g, inner))
    return stages


def test_random_networks():
    draw = random.Random(0)
    for _ in range(300):
        arguments = (
            draw.randint(1, 64),
            8 * draw.randint(1, 32),
            draw.uniform(0, 256),
            draw.uniform(1.5, 3),
            draw.choice([1, 3, 8, 16, 24, 40, 64]),
            draw.choice([0.25, 0.5, 1, 2, 4]),
        )
        found = [
            (s.width, s.depth, s.group_width, s.inner_width) for s in generate_stages(*arguments)
        ]
        assert found == reference_stages(*arguments), arguments


def test_stage_properties():
    stage = StageConfig(64, 2, 8, bottleneck_ratio=0.25)
    assert (stage.inner_width, stage.groups, stage.stride) == (16, 2, 2)


GOOD = dict(
    depth=13, initial_width=24, width_slope=36.44, width_multiplier=2.49, group_width=8,
    bottleneck_ratio=1.0, quantum=8, stride=2, rounding="nearest",
)  # fmt: skip


@pytest.mark.parametrize(
    "argument, value, allowed",
    [
        ("depth", 0, "from 1 to 64"),
        ("depth", 65, "from 1 to 64"),
        ("depth", 13.0, "from 1 to 64"),
        ("depth", True, "from 1 to 64"),
        ("initial_width", 0, "positive multiple of the quantum 8"),
        ("initial_width", -8, "positive multiple of the quantum 8"),
        ("initial_width", 25, "positive multiple of the quantum 8"),
        ("width_slope", -0.1, "at least 0"),
        ("width_slope", math.nan, "finite"),
        ("width_slope", "36", "finite"),
        ("width_multiplier", 1.0, "above 1"),
        ("width_multiplier", math.inf, "finite"),
        ("group_width", 0, "at least 1"),
        ("group_width", 8.0, "at least 1"),
        ("bottleneck_ratio", 0, "above 0"),
        ("bottleneck_ratio", 1.5, "between 0 and 1, or a whole number"),
        ("quantum", 0, "at least 1"),
        ("stride", 3, "1 or 2"),
        ("rounding", "up", "torchvision"),
    ],
)
def test_errors_of_the_generator(argument, value, allowed):
    message = f"`{argument}` must be .*{allowed}.* Received: {argument}={re.escape(repr(value))}"
    with pytest.raises(ValueError, match=message):
        generate_stages(**{**GOOD, argument: value})


@pytest.mark.parametrize("argument", ["depth", "initial_width", "width_slope", "width_multiplier"])
def test_errors_of_block_widths(argument):
    good = {key: GOOD[key] for key in ("depth", "initial_width", "width_slope", "width_multiplier")}
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}=-1"):
        block_widths(**{**good, argument: -1})


@pytest.mark.parametrize(
    "argument, value, allowed",
    [
        ("width", 0, "at least 1"),
        ("width", 24.0, "at least 1"),
        ("depth", 0, "at least 1"),
        ("group_width", 0, "at least 1"),
        ("group_width", 7, "a divisor of the inner width 24"),
        ("stride", 0, "1 or 2"),
        ("bottleneck_ratio", -1.0, "above 0"),
    ],
)
def test_errors_of_a_stage(argument, value, allowed):
    good = dict(width=24, depth=1, group_width=8, stride=2, bottleneck_ratio=1.0)
    message = f"`{argument}` must be .*{allowed}.* Received: {argument}={re.escape(repr(value))}"
    with pytest.raises(ValueError, match=message):
        StageConfig(**{**good, argument: value})
