"""State dicts of every source: published logits, the way back, and what does not fit."""

import argparse
import json
import pathlib
import re

import golden_weights
import keras
import ml_dtypes
import numpy as np
import pytest
from networks import outputs_of

from regnet_tf import RegNetConfig, StageConfig, build_regnet, read_state_dict
from regnet_tf.porting import count_classes, load_state_dict, to_state_dict
from regnet_tf.sources import SOURCES

GOLDEN = pathlib.Path(__file__).parent / "golden"
NETWORKS = sorted(path.name.removesuffix(".keys.json") for path in GOLDEN.glob("*.keys.json"))
TAPS = ("stem", "s1", "s2", "s3", "s4")

SMALL = RegNetConfig(
    explicit_stages=(StageConfig(8, 2, 4), StageConfig(16, 1, 8)), se_ratio=0.25, stem_width=8
)


def small(config=SMALL, **arguments):
    return build_regnet(config, **{"classes": 5, "classifier_activation": None, **arguments})


def values(model):
    return [np.array(variable) for variable in model.variables]


def assert_same_values(model, other):
    for ours, theirs in zip(values(model), values(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_taps(features, golden, tap, tolerance):
    """Outputs of stem and stages are those of the source, relative to their standard deviations."""
    for number, (part, found) in enumerate(zip(TAPS, features, strict=True)):
        batch, channels, rows, columns = golden[f"{tap}_shape"][number]
        assert found.shape == (batch, rows, columns, channels)
        std = golden[f"{tap}_std"][number]
        for name, value, share in (
            ("mean", found.mean(dtype="float64"), 0.1),
            ("std", found.std(dtype="float64"), 0.1),
            ("first", found[0, 0, 0, :8], 0.5),
            ("last", found[0, -1, -1, :8], 0.5),
        ):
            error = np.abs(value - golden[f"{tap}_{name}"][number]).max()
            assert error <= share * tolerance * std, (part, name)
        by_channel = golden[f"{tap}_chmean_{part}"]
        assert np.abs(found[0].mean((0, 1)) - by_channel).max() <= 0.5 * tolerance * std, part


#: `test_models.py` compares these with the same logits, and `test_backbones.py` the last one.
ELSEWHERE = ("timm_regnety_004", "timm_regnetx_004_tv", "timm_regnety_040_sgn", "timm_regnetv_064")
#: These are compiled, too: every kind of block. Names of tensors make no other graphs.
COMPILED = ("pycls_RegNetX-200MF", "torchvision_regnet_y_400mf", *ELSEWHERE)
COMPILED += tuple(name for name in NETWORKS if name.startswith(("timm_regnetv", "timm_regnetz")))


@pytest.mark.parametrize(
    "network",
    [pytest.param(one, marks=pytest.mark.slow if one in ELSEWHERE else ()) for one in NETWORKS],
)
def test_published_networks(network):
    """Logits and the outputs of stem and stages, of two images; some compiled."""
    keys = json.loads((GOLDEN / f"{network}.keys.json").read_text())
    golden = np.load(GOLDEN / f"{network}.npz")
    state_dict = golden_weights.state_dict(keys["keys"], golden)
    model = build_regnet(keys["variant"], classifier_activation=None)
    source = load_state_dict(model, state_dict)
    assert source.removesuffix("_byobnet") == keys["source"]
    layers = ("stem", "stage_1", "stage_2", "stage_3", "stage_4", "head")
    tapped = keras.Model(model.input, [model.get_layer(layer).output for layer in layers])
    compute = tapped.predict_on_batch if network in COMPILED else tapped
    tolerance = 5e-5 if network in ("timm_regnety_040_sgn", "timm_regnetv_064") else 2e-5
    # timm's statistics of EvoNorm err more.
    of_taps = 5e-5 if network.endswith("evos") else tolerance
    batch, odd = golden_weights.input_batch(), golden_weights.input_odd()
    if SOURCES[source].bgr:  # the network was fed these numbers as blue, green, red
        batch, odd = batch[..., ::-1], odd[..., ::-1]
    for logits, tap, outputs in (
        ("logits", "tap", [np.asarray(output) for output in tapped(batch, training=False)]),
        ("logits_odd", "odd", [np.asarray(output) for output in compute(odd)]),
    ):
        *features, found = outputs
        assert np.abs(found - golden[logits]).max() <= tolerance * golden[logits].std()
        assert_taps(features, golden, tap, of_taps)

    back = to_state_dict(model, source)
    assert back.keys() == state_dict.keys()
    for name, tensor in state_dict.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "mmpretrain"])
def test_a_round_trip_is_exact_and_the_source_is_told(source):
    model, other = small(), small()
    state_dict = to_state_dict(model, source)
    assert load_state_dict(other, state_dict) == source
    assert_same_values(model, other)


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


#: As PyTorch, Lightning, timm, and people's own modules wrap a network.
WRAPPERS = [
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.",
    "net.",
    "network.",
    "encoder.",
    "student.",
    "ema_model.module.",
    "backbone.",
    "model.backbone.",
    "pl_module.model._orig_mod.net.",
]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(one, marks=() if one in ("timm", "pycls") else pytest.mark.slow)
        for one in SOURCES
    ],
)
def test_wrappers_of_names_are_seen_through(source):
    config = SMALL.replace(se_ratio=0) if source == "mmpretrain" else SMALL
    model, other = small(config), small(config)
    fresh = other.get_weights()
    for prefix in WRAPPERS:
        state_dict = {prefix + name: value for name, value in to_state_dict(model, source).items()}
        other.set_weights(fresh)
        assert load_state_dict(other, state_dict) == source, prefix
        assert_same_values(model, other)
        assert count_classes(state_dict) == 5


def test_parts_that_torch_compiles():
    """As `model.s1 = torch.compile(model.s1)` names them, and FSDP."""
    model, other = small(), small()
    state_dict = {
        name.replace("s1.", "s1._orig_mod.").replace("b1.", "b1._fsdp_wrapped_module."): value
        for name, value in to_state_dict(model).items()
    }
    assert any("s1._orig_mod.b1._fsdp" in name for name in state_dict)
    assert load_state_dict(other, state_dict) == "timm"
    assert_same_values(model, other)


def test_what_a_wrapper_holds_besides_the_network():
    """As AveragedModel and Lightning do: counters, losses, metrics, and copies of the network."""
    model, other = small(), small()
    state_dict = to_state_dict(model)
    wrapped = {"n_averaged": np.ones(()), "loss.weight": np.ones(5), "fc.weight": np.ones((3, 4))}
    wrapped |= {f"student.{name}": value for name, value in state_dict.items()}
    wrapped |= {f"teacher.{name}": 0 * value for name, value in state_dict.items()}
    assert load_state_dict(other, wrapped) == "timm"
    assert_same_values(model, other)


@pytest.mark.parametrize("head", ["head.fc.", "model.head.fc."])
def test_a_head_outside_the_wrapper(head):
    model, other = small(), small()
    state_dict = {
        name.replace("head.fc.", head) if "head" in name else f"model.backbone.{name}": value
        for name, value in to_state_dict(model).items()
    }
    assert load_state_dict(other, state_dict) == "timm"
    assert_same_values(model, other)


def test_a_wrapper_does_not_hide_what_is_left_over():
    state_dict = {f"module.{name}": value for name, value in to_state_dict(small()).items()}
    state_dict["module.s9.b1.conv1.conv.weight"] = np.zeros((8, 8, 1, 1), "float32")
    with pytest.raises(ValueError, match=r"1 left over: module\.s9\.b1\.conv1\.conv\.weight"):
        load_state_dict(small(), state_dict)


@pytest.mark.torch
def test_names_of_torchs_own_wrappers():
    torch = pytest.importorskip("torch", reason="wraps modules")

    class Network(torch.nn.Module):
        def __init__(self, state_dict):
            super().__init__()
            for name, value in state_dict.items():
                self.put(name.split("."), torch.tensor(value))

        def put(self, path, value):
            module = self
            for part in path[:-1]:
                if not hasattr(module, part):
                    module.add_module(part, torch.nn.Module())
                module = getattr(module, part)
            module.register_buffer(path[-1], value)

    model = small()
    network = Network(to_state_dict(model))
    for wrapped in (
        torch.compile(network),
        torch.nn.DataParallel(network),
        torch.nn.DataParallel(torch.compile(network)),
        torch.optim.swa_utils.AveragedModel(network),
    ):
        other = small()
        state_dict = {name: value.numpy() for name, value in wrapped.state_dict().items()}
        assert "stem.conv.weight" not in state_dict
        assert load_state_dict(other, state_dict) == "timm"
        assert_same_values(model, other)


# Channels.


@pytest.mark.parametrize(
    "channels", [1, 4, *(pytest.param(one, marks=pytest.mark.slow) for one in (2, 5, 6))]
)
def test_channels_equal_timm(channels):
    golden = np.load(GOLDEN / "timm_regnetx_002_channels.npz")
    keys = json.loads((GOLDEN / "timm_regnetx_002.keys.json").read_text())["keys"]
    state_dict = {name: golden_weights.fill(name, shape) for name, shape in keys}
    shape = (None, None, channels)
    model = build_regnet("regnetx_002", input_shape=shape, classifier_activation=None)
    load_state_dict(model, state_dict)
    kernel = np.asarray(model.get_layer("stem").conv.kernel)
    expected = golden[f"kernel_{channels}"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(kernel[..., :4], expected, rtol=1e-6, atol=1e-7)
    logits = outputs_of(model, golden[f"images_{channels}"])
    expected = golden[f"logits_{channels}"]
    assert np.abs(logits[:, :16] - expected).max() <= 2e-5 * expected.std()


@pytest.mark.parametrize("channels", [3, 4])
def test_a_gray_network_takes_color(channels):
    """A gray image, repeated in all channels, gets the gray network's answer."""
    gray, color = (small(input_shape=(None, None, number)) for number in (1, channels))
    load_state_dict(color, to_state_dict(gray))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype("float32")
    expected = outputs_of(gray, images)
    found = outputs_of(color, np.repeat(images, channels, axis=3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("source", ["timm", "pycls"])
def test_channels_of_the_file(source):
    """As many as the network has: unchanged. Other numbers than one and three cannot be adapted."""
    five, other = (small(input_shape=(None, None, 5)) for _ in range(2))
    state_dict = to_state_dict(five, source)
    assert load_state_dict(other, state_dict) == source
    assert_same_values(five, other)
    for channels in (1, 3, 4):
        with pytest.raises(ValueError, match=r"1 misshapen: stem.conv.weight \(8, 5, 3, 3\)"):
            load_state_dict(small(input_shape=(None, None, channels)), state_dict)


def test_blue_green_red_is_turned_before_it_is_adapted():
    model, four = small(), small(input_shape=(None, None, 4))
    load_state_dict(four, to_state_dict(model, "pycls"))
    rgb = np.asarray(model.get_layer("stem").conv.kernel)
    expected = rgb[:, :, [0, 1, 2, 0]] * 0.75
    np.testing.assert_allclose(four.get_layer("stem").conv.kernel, expected, rtol=1e-6)


# Checkpoints as each project's own training writes them.


def timm_checkpoint(state):
    return {
        "epoch": 3,
        "arch": "regnetx_002",
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "version": 2,
        "args": argparse.Namespace(model="regnetx_002", mean=(0.5, 0.5, 0.5)),
        "state_dict_ema": {name: tensor * 0 for name, tensor in state.items()},
        "metric": 70.5,
    }


def torchvision_checkpoint(state):
    return {
        "model": state,
        "optimizer": {"state": {}, "param_groups": []},
        "lr_scheduler": {"last_epoch": 3},
        "epoch": 3,
        "args": argparse.Namespace(model="regnet_x_400mf", data_path=None),
    }


def pycls_checkpoint(state):
    return {
        "epoch": 99,
        "test_err": 31.1,
        "model_state": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer_state": {"state": {}, "param_groups": []},
        "cfg": "MODEL: {}",
    }


def mmpretrain_checkpoint(state):
    return {
        "meta": {"epoch": 100, "dataset_meta": {"classes": ("tench", "goldfish")}},
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": []},
    }


def classy_checkpoint(trunk, heads):
    model = {"model": {"trunk": trunk, "heads": heads}, "meta": {"trunk": {}, "heads": []}}
    return {
        "phase_idx": 99,
        "classy_state_dict": {"base_model": model, "optimizer": {}, "hooks": {}},
        "type": "consolidated",
    }


def split_head(state, head):
    """The tensors of the trunk, and those of the classifier."""
    heads = {name: tensor for name, tensor in state.items() if name.startswith(head)}
    return {name: tensor for name, tensor in state.items() if name not in heads}, heads


def classyvision_checkpoint(state):
    trunk, head = split_head(state, "fc.")
    return classy_checkpoint(trunk, {"trunk_output": {"default_head": head}})


def swag_checkpoint(state):
    trunk, head = split_head(state, "fc.")
    return {**trunk, **{f"head.{name}": tensor for name, tensor in head.items()}}


def vissl_checkpoint(state):
    return classy_checkpoint(*split_head(state, "0.clf."))


def vissl_checkpoint_in_parts(state):
    """Its `regnet_fsdp` groups the blocks of a stage: so are those of SEER's largest network."""
    return vissl_checkpoint(
        {re.sub(r"\.(block\d)-", r".\1-part0.\1-", name): value for name, value in state.items()}
    )


@pytest.mark.torch
@pytest.mark.parametrize(
    ("source", "file", "nest"),
    [
        ("timm", "model_best.pth.tar", timm_checkpoint),
        ("torchvision", "model_3.pth", torchvision_checkpoint),
        ("pycls", "model_epoch_0100.pyth", pycls_checkpoint),
        ("mmpretrain", "epoch_100.pth", mmpretrain_checkpoint),
        ("huggingface", "pytorch_model.bin", dict),
        ("classyvision", "checkpoint.torch", classyvision_checkpoint),
        ("classyvision", "regnety_16gf.torch", swag_checkpoint),
        ("vissl", "model_final_checkpoint_phase78.torch", vissl_checkpoint),
        ("vissl", "model_phase28_conso.torch", vissl_checkpoint_in_parts),
    ],
)
def test_checkpoints_of_training(tmp_path, source, file, nest):
    torch = pytest.importorskip("torch", reason="reads files of PyTorch")
    config = SMALL.replace(se_ratio=0) if source == "mmpretrain" else SMALL
    model, other = small(config), small(config)
    state_dict = to_state_dict(model, source)
    tensors = {name: torch.tensor(value) for name, value in state_dict.items()}
    torch.save(nest(tensors), tmp_path / file)
    found = read_state_dict(tmp_path / file)
    assert count_classes(found) == 5
    assert load_state_dict(other, found) == source
    assert_same_values(model, other)


@pytest.mark.torch
@pytest.mark.parametrize("heads", ["none", "pretraining", "shards"])
def test_trunks_of_seer(tmp_path, heads):
    """As SEER is published: the heads of its pretraining are no classifier."""
    torch = pytest.importorskip("torch", reason="reads files of PyTorch")
    model = small(include_top=False)
    trunk = {name: torch.tensor(value) for name, value in to_state_dict(model, "vissl").items()}
    head = {
        "0.projection_head.0.weight": torch.ones(16, 16),
        "0.projection_head.1.running_mean": torch.ones(16),
        "0.prototypes0.weight": torch.ones(30, 16),
    }
    heads = {"none": {}, "pretraining": head, "shards": [head]}[heads]
    torch.save(classy_checkpoint(trunk, heads), tmp_path / "seer.torch")
    state_dict = read_state_dict(tmp_path / "seer.torch")
    assert count_classes(state_dict) == 0

    other = small(include_top=False)
    assert load_state_dict(other, state_dict) == "vissl"
    assert_same_values(model, other)

    classifier = small()
    kernel = np.array(classifier.get_layer("head").kernel)
    with pytest.raises(ValueError, match=r"2 missing: 0\.clf\.0\.weight(.|\n)*skip_head"):
        load_state_dict(classifier, state_dict)
    load_state_dict(classifier, state_dict, skip_head=True)
    np.testing.assert_array_equal(classifier.get_layer("head").kernel, kernel)
    stem = np.array(classifier.get_layer("stem").conv.kernel)
    np.testing.assert_array_equal(stem, model.get_layer("stem").conv.kernel)


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


def test_only_floats_are_weights():
    model = small()
    before, state_dict = values(model), to_state_dict(model)
    for wrong in (
        np.ones(8, "complex64"),
        np.ones(8, bool),
        np.ones(8, "int8"),
        np.array(["1.5"] * 8),
        np.array([b"1.5"] * 8),
        np.array([1.5] * 8, object),
        np.zeros(8, [("a", "f4")]),
        np.zeros(8, "datetime64[s]"),
    ):
        message = "`stem.bn.running_var` must hold floating-point numbers. Received: "
        with pytest.raises(ValueError, match=message):
            load_state_dict(model, {**state_dict, "stem.bn.running_var": wrong})
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_floats_of_any_precision():
    model = small()
    state_dict = to_state_dict(model)
    for dtype in ("float16", "float64", "longdouble", ml_dtypes.bfloat16):
        load_state_dict(model, {name: array.astype(dtype) for name, array in state_dict.items()})
        for name, array in to_state_dict(model).items():
            np.testing.assert_allclose(array, state_dict[name], atol=0.02, rtol=0.01)


def test_odd_values_are_told(caplog):
    model = small()
    state_dict = to_state_dict(model)
    for name, odd, line in (
        ("stem.bn.running_var", [-1, 0, 1], "3 of 8 values of stem.bn.running_var are negative"),
        ("stem.bn.running_mean", [-1, 0, 1], None),
        ("stem.bn.weight", [1, np.nan], "4 of 8 values of stem.bn.weight are NaN or infinite"),
        ("stem.bn.bias", [1e300], "8 of 8 values of stem.bn.bias are NaN or infinite"),
    ):
        caplog.clear()
        load_state_dict(model, {**state_dict, name: np.resize(np.array(odd, float), 8)})
        assert caplog.messages == ([f"{model.name} has odd weights: {line}."] if line else [])


def test_names_of_tensors_are_texts():
    with pytest.raises(ValueError, match=r"`state_dict` must be named by texts\. .*\[3\]"):
        load_state_dict(small(), {3: np.ones(8)})


def test_another_architecture_changes_nothing():
    """X into Y: left-over and missing tensors at once."""
    model, plain = small(), small(SMALL.replace(se_ratio=0))
    before = values(model)
    for source in SOURCES:
        with pytest.raises(ValueError, match=rf"of {source} does not fit .*; nothing was changed"):
            load_state_dict(model, to_state_dict(plain, source))
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_number_of_classes():
    state_dict = to_state_dict(small(classes=7))
    model = small()
    head = np.array(model.get_layer("head").kernel)
    with pytest.raises(ValueError, match="skip_head"):
        load_state_dict(model, state_dict)
    load_state_dict(model, state_dict, skip_head=True)
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
