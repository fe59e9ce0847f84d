"""Configurations and the names of the published ones."""

import dataclasses
import itertools
import json
import re

import pytest

from regnet_tf import VARIANTS, RegNetConfig, StageConfig, get_config, list_variants
from regnet_tf.costs import squeeze_width
from regnet_tf.options import ACTIVATIONS
from regnet_tf.variants import variant_key

PAPER = ["002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320"]
OTHERS = [
    "regnetx_004_tv", "regnety_008_tv", "regnety_080_tv",
    "regnety_640", "regnety_1280", "regnety_2560", "regnety_040_sgn",
    "regnetv_040", "regnetv_064", "regnetz_005", "regnetz_040", "regnetz_040_h",
    "regnetz_b16", "regnetz_b16_evos", "regnetz_c16", "regnetz_c16_evos",
    "regnetz_d8", "regnetz_d8_evos", "regnetz_d32", "regnetz_e8",
]  # fmt: skip
GROUP_NORM_STAGES = (StageConfig(16, 1, 8), StageConfig(32, 1, 8))
STAGES = (StageConfig(16, 1, 8), StageConfig(32, 2, 16, stride=1, bottleneck_ratio=0.5))


def config(**changes):
    """A small generated configuration."""
    generator = dict(depth=4, initial_width=8, width_slope=8.0, width_multiplier=2.0, group_width=4)
    return RegNetConfig(**{**generator, **changes})


def test_variants_are_complete():
    paper = [f"regnet{letter}_{size}" for letter in "xy" for size in PAPER]
    assert sorted(VARIANTS) == sorted(paper + OTHERS)


GENERATED = [key for key, variant in VARIANTS.items() if variant.depth is not None]
SHORTCUTS = {"conv1x1": "conv", "avg": "average", None: "none"}


@pytest.mark.parametrize("key", GENERATED)
def test_variants_are_timms(golden_variants, key):
    row = golden_variants["timm"][key]
    found = get_config(key)
    generator = row["cfg"]
    assert (found.depth, found.initial_width) == (generator["depth"], generator["w0"])
    assert (found.width_slope, found.width_multiplier) == (generator["wa"], generator["wm"])
    assert found.group_width == generator["group_size"]
    assert found.bottleneck_ratio == generator["bottle_ratio"]
    assert (found.se_ratio, found.stem_width) == (generator["se_ratio"], generator["stem_width"])
    assert (found.activation, found.stem_stride) == (generator["act_layer"], 2)
    assert found.normalization == ("group" if "Group" in generator["norm_layer"] else "batch")
    assert found.preactivation == generator.get("preact", False)
    assert found.linear_output == generator.get("linear_out", False)
    assert found.shortcut == SHORTCUTS[generator.get("downsample", "conv1x1")]
    assert found.final_width == generator.get("num_features", 0)
    assert [stage.width for stage in found.stages] == row["stage_widths"]
    assert [stage.depth for stage in found.stages] == row["stage_depths"]
    assert [stage.group_width for stage in found.stages] == row["stage_group_widths"]
    assert found.total_depth == generator["depth"]
    assert found.total_stride == 32


@pytest.mark.parametrize("key", sorted({*VARIANTS} - {*GENERATED}))
def test_lettered_variants_are_timms(golden_variants, key):
    row = golden_variants["timm_byobnet"][key]
    found, expected = get_config(key), row["cfg"]
    assert [
        {"d": stage.depth, "c": stage.width, "s": stage.stride, "gs": stage.group_width}
        | {"br": stage.bottleneck_ratio}
        for stage in found.stages
    ] == expected["blocks"]
    assert (found.stem_width, found.final_width) == (expected["stem_chs"], expected["num_features"])
    assert found.stem_type == {"3x3": "single"}.get(*[expected["stem_type"]] * 2)
    assert found.activation == expected["act_layer"]
    evonorm = expected["norm_layer"] == "EvoNorm2dS0a"
    assert found.normalization == ("evonorm" if evonorm else "batch")
    assert found.bottleneck_in and expected["block_kwargs"]["bottle_in"]
    assert found.linear_output and expected["block_kwargs"]["linear_out"]
    widths = [found.stem_width, *(stage.width for stage in found.stages)]
    squeezed = [squeeze_width(width, found.se_ratio, found.se_quantum) for width in widths]
    assert row["stage_se_widths_first_and_rest"] == [
        list(pair) for pair in itertools.pairwise(squeezed)
    ]
    assert found.total_stride == 32


def test_names_of_pycls(golden_variants):
    for name, row in golden_variants["pycls"].items():
        assert variant_key(name) == row["timm_name"]
        assert get_config(name).name == name


def test_names_of_functions(golden_variants):
    for name, row in golden_variants["pycls"].items():
        assert variant_key(name.replace("-", "").replace(".", "_")) == row["timm_name"]


@pytest.mark.parametrize("source", ["torchvision", "huggingface", "mmpretrain"])
def test_names_of_other_projects(golden_variants, source):
    for name, row in golden_variants[source].items():
        assert variant_key(name) == row["timm_name"]


@pytest.mark.parametrize(
    "name, key",
    [
        ("RegNetX-1.6GF", "regnetx_016"),
        ("RegNetX1_6GF", "regnetx_016"),
        ("regnetx_016", "regnetx_016"),
        ("RegNetX016", "regnetx_016"),
        ("regnet_x_1_6gf", "regnetx_016"),
        ("regnetx_1.6gf", "regnetx_016"),
        ("regnet-x-016", "regnetx_016"),
        ("REGNETX_016", "regnetx_016"),
        ("RegNetX-400MF", "regnetx_004"),
        ("regnetx_400mf", "regnetx_004"),
        ("regnet_x_400mf", "regnetx_004_tv"),
        ("RegNetX-400MF-tv", "regnetx_004_tv"),
        ("regnet_y_800mf", "regnety_008_tv"),
        ("regnet_y_8gf", "regnety_080_tv"),
        ("RegNetY-8.0GF", "regnety_080"),
        ("RegNetY-8GF", "regnety_080"),
        ("RegNetY8_0GF", "regnety_080"),
        ("RegNetY080", "regnety_080"),
        ("regnet_y_128gf", "regnety_1280"),
        ("RegNetY-256GF", "regnety_2560"),
        ("RegNetY-4.0GF-sgn", "regnety_040_sgn"),
        ("RegNetY320", "regnety_320"),
    ],
)
def test_spellings(name, key):
    assert variant_key(name) == key
    assert get_config(name) == VARIANTS[key].config


@pytest.mark.parametrize(
    "name, near",
    [
        ("regnetx_005", "regnetx_00[468]"),
        ("RegNetY-1.7GF", "RegNetY-1.6GF"),
        ("regnet_x_40mf", "regnet_x_400mf"),
    ],
)
def test_unknown_names_suggest_near_ones(name, near):
    with pytest.raises(ValueError, match=f"name='{name}'. Nearest: .*{near}"):
        get_config(name)


@pytest.mark.parametrize("name", ["resnet50", "", 5, None])
def test_unknown_names(name):
    with pytest.raises(ValueError, match=f"Received: name={name!r}.*list_variants"):
        get_config(name)


def test_list_variants():
    assert list_variants() == list(VARIANTS)
    assert list_variants("*_tv") == ["regnetx_004_tv", "regnety_008_tv", "regnety_080_tv"]
    assert len(list_variants("regnetx_???")) == 12
    assert list_variants("resnet*") == []


def test_strides_of_the_stages_survive_json():
    one = get_config("RegNetX-400MF", stride=(1, 2, 2, 2), stem_stride=1)
    assert one.total_stride == 8 and [stage.stride for stage in one.stages] == [1, 2, 2, 2]
    again = RegNetConfig.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again == one and hash(again) == hash(one)
    assert one.identity != get_config("RegNetX-400MF", stem_stride=1).identity
    same = get_config("RegNetX-400MF", stride=(2, 2, 2, 2))
    assert same.identity == get_config("RegNetX-400MF").identity


def test_get_config_changes_fields():
    changed = get_config("RegNetX-400MF", drop_path_rate=0.1, stem_stride=1)
    assert (changed.drop_path_rate, changed.stem_stride, changed.total_stride) == (0.1, 1, 16)
    assert changed.stages == get_config("RegNetX-400MF").stages


def test_configurations_are_frozen_values():
    one = config()
    assert one == config() and hash(one) == hash(config()) and one != config(depth=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.depth = 5


@pytest.mark.parametrize("key", VARIANTS)
def test_json_round_trip_of_variants(key):
    one = get_config(key, drop_path_rate=0.2)
    assert RegNetConfig.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_json_round_trip_of_explicit_stages():
    one = RegNetConfig(name="AnyNet", explicit_stages=STAGES, se_ratio=0.25, stem_stride=1)
    again = RegNetConfig.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again == one
    assert again.stages == STAGES


def test_from_dict_names_unknown_fields():
    with pytest.raises(ValueError, match=r"has the fields name, .*depth.* Received: width"):
        RegNetConfig.from_dict({**config().to_dict(), "width": 8})


def test_identity_is_of_the_network():
    one = config()
    explicit = RegNetConfig(explicit_stages=one.stages, name="another")
    assert one.identity == explicit.identity == RegNetConfig.from_dict(one.to_dict()).identity
    assert re.fullmatch("[0-9a-f]{12}", one.identity)
    # Another multiplier within the same rounding is the same network.
    assert config(width_multiplier=2.0001).identity == one.identity


def test_identity_changes_with_whatever_changes_the_network():
    first, *others = config().stages
    stages = (dataclasses.replace(first, stride=1), *others)
    changed = [
        config(depth=5),
        config(group_width=8),
        config(bottleneck_ratio=2),
        RegNetConfig(explicit_stages=stages),
        config(se_ratio=0.25),
        config(stem_width=16),
        config(stem_stride=1),
        config(activation="silu"),
        config(stem_type="deep"),
        config(se_ratio=0.25, se_quantum=8),
        config(se_ratio=0.25, se_activation="silu"),
        config(shortcut="average"),
        config(linear_output=True),
        config(bottleneck_in=True),
        config(preactivation=True),
        config(final_width=64),
        RegNetConfig(explicit_stages=GROUP_NORM_STAGES),
        RegNetConfig(explicit_stages=GROUP_NORM_STAGES, normalization="group"),
        config(drop_path_rate=0.1),
    ]
    assert len({one.identity for one in (config(), *changed)}) == 1 + len(changed)


def test_identity_is_the_same_everywhere():
    # It is written to files: a change here makes their readers take every network for a new one.
    assert config().identity == "4d67e1ad81f6"


def test_explicit_stages():
    one = RegNetConfig(explicit_stages=list(STAGES), stem_stride=1)
    assert one.stages == STAGES
    assert (one.total_depth, one.total_stride) == (3, 2)
    assert hash(one) == hash(RegNetConfig(explicit_stages=STAGES, stem_stride=1))
    with pytest.raises(ValueError, match="`explicit_stages`"):
        _ = one.block_widths


def test_block_widths():
    widths = config().block_widths
    assert widths.continuous.tolist() == [8, 16, 24, 32]
    assert widths.quantized.tolist() == [8, 16, 32, 32]  # log2 of 1, 2, 3, 4 rounds to 0, 1, 2, 2


def test_drop_path_rates_grow_linearly():
    rates = config(drop_path_rate=0.3).drop_path_rates()
    assert [len(stage) for stage in rates] == [1, 1, 2]
    assert [rate for stage in rates for rate in stage] == pytest.approx([0, 0.1, 0.2, 0.3])
    one_block = RegNetConfig(explicit_stages=STAGES[:1], drop_path_rate=0.3)
    assert one_block.drop_path_rates() == [[0]]


def test_replace():
    one = config()
    assert one.replace(depth=5) == config(depth=5)
    with pytest.raises(ValueError, match=r"has the fields name, .*depth.* Received: depht, width"):
        one.replace(width=3, depht=5)
    with pytest.raises(ValueError, match=r"`depth` must be .* Received: depth=0"):
        one.replace(depth=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    assert config(activation=activation).activation == activation


@pytest.mark.parametrize(
    "field, value, allowed",
    [
        ("depth", 0, "from 1 to 64"),
        ("depth", None, "given, unless `explicit_stages` is"),
        ("initial_width", 12, "positive multiple of the quantum 8"),
        ("initial_width", None, "given"),
        ("width_slope", -1, "at least 0"),
        ("width_slope", None, "given"),
        ("width_multiplier", 1, "above 1"),
        ("width_multiplier", None, "given"),
        ("group_width", 0, "at least 1"),
        ("group_width", None, "given"),
        ("bottleneck_ratio", 2.5, "whole number"),
        ("quantum", 0, "at least 1"),
        ("rounding", "down", "'nearest'.*'torchvision'"),
        ("stride", 4, "1 or 2"),
        ("stride", 1.0, "1 or 2"),
        ("width_slope", 1e300, "below 1,048,576"),
        ("width_multiplier", 10**30, "below 1,048,576"),
        ("bottleneck_ratio", 1e300, "below 1,048,576"),
        ("se_ratio", 1e300, "below 1,048,576"),
        ("stem_width", 10**30, "at most 1,048,576"),
        ("stem_stride", True, "1 or 2"),
        ("se_ratio", -0.25, "at least 0"),
        ("se_ratio", "a quarter", "finite number"),
        ("stem_width", 0, "at least 1"),
        ("stem_stride", 3, "1 or 2"),
        ("activation", "relu7", "'relu'.*'silu'"),
        ("normalization", "layer", "'batch'.*'group'"),
        ("drop_path_rate", 1.0, "at least 0 and below 1"),
        ("drop_path_rate", -0.1, "at least 0 and below 1"),
    ],
)
def test_errors(field, value, allowed):
    message = f"`{field}` must be .*{allowed}.* Received: {field}={re.escape(repr(value))}"
    with pytest.raises(ValueError, match=message):
        config(**{field: value})


def test_generator_and_explicit_stages_exclude_each_other():
    with pytest.raises(ValueError, match="`depth` must be None where `explicit_stages` is given"):
        config(explicit_stages=STAGES)


@pytest.mark.parametrize("stages", [(), [], [16, 32], [None], [{"depth": 1, "width": 16}]])
def test_errors_of_explicit_stages(stages):
    message = f"`explicit_stages` must be .*StageConfig. Received: .*{re.escape(repr(stages))}"
    with pytest.raises(ValueError, match=message):
        RegNetConfig(explicit_stages=stages)


def test_errors_inside_explicit_stages():
    with pytest.raises(ValueError, match=r"`group_width` must be a divisor .*group_width=5"):
        RegNetConfig(explicit_stages=[{"width": 16, "depth": 1, "group_width": 5}])
