"""State dicts of every source: published logits, the way back, and what does not fit."""

import json
import logging
import pathlib

import golden_weights
import numpy as np
import pytest

from regnet_tf import RegNetConfig, StageConfig, build_regnet, create_model
from regnet_tf.porting import SOURCES, count_classes, load_state_dict, to_state_dict

GOLDEN = pathlib.Path(__file__).parent / "golden"
NETWORKS = sorted(path.name.removesuffix(".keys.json") for path in GOLDEN.glob("*.keys.json"))

SMALL = RegNetConfig(
    explicit_stages=(StageConfig(8, 2, 4), StageConfig(16, 1, 8)), se_ratio=0.25, stem_width=8
)


def small(**arguments):
    return build_regnet(SMALL, **{"classes": 5, "classifier_activation": None, **arguments})


def values(model):
    return [np.array(variable) for variable in model.variables]


@pytest.mark.parametrize("network", NETWORKS)
def test_published_logits(network):
    keys = json.loads((GOLDEN / f"{network}.keys.json").read_text())
    state_dict = {name: golden_weights.fill(name, shape) for name, shape in keys["keys"]}
    golden = np.load(GOLDEN / f"{network}.npz")
    model = create_model(keys["variant"], classifier_activation=None)
    source = load_state_dict(model, state_dict)
    assert source == keys["source"]
    tolerance = 5e-5 if network.endswith("sgn") else 2e-5
    inputs = {"logits": golden_weights.input_batch(), "logits_odd": golden_weights.input_odd()}
    for name, images in inputs.items():
        if SOURCES[source].bgr:  # the network was fed these numbers as blue, green, red
            images = images[..., ::-1]
        error = np.abs(model.predict(images, verbose=0) - golden[name]).max()
        assert error <= tolerance * golden[name].std()

    back = to_state_dict(model, source)
    assert back.keys() == state_dict.keys()
    for name, tensor in state_dict.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "mmpretrain"])
def test_a_round_trip_is_exact_and_the_source_is_told(source):
    model, other = small(), small()
    state_dict = to_state_dict(model, source)
    assert load_state_dict(other, state_dict) == source
    for ours, theirs in zip(values(model), values(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_names_of_vissl():
    """As its checkpoints of SEER have them."""
    names = set(to_state_dict(small(), "vissl"))
    assert {
        "_feature_blocks.conv1.stem.0.weight",
        "_feature_blocks.res2.block1-0.f.a.0.weight",
        "_feature_blocks.res2.block1-0.f.final_bn.running_var",
        "_feature_blocks.res2.block1-0.proj.weight",
        "_feature_blocks.res2.block1-0.bn.bias",
        "_feature_blocks.res3.block2-0.f.se.excitation.2.bias",
        "0.clf.0.weight",
    } <= names


@pytest.mark.parametrize("prefix", ["module.", "module.model."])
def test_wrappers_of_names_are_seen_through(prefix):
    state_dict = {prefix + name: value for name, value in to_state_dict(small()).items()}
    assert load_state_dict(small(), state_dict) == "timm"


def test_huggingface_without_its_classifier():
    state_dict = to_state_dict(small(), "huggingface")
    bare = {name.removeprefix("regnet."): value for name, value in state_dict.items()}
    bare = {name: value for name, value in bare.items() if not name.startswith("classifier")}
    assert load_state_dict(small(include_top=False), bare) == "huggingface"


def test_all_problems_are_listed_at_once_and_nothing_changes():
    model = small()
    before = values(model)
    state_dict = to_state_dict(small())
    del state_dict["s1.b1.conv2.conv.weight"]
    state_dict["s1.b3.conv1.conv.weight"] = np.zeros((8, 8, 1, 1), "float32")
    state_dict["s2.b1.se.fc1.bias"] = np.zeros(7, "float32")
    with pytest.raises(ValueError) as error:
        load_state_dict(model, state_dict)
    for part in (
        "1 missing: s1.b1.conv2.conv.weight",
        "1 left over: s1.b3.conv1.conv.weight",
        "1 misshapen: s2.b1.se.fc1.bias (7,) instead of (2,)",
    ):
        assert part in str(error.value)
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_number_of_classes(caplog):
    state_dict = to_state_dict(small(classes=7))
    model = small()
    head = np.array(model.get_layer("head").kernel)
    with pytest.raises(ValueError, match="skip_head"):
        load_state_dict(model, state_dict)
    with caplog.at_level(logging.WARNING):
        load_state_dict(model, state_dict, skip_head=True)
    assert "classifier keeps its own values" in caplog.text
    np.testing.assert_array_equal(model.get_layer("head").kernel, head)
    stem = np.array(model.get_layer("stem").conv.kernel)
    np.testing.assert_array_equal(stem, state_dict["stem.conv.weight"].transpose(2, 3, 1, 0))


def test_a_model_without_classifier_leaves_it_out():
    load_state_dict(small(include_top=False), to_state_dict(small()))


def test_blue_green_red_is_turned_in_the_stem_alone():
    model = small()
    pycls, timm = to_state_dict(model, "pycls"), to_state_dict(model, "timm")
    stem = "stem.conv.weight"
    np.testing.assert_array_equal(pycls[stem], timm[stem][:, ::-1])
    np.testing.assert_array_equal(pycls["s1.b1.f.a.weight"], timm["s1.b1.conv1.conv.weight"])


def test_unknown_sources_and_names():
    with pytest.raises(ValueError, match=r"`source` must be one of .*'timm'.* Received: .*'keras'"):
        load_state_dict(small(), {}, source="keras")
    with pytest.raises(ValueError, match=r"must hold a RegNet of timm.* Received the names: a, b"):
        load_state_dict(small(), {"a": np.zeros(1), "b": np.zeros(1)})


def test_count_classes():
    assert count_classes(to_state_dict(small(classes=7), "torchvision")) == 7
    assert count_classes(to_state_dict(small(include_top=False))) == 0
