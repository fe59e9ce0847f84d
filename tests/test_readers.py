"""Weight files: every format and nesting, and damaged ones."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from regnet_tf import (
    MissingPackageError,
    RegNetConfig,
    StageConfig,
    build_regnet,
    read_state_dict,
    write_state_dict,
)

STATE = {"stem.weight": np.arange(6, dtype="float32").reshape(2, 3), "count": np.array(3)}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    write_state_dict(path, STATE)
    assert_equal(read_state_dict(path), STATE)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # nothing left beside it


def test_a_folder_as_the_hub_keeps_them(tmp_path):
    write_state_dict(tmp_path / "model.safetensors", STATE)
    (tmp_path / "config.json").write_text("{}")
    assert_equal(read_state_dict(tmp_path), STATE)


def test_half_precision_becomes_float32(tmp_path):
    path = tmp_path / "half.npz"
    np.savez(path, a=np.ones(2, "float16"))
    assert read_state_dict(path)["a"].dtype == np.float32


@pytest.mark.torch
@pytest.mark.parametrize(
    "nest",
    [
        lambda state: state,
        lambda state: {"model_state": state, "epoch": 3},
        lambda state: {"state_dict": state, "meta": {"epoch": 3}},
        lambda state: {"model": state},
        lambda state: {"classy_state_dict": {"base_model": {"model": {"trunk": state}}}},
    ],
    ids=["bare", "pycls", "mmpretrain", "torchvision", "vissl"],
)
@pytest.mark.parametrize("suffix", [".pth", ".pyth", ".torch"])
def test_files_of_pytorch(tmp_path, nest, suffix):
    torch = pytest.importorskip("torch", reason="reads files of PyTorch")
    state = {name: torch.tensor(value) for name, value in STATE.items()}
    path = tmp_path / f"weights{suffix}"
    torch.save(nest(state), path)
    assert_equal(read_state_dict(path), STATE)


@pytest.mark.torch
def test_tensors_of_pytorch_become_float32(tmp_path):
    torch = pytest.importorskip("torch", reason="reads files of PyTorch")
    path = tmp_path / "weights.pt"
    tensors = {
        "half": torch.ones(2, dtype=torch.bfloat16),
        "trained": torch.nn.Parameter(torch.ones(2)),
        "count": torch.tensor(3),
        "epoch": 7,
    }
    torch.save(tensors, path)
    found = read_state_dict(path)
    assert {name: array.dtype for name, array in found.items()} == {
        "half": np.float32,
        "trained": np.float32,
        "count": np.int64,
    }


@pytest.mark.torch
def test_pickled_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="reads files of PyTorch")
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": torch.ones(2)}, "half": Fraction(1, 2)}, path)
    with pytest.raises(ValueError, match=r"evil\.pth is not read: .* fractions\.Fraction, which"):
        read_state_dict(path)


DAMAGES = {
    "empty": lambda content: b"",
    "text": lambda content: b"not weights at all",
    "truncated": lambda content: content[: len(content) // 2],
    "overwritten": lambda content: bytes(200) + content[200:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "suffix", [".npz", ".safetensors", pytest.param(".pth", marks=pytest.mark.torch)]
)
def test_damaged_files(tmp_path, suffix, damage):
    path = tmp_path / f"weights{suffix}"
    state_dict = {"a": np.random.default_rng(0).random(1000)}
    if suffix == ".pth":
        torch = pytest.importorskip("torch", reason="reads files of PyTorch")
        torch.save({name: torch.tensor(value) for name, value in state_dict.items()}, path)
    else:
        write_state_dict(path, state_dict)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=f"weights{suffix} is damaged"):
        read_state_dict(path)


def test_damaged_compressed_files(tmp_path):
    """zlib has errors of its own."""
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).integers(0, 9, 10_000))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npz is damaged"):
        read_state_dict(path)


def test_an_array_is_no_state_dict(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    path = (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(ValueError, match=r"array\.npz is damaged or holds no weights"):
        read_state_dict(path)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_damaged_files_of_keras(tmp_path, suffix, damage):
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 4),), stem_width=8)
    model = build_regnet(config, classes=5)
    path = tmp_path / f"weights{suffix}"
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=f"weights{suffix} is damaged"):
        build_regnet(config, classes=5, weights=path)


def test_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"")
    message = r"weights\.pth is a file of PyTorch: pip install"
    with pytest.raises(MissingPackageError, match=message):
        read_state_dict(path)


def test_missing_and_unknown(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.npz"):
        read_state_dict(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors"):
        read_state_dict(tmp_path)
    (tmp_path / "weights.txt").write_text("")
    with pytest.raises(ValueError, match=r"must end in one of \.safetensors"):
        read_state_dict(tmp_path / "weights.txt")
    (tmp_path / "regnetx002.h5").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file of tf_keras"):
        read_state_dict(tmp_path / "regnetx002.h5")
    with pytest.raises(ValueError, match=r"must end in \.safetensors or \.npz"):
        write_state_dict(tmp_path / "weights.pth", STATE)
