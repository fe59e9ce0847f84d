"""Weight files: every format and nesting, and damaged ones."""

import io
import struct
import sys
import zipfile
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


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="reads files of PyTorch")


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
    with pytest.raises(ValueError, match=r"evil\.pth was not read: .* fractions\.Fraction, that"):
        read_state_dict(path)


def nested_in_itself():
    model = {}
    model["model"] = model
    return model


def with_heads_in_themselves():
    heads = {}
    heads["head"] = heads
    return {"trunk": {}, "heads": heads}


def levels(count):
    model = {}
    for _ in range(count):
        model = {"state_dict": model}
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda torch: nested_in_itself(), "nested too deeply, or in themselves"),
        (lambda torch: with_heads_in_themselves(), "nested too deeply, or in themselves"),
        (lambda torch: levels(300), "nested too deeply, or in themselves"),
        (lambda torch: {"a": torch.ones(3, 3).to_sparse()}, "tensor a is sparse, not dense"),
        (lambda torch: {"a": torch.ones(3, 3).to_sparse_csr()}, "tensor a is sparse, not dense"),
        (lambda torch: {"a": torch.ones(3, device="meta")}, "tensor a is without values"),
        (
            lambda torch: {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
            "tensor a is quantized",
        ),
        (lambda torch: {"a": torch.nested.nested_tensor([torch.ones(3)])}, "tensor a is nested"),
        (lambda torch: {3: torch.ones(3)}, "must be texts. Received: 3"),
        (lambda torch: {"a": torch.ones(3, dtype=torch.complex32)}, "of type torch.complex32"),
        (lambda torch: {"a": torch.ones(1).expand(10**6, 10**6)}, "claims 4,000,000,000,000 bytes"),
        (lambda torch: {"a": torch.nn.Linear(2, 2)}, "contains a Python object"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds(tmp_path, torch, make, message):
    path = tmp_path / "weights.pth"
    torch.save(make(torch), path)
    with pytest.raises(
        ValueError, match=f"^[^\n]*weights.pth was not read: [^\n]*{message}[^\n]*$"
    ):
        read_state_dict(path)


def test_views_keep_their_numbers(tmp_path, torch):
    path = tmp_path / "weights.pth"
    numbers = torch.arange(6.0).reshape(2, 3)
    views = {
        "transposed": numbers.T,
        "negative": torch.complex(numbers, numbers).conj().imag,
        "expanded": torch.ones(1).expand(2, 3),
        "short": numbers.to(torch.float8_e4m3fn),
    }
    assert views["negative"].is_neg() and not views["transposed"].is_contiguous()
    torch.save(views, path)
    assert_equal(
        read_state_dict(path),
        {name: one.float().resolve_neg().numpy() for name, one in views.items()},
    )


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x02junk", b"PK\x03\x04junk", b"<html>"])
def test_no_advice_to_run_code(tmp_path, torch, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]*weights\.pth is damaged[^\n]*$") as error:
        read_state_dict(path)
    assert "weights_only" not in str(error.value)


def test_checksums_of_pytorch(tmp_path, torch):
    """Every flipped bit is seen, or changes no number."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(500.0)}, path)
    content, expected = path.read_bytes(), read_state_dict(path)
    places = np.random.default_rng(0).integers(len(content), size=200)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 8
        path.write_bytes(damaged)
        try:
            found = read_state_dict(path)
        except ValueError as error:
            assert "weights.pth is damaged" in str(error)
        else:
            assert_equal(found, expected)


def test_files_of_pytorch_without_checksums(tmp_path, torch):
    path = tmp_path / "weights.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_equal(read_state_dict(path), {"a": np.ones(3, "float32")})


def npy_of(shape):
    """A file of numpy whose header claims a shape; it has 8 bytes."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(8)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (npy_of((10**12,)), "its entry a.npy claims 4,000,000,000,000 bytes"),
        (npy_of((10**400, 1)), "its entry a.npy claims"),
        (npy_of((1,)), "its entry a.npy claims 4 bytes"),
        (npy_of((2,)) + bytes(2**27), "its content claims 134,217,"),
    ],
)
def test_arrays_that_claim_memory(tmp_path, entry, message):
    path = tmp_path / "weights.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", entry)
    with pytest.raises(ValueError, match=rf"weights\.npz is damaged .*{message}"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}', ""),
        (b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}', "type that numpy lacks"),
        (b'{"a":' + b"[" * 200_000, ""),
    ],
)
def test_headers_of_safetensors(tmp_path, header, message):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=rf"^[^\n]*weights\.safetensors is damaged.*{message}"):
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
