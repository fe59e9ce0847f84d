"""Arithmetic against published counts, against built models, and against TensorFlow's graph."""

import math
import re

import pytest
import tensorflow as tf

from regnet_tf import (
    VARIANTS,
    Complexity,
    RegNetConfig,
    StageConfig,
    build_regnet,
    complexity,
    get_config,
)

COUNTS = ("params_trainable", "params_bn_stats", "flops_pycls", "macs", "acts_pycls")
TINY = dict(depth=4, initial_width=8, width_slope=8.0, width_multiplier=2.0, group_width=4)
CONFIGS = {
    "x": RegNetConfig(**TINY),
    "y": RegNetConfig(**TINY, se_ratio=0.25, stem_width=12),
    "bottleneck": RegNetConfig(**TINY, bottleneck_ratio=0.5, stem_stride=1),
    "inverted": RegNetConfig(**TINY, bottleneck_ratio=2, se_ratio=0.1),
    "equal width and stride 1": RegNetConfig(
        explicit_stages=(StageConfig(16, 2, 4, stride=1), StageConfig(32, 1, 16)), stem_width=16
    ),
    "group normalization": RegNetConfig(
        explicit_stages=(StageConfig(16, 1, 8), StageConfig(32, 1, 8)), normalization="group"
    ),
}


SOURCES = ("timm", "timm_byobnet", "torchvision", "pycls", "huggingface", "mmpretrain")


def counts(found):
    return [found.parameters, found.statistics, found.flops, found.multiply_adds, found.activations]


@pytest.mark.parametrize("source", SOURCES)
def test_published_counts(golden_variants, source):
    for name, row in golden_variants[source].items():
        assert counts(complexity(name)) == [row[key] for key in COUNTS], name


@pytest.mark.slow
def test_built_variants_have_the_counted_parameters(without_values):
    with without_values():
        for key in VARIANTS:
            check_parameters(get_config(key))


def check_parameters(config, channels=3, **options):
    model = build_regnet(config, input_shape=(64, 64, channels), **options)
    options.pop("pooling", None)
    found = complexity(config, 64, channels=channels, **options)
    trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert trainable == found.parameters, config
    assert model.count_params() == found.parameters + found.statistics, config


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes": 7},
        {"channels": 1},
        {"channels": 5},
        {"include_top": False},
        {"include_top": False, "pooling": "max"},
    ],
    ids=str,
)
def test_parameters_of_built_models(options, without_values):
    with without_values():
        for config in CONFIGS.values():
            check_parameters(config, **options)


def graph_counts(model, size):
    """flops, multiply-adds and activations of one image, by the operations TensorFlow would run."""
    spec = tf.TensorSpec((1, *size, model.input_shape[-1]))
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec).graph
    macs = biases = activations = 0
    for operation in graph.get_operations():
        outputs = math.prod(operation.outputs[0].shape) if operation.outputs else 0
        if operation.type in ("Conv2D", "MatMul"):
            *_, width_in, _ = kernel = operation.inputs[1].shape.as_list()
            macs += outputs * math.prod(kernel[:-2]) * width_in
            activations += outputs
        # A bias is a vector; no other vector is added to a layer's matrix.
        if operation.type in ("BiasAdd", "AddV2") and len(operation.outputs[0].shape) == 2:
            biases += outputs
    return macs + biases, macs, activations


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", [(32, 32), (64, 48), (75, 101)], ids=str)
def test_costs_are_those_of_the_graph(config, size):
    found = complexity(config, size, classes=10)
    expected = graph_counts(build_regnet(config, classes=10), size)
    assert (found.flops, found.multiply_adds, found.activations) == expected


def test_costs_without_classifier():
    config = CONFIGS["y"]
    model = build_regnet(config, include_top=False, input_shape=(None, None, 2))
    found = complexity(config, (64, 48), channels=2, include_top=False)
    assert (found.flops, found.multiply_adds, found.activations) == graph_counts(model, (64, 48))


def test_include_top_costs_the_classifier():
    config = get_config("regnetx_002")
    top, bare = complexity(config, classes=10), complexity(config, include_top=False)
    assert top.parameters - bare.parameters == 368 * 10 + 10
    assert (top.multiply_adds - bare.multiply_adds, top.flops - bare.flops) == (
        368 * 10,
        368 * 10 + 10,
    )
    assert (top.activations - bare.activations, top.statistics - bare.statistics) == (10, 0)


def test_by_hand():
    # Stem 3x3x3x4 to 16x16; block 1x1 4->8, 3x3 in two groups of 4 to 8x8, 1x1, shortcut 4->8.
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 4),), stem_width=4)
    assert complexity(config, 32, classes=5) == Complexity(
        parameters=108 + 32 + 288 + 64 + 32 + 2 * (4 + 8 + 8 + 8 + 8) + 45,
        statistics=2 * (4 + 8 + 8 + 8 + 8),
        multiply_adds=108 * 256 + 32 * 256 + (288 + 64 + 32) * 64 + 40,
        flops=108 * 256 + 32 * 256 + (288 + 64 + 32) * 64 + 45,
        activations=4 * 256 + 8 * 256 + 3 * 8 * 64 + 5,
    )


def test_sizes():
    assert complexity("regnetx_002", 224) == complexity("regnetx_002", (224, 224))
    assert complexity("regnetx_002", (96, 160)) == complexity("regnetx_002", (160, 96))
    # Odd sizes round up at each stride: 65 -> 33 -> 17 -> 9 -> 5 -> 3, as 96 does at the end.
    assert complexity("regnetx_002", 65).multiply_adds > complexity("regnetx_002", 64).multiply_adds


@pytest.mark.parametrize(
    "argument, value, allowed",
    [
        ("image_size", 31, "at least 32, the network's total stride"),
        ("image_size", (64, 31), "at least 32, the network's total stride"),
        ("image_size", 0, "at least 1"),
        ("image_size", 64.0, "an integer"),
        ("classes", 0, "at least 1"),
        ("classes", 10.0, "an integer"),
        ("channels", 0, "at least 1"),
    ],
)
def test_errors(argument, value, allowed):
    shown = value[1] if isinstance(value, tuple) else value
    message = f"`{argument}` must be .*{allowed}.* Received: {argument}={re.escape(repr(shown))}"
    with pytest.raises(ValueError, match=message):
        complexity("regnetx_002", **{argument: value})


def test_unknown_name():
    with pytest.raises(ValueError, match="regnetx_999"):
        complexity("regnetx_999")
