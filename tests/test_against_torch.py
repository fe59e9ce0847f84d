"""The same weights in PyTorch's networks and here: one answer, and the way back is exact."""

import importlib.util

import golden_weights
import numpy as np
import pytest

from regnet_tf import RegNetConfig, StageConfig, build_regnet
from regnet_tf._torch import import_timm
from regnet_tf.porting import load_state_dict, to_state_dict

TIMM = [
    *(f"regnetx_{size}" for size in ("002", "004", "004_tv", "006", "008", "016", "032", "040")),
    *(f"regnety_{size}" for size in ("002", "004", "006", "008", "008_tv", "016", "032", "040")),
    "regnety_040_sgn",
]
TORCHVISION = [
    f"regnet_{letter}_{size}" for letter in "xy" for size in ("400mf", "800mf", "1_6gf", "3_2gf")
]
INPUTS = {
    "square": golden_weights.input_batch(),
    "odd": golden_weights.input_odd(),  # every layer of stride 2 meets an odd size somewhere
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def timm(torch):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    return import_timm()[1]


@pytest.fixture(scope="module")
def torchvision(timm):
    """Comes with timm, beside which it can be imported on any machine."""
    return pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def transformers(torchvision):
    """Imports torchvision where there is one."""
    return pytest.importorskip("transformers")


def assert_same(torch, make, ours, source, tolerance=2e-5):
    """Logits agree, relative to their standard deviation; those of the weights' return are equal.

    Args:
        make: builds PyTorch's network, without values that matter.
        ours: the same network here, with logits for outputs.
    """
    theirs = filled(torch, make())
    expected = {name: answer(torch, theirs, images) for name, images in INPUTS.items()}
    state_dict = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    assert load_state_dict(ours, state_dict) == source
    for name, images in INPUTS.items():
        error = np.abs(np.asarray(ours(images, training=False)) - expected[name]).max()
        assert error <= tolerance * expected[name].std(), name

    again = make()
    back = {name: torch.tensor(array) for name, array in to_state_dict(ours, source).items()}
    again.load_state_dict(back, strict=True)
    for name, images in INPUTS.items():
        np.testing.assert_array_equal(answer(torch, again, images), expected[name], err_msg=name)


def filled(torch, network):
    """The network with weights and running statistics of the kind that trained ones have.

    Initial ones would hide half of it: normalization does nothing, and blocks add zeros.
    """
    network.load_state_dict(
        {
            name: torch.tensor(golden_weights.fill(name, tensor.shape))
            for name, tensor in network.state_dict().items()
        }
    )
    return network


def answer(torch, network, images):
    with torch.inference_mode():
        logits = network.eval()(torch.tensor(np.moveaxis(images, -1, 1).copy()))
    return getattr(logits, "logits", logits).numpy()


@pytest.mark.parametrize("name", TIMM)
def test_timm(torch, timm, name):
    ours = build_regnet(name, classifier_activation=None)
    tolerance = 5e-5 if name.endswith("sgn") else 2e-5
    assert_same(torch, lambda: timm.create_model(name), ours, "timm", tolerance)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(torch, torchvision, name):
    ours = build_regnet(name, classifier_activation=None)
    assert_same(torch, getattr(torchvision.models, name), ours, "torchvision")


@pytest.mark.parametrize("layer_type", ["x", "y"])
def test_transformers(torch, transformers, layer_type):
    config = transformers.RegNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 48, 96],
        depths=[1, 2, 3, 1],
        groups_width=8,
        layer_type=layer_type,
        num_labels=11,
    )
    stages = zip(config.hidden_sizes, config.depths, strict=True)
    ours = build_regnet(
        RegNetConfig(
            explicit_stages=tuple(StageConfig(width, depth, 8) for width, depth in stages),
            se_ratio=0.25 if layer_type == "y" else 0,
            stem_width=16,
        ),
        classes=11,
        classifier_activation=None,
    )
    assert_same(
        torch, lambda: transformers.RegNetForImageClassification(config), ours, "huggingface"
    )
