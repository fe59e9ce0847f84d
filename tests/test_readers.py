"""Weight files: every format and nesting, and damaged ones."""

import numpy as np
import pytest

from regnet_tf import read_state_dict, write_state_dict

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


def test_pickled_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="reads files of PyTorch")
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": pytest.raises}, path)
    with pytest.raises(ValueError, match="damaged or holds no weights"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_damaged_files(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch", reason="reads files of PyTorch")
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=f"weights{suffix} is damaged"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    write_state_dict(path, {"a": np.random.default_rng(0).random(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="is damaged"):
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
