"""Feature maps: timm's numbers, dilation, weights, saving, fusing, what is refused."""

import json
import pathlib

import golden_weights
import keras
import numpy as np
import pytest
from networks import with_statistics
from test_porting import assert_taps

import regnet_tf
from regnet_tf import (
    FeatureInfo,
    RegNetConfig,
    StageConfig,
    backbone,
    build_regnet,
    feature_info,
    feature_layers,
    fuse,
    load_state_dict,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"

# Stages 2 and 3 stride without a change of width: their shortcuts stay where dilation replaces it.
CONFIG = RegNetConfig(
    name="tiny",
    explicit_stages=(
        StageConfig(8, 1, 4),
        StageConfig(16, 2, 8),
        StageConfig(16, 2, 8),
        StageConfig(16, 2, 8, stride=1),
    ),
    se_ratio=0.25,
    stem_width=8,
)
IMAGES = np.random.default_rng(0).normal(size=(2, 48, 48, 3)).astype("float32")


def features(model, images=IMAGES, training=False):
    """Level -> float32 array, in the model's order."""
    outputs = model(images, training=training)
    return {level: np.asarray(outputs[level], "float32") for level in model.output}


def assert_same(found, expected, tolerance=0.0):
    assert found.keys() == expected.keys()
    for level, output in expected.items():
        error = np.abs(found[level] - output).max()
        assert error <= tolerance * np.abs(output).max(), level


# timm's `features_only` networks.


@pytest.mark.parametrize(
    "variant, output_stride",
    [
        ("regnetx_002", 8),
        ("regnetx_002", 16),
        ("regnetx_002", 32),
        ("regnety_004", 8),
        pytest.param("regnety_004", 16, marks=pytest.mark.slow),
        pytest.param("regnety_004", 32, marks=pytest.mark.slow),
        ("regnetv_064", 8),  # with average pooling in a dilated stage
        pytest.param("regnetz_040_h", 16, marks=pytest.mark.slow),
    ],
)
def test_features_of_timm(variant, output_stride):
    """Stem and stages, and the logits of the classifier on them."""
    keys = json.loads((GOLDEN / f"timm_{variant}.keys.json").read_text())["keys"]
    golden = dict(np.load(GOLDEN / "features" / f"timm_{variant}_os{output_stride}.npz"))
    state_dict = golden_weights.state_dict(keys, golden)
    for name in ("shape", "mean", "std", "first", "last"):
        golden[f"tap_{name}"] = golden[name]
    for prefix, tap in (("", "tap"), ("odd_", "odd")):
        for number, part in enumerate(("stem", "s1", "s2", "s3", "s4")):
            golden[f"{tap}_chmean_{part}"] = golden[f"{prefix}chmean_{number}"]

    model = build_regnet(variant, output_stride=output_stride, classifier_activation=None)
    load_state_dict(model, state_dict)
    info = feature_info(model)
    assert [one.channels for one in info.values()] == golden["channels"].tolist()
    assert [one.stride for one in info.values()] == golden["reduction"].tolist()
    tapped = keras.Model(model.input, {**feature_layers(model), "logits": model.output})
    for images, prefix, tap in (
        (golden_weights.input_batch(), "", "tap"),
        (golden_weights.input_odd(), "odd_", "odd"),
    ):
        outputs = features(tapped, images)
        logits = golden[f"{prefix}logits"]
        tolerance = 5e-5 if variant == "regnetv_064" else 2e-5
        assert np.abs(outputs.pop("logits") - logits).max() <= tolerance * logits.std()
        assert_taps(outputs.values(), golden, tap, tolerance)


# Levels and dilation.


@pytest.mark.parametrize("output_stride, stride", [(32, 16), (8, 8)])
def test_outputs_are_the_levels_of_the_classifier(output_stride, stride):
    dilation = {"output_stride": output_stride}
    model = backbone("regnetx_002", outputs=(4, 2), name="trunk", **dilation)
    classifier = build_regnet("regnetx_002", **dilation)
    weights = {variable.path: variable for variable in classifier.variables}
    for variable in model.variables:  # a part of the classifier's, under the same paths
        variable.assign(weights[variable.path])
    assert "stage_4" not in [layer.name for layer in model.layers]
    assert model.name == "trunk"
    assert feature_info(model) == {
        "P4": FeatureInfo(channels=152, stride=stride, layer="stage_3"),
        "P2": FeatureInfo(channels=24, stride=4, layer="stage_1"),
    }
    inner = feature_layers(classifier)
    assert list(inner) == ["P1", "P2", "P3", "P4", "P5"]
    tapped = keras.Model(classifier.input, {level: inner[level] for level in ("P2", "P4")})
    assert_same(features(model), features(tapped))


@pytest.mark.parametrize(
    "output_stride, strides, dilations",
    [
        (32, (2, 4, 8, 16, 16), ([1], [1, 1], [1, 1], [1, 1])),
        (16, (2, 4, 8, 16, 16), ([1], [1, 1], [1, 1], [1, 1])),
        (8, (2, 4, 8, 8, 8), ([1], [1, 1], [1, 2], [2, 2])),
    ],
)
def test_dilation_replaces_strides(output_stride, strides, dilations):
    model = backbone(CONFIG, outputs=range(1, 6), output_stride=output_stride)
    assert tuple(one.stride for one in feature_info(model).values()) == strides
    stages = [model.get_layer(f"stage_{number}") for number in range(1, 5)]
    assert tuple([block.dilation for block in stage.blocks] for stage in stages) == dilations
    for stride, output in zip(strides, features(model, IMAGES[:, :, :41]).values(), strict=True):
        assert output.shape[1:3] == (48 // stride, -(-41 // stride))


def test_dilated_features_are_those_between_the_strided_ones():
    """Without padding's influence: every other pixel of the dilated map is the strided map."""
    config = RegNetConfig(
        explicit_stages=(StageConfig(8, 1, 4), StageConfig(8, 1, 4), StageConfig(8, 3, 4)),
        stem_width=8,
    )
    strided = with_statistics(backbone(config, outputs=[4]))
    dilated = backbone(config, outputs=[4], output_stride=8)
    assert [v.path for v in dilated.variables] == [v.path for v in strided.variables]
    dilated.set_weights(strided.get_weights())
    images = np.random.default_rng(2).normal(size=(1, 128, 128, 3)).astype("float32")
    expected, found = features(strided, images)["P4"], features(dilated, images)["P4"]
    assert found.shape == (1, 16, 16, 8) and expected.shape == (1, 8, 8, 8)
    np.testing.assert_allclose(found[:, ::2, ::2], expected, rtol=1e-4, atol=1e-5)


def test_any_input_size():
    model = backbone(CONFIG, outputs=(1, 3, 5), output_stride=8)
    info = feature_info(model)
    for size in ((48, 48), (33, 47), (8, 81)):
        for level, output in features(model, np.ones((1, *size, 3), "float32")).items():
            assert output.shape[1:3] == tuple(-(-side // info[level].stride) for side in size)
    fixed = backbone(CONFIG, outputs=[2], input_shape=(33, 47, 3))
    assert fixed.output["P2"].shape == (None, 9, 12, 8)


# Weights.


def test_weights_of_the_whole_network(tmp_path):
    classifier = build_regnet("regnetx_002")
    regnet_tf.write_state_dict(tmp_path / "weights.npz", regnet_tf.to_state_dict(classifier))
    classifier.save(tmp_path / "classifier.keras")
    expected = features(keras.Model(classifier.input, feature_layers(classifier)))
    expected = {level: expected[level] for level in ("P2", "P3")}
    for file in ("weights.npz", "classifier.keras"):
        model = backbone("regnetx_002", outputs=(2, 3), weights=tmp_path / file)
        assert_same(features(model), expected)


def test_published_weights(hub, state_dict):
    tag = "regnetx_002.pycls_in1k"
    for model in (
        backbone(tag, weights=True, outputs=[3]),
        backbone("RegNetX-200MF", weights=tag, outputs=[3], output_stride=8),
    ):
        assert model.name == tag
        assert regnet_tf.preprocessing_for(model).image_size == 224
        found = regnet_tf.to_state_dict(model)
        assert "s2.b1.conv2.conv.weight" in found and "s3.b1.conv2.conv.weight" not in found
        for key, value in found.items():
            np.testing.assert_array_equal(value, state_dict[key])


# What else holds of models.


def test_backbones_are_saved(tmp_path):
    model = with_statistics(backbone(CONFIG, outputs=(5, 2), output_stride=8))
    model.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert_same(features(loaded), features(model))
    assert feature_info(loaded) == feature_info(model)


@pytest.mark.parametrize(
    "output_stride, scales",
    [
        (32, {"P1": "stem", "P2": "stage_1", "P3": "stage_2", "P4": "stage_4"}),
        (8, {"P1": "stem", "P2": "stage_1", "P3": "stage_4"}),
    ],
)
def test_outputs_by_scale(output_stride, scales, tmp_path):
    """The last layer of each stride, also in copies; `CONFIG`'s stage 4 has no stride."""
    model = backbone(CONFIG, outputs=(5, 4, 1, 3, 2), output_stride=output_stride)
    model.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    for copy in (model, loaded, fuse(model), keras.models.clone_model(model)):
        expected = {scale: copy.get_layer(name).output for scale, name in scales.items()}
        assert list(copy.pyramid_outputs) == list(expected)
        assert all(copy.pyramid_outputs[scale] is expected[scale] for scale in scales)
    assert list(backbone(CONFIG, outputs=[3]).pyramid_outputs) == ["P3"]


def test_backbones_are_fused():
    model = with_statistics(backbone(CONFIG, outputs=(3, 5), output_stride=8))
    fused = fuse(model)
    assert not any("norm" in variable.path for variable in fused.variables)
    assert_same(features(fused), features(model), tolerance=1e-5)
    assert feature_info(fused) == feature_info(model)


@pytest.mark.short_floats
def test_mixed_precision():
    model = with_statistics(backbone(CONFIG, output_stride=8, dtype="mixed_bfloat16"))
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert {str(output.dtype) for output in model(IMAGES).values()} == {"<dtype: 'bfloat16'>"}
    full = backbone(CONFIG, output_stride=8)
    full.set_weights(model.get_weights())
    assert_same(features(model), features(full), tolerance=0.05)


def test_frozen_stages():
    model = backbone(CONFIG, outputs=(2, 4), output_stride=8)
    regnet_tf.freeze(model, "stage_2")
    trainable = {variable.path.partition("/")[0] for variable in model.trainable_variables}
    assert trainable == {"stage_3"}
    before = features(model)
    features(model, training=True)  # would move the statistics of what is not frozen
    after = features(model)
    np.testing.assert_array_equal(before["P2"], after["P2"])
    assert (before["P4"] != after["P4"]).any()


def test_drop_path_and_other_changes():
    model = backbone(CONFIG, outputs=[5], drop_path_rate=0.5, activation="silu")
    assert model.get_layer("stage_4").drop_path_rates[-1] == 0.5
    once, again = (features(model, training=True)["P5"] for _ in range(2))
    assert (once != again).any()
    assert_same(features(model), features(model))
    stem = backbone("regnetx_002", outputs=[1], stem_width=16)
    assert feature_info(stem) == {"P1": FeatureInfo(channels=16, stride=2, layer="stem")}


def test_training_through_a_head_on_two_levels():
    config = CONFIG.replace(explicit_stages=CONFIG.stages[:2])
    trunk = backbone(config, outputs=(2, 3), output_stride=8, include_preprocessing=True)
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in trunk(trunk.input).values()]
    outputs = keras.layers.Dense(2)(keras.layers.Concatenate()(pooled))
    model = keras.Model(trunk.input, outputs)
    rng = np.random.default_rng(3)
    labels = np.arange(16) % 2
    images = rng.integers(0, 128, (16, 32, 32, 3)) + 127 * labels[:, None, None, None]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, run_eagerly=True)
    history = model.fit(images.astype("uint8"), labels, batch_size=16, epochs=8, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def test_on_a_tensor():
    images = keras.Input((32, 32, 3))
    model = backbone(CONFIG, outputs=[2], input_tensor=keras.layers.Rescaling(2.0)(images))
    assert model.input is images
    assert model.output["P2"].shape == (None, 8, 8, 8)


# What is refused.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"outputs": (2, 6)}, "`outputs` must be a sequence of different levels from 1 to 5"),
        ({"outputs": (0,)}, "`outputs`.*levels from 1 to 5"),
        ({"outputs": ()}, "`outputs`"),
        ({"outputs": (2, 2)}, "`outputs`.*different"),
        ({"outputs": 5}, "`outputs`.*a sequence"),
        ({"outputs": "25"}, "`outputs`.*a sequence"),
        ({"outputs": ("P2",)}, "`outputs`.*levels"),
        ({"output_stride": 4}, "`output_stride` must be one of 8, 16, 32"),
        ({"output_stride": None}, "`output_stride` must be one of"),
        ({"input_shape": (15, 32, 3)}, "`input_shape`.*at least 16 pixels"),
        ({"input_shape": (32, 7, 3), "output_stride": 8}, "`input_shape`.*at least 8 pixels"),
        ({"classes": 10}, "`backbone` has no argument classes. Known: "),
        ({"pooling": "avg"}, "no argument pooling"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbone(CONFIG, **arguments)


def test_unknown_networks():
    with pytest.raises(ValueError, match="`config` must be a RegNetConfig or a variant's name"):
        backbone(7)
    with pytest.raises(ValueError, match=r"must be a known RegNet.*Nearest"):
        backbone("regnetx_003")


@pytest.mark.parametrize("function", [feature_info, feature_layers])
def test_models_without_levels(function):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    for model in (other, "a name"):
        with pytest.raises(ValueError, match="`model` must be a network that"):
            function(model)


def test_classifiers_have_all_levels():
    info = feature_info(build_regnet(CONFIG, output_stride=8))
    assert [one.layer for one in info.values()] == ["stem", *(f"stage_{n}" for n in range(1, 5))]
    with pytest.raises(ValueError, match="`output_stride`"):
        build_regnet(CONFIG, output_stride=64)
