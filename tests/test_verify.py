"""What `regnet verify` finds in an export that is not as it was written."""

import hashlib
import json
import shutil

import keras
import pytest
import tensorflow as tf

from export import tflite, verify
from export.network import Network
from export.saved_model import write_saved_model

DAMAGED = (
    "serving/digits/1/saved_model.pb",
    "tflite/digits_int8.tflite",
    "checks.npz",
    "report.json",
)


@pytest.fixture
def copy(exported, tmp_path):
    """An export to damage."""
    return shutil.copytree(exported.folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def other(exported):
    """The exported network with its classes in another order."""
    model = keras.models.clone_model(exported.source.model)
    model.set_weights(exported.source.model.get_weights())
    kernel = model.get_layer("head").kernel
    kernel.assign(tf.reverse(tf.convert_to_tensor(kernel), [-1]))
    return Network(model)


def rewrite_manifest(folder, name):
    """As somebody does who wants a changed file to pass."""
    content = (folder / name).read_bytes()
    entries = json.loads((folder / "manifest.json").read_text())
    assert name in entries
    entries[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(entries))


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def delete(file):
    file.unlink()


def test_a_whole_export(exported, capsys):
    assert verify.main([str(exported.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("SavedModel", *tflite.PRECISIONS):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    assert lines[-1] == f"{exported.folder}: all is well"


def test_every_file_is_in_the_manifest(exported):
    entries = json.loads((exported.folder / "manifest.json").read_text())
    files = {
        str(file.relative_to(exported.folder))
        for file in exported.folder.rglob("*")
        if file.is_file() and file.parent.name != "serving"  # configuration is there to be changed
    }
    assert set(entries) == files - {"manifest.json"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [(flip, "was changed"), (truncate, "instead of"), (delete, "is missing")],
)
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(copy, name, damage, words, capsys):
    damage(copy / name)
    assert verify.main([str(copy)]) == 1
    lines = capsys.readouterr().out.splitlines()
    (fault,) = [line for line in lines if line.startswith("FAULT")]
    assert name in fault and words in fault
    assert lines[-1] == f"{copy}: 1 faults"


def test_another_tflite_file(copy, exported, other, capsys):
    name = "tflite/digits_float32.tflite"
    tflite.write_tflite(copy / name, other, exported.source, "float32", 1, "uint8", "1")
    rewrite_manifest(copy, name)
    assert verify.main([str(copy)]) == 1
    faults = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAULT")]
    assert len(faults) == 4 and all(name in fault for fault in faults)
    assert "differs from the Keras model by" in faults[0] and "changes" in faults[1]
    assert "differs by" in faults[2] and "report.json requires" in faults[3]


def test_another_saved_model(copy, exported, other, capsys):
    name = "serving/digits/1"
    extra = (copy / name / "assets.extra").rename(copy / "extra")
    shutil.rmtree(copy / name)
    write_saved_model(copy / name, other, exported.source.preprocessing, exported.source.labels)
    shutil.copytree(extra, copy / name / "assets.extra", dirs_exist_ok=True)
    for file in (copy / name).rglob("*"):
        if file.is_file():
            rewrite_manifest(copy, str(file.relative_to(copy)))
    assert verify.main([str(copy)]) == 1
    faults = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAULT")]
    assert faults and all(name in fault for fault in faults)


def test_no_export(copy, tmp_path, capsys):
    (copy / "manifest.json").write_text("{")
    for folder, message in (
        (tmp_path / "nothing", "holds no export"),
        (tmp_path, "holds no export"),
        (copy, "is damaged"),
    ):
        assert verify.main([str(folder)]) == 2
        printed = capsys.readouterr().err
        assert printed.startswith("regnet verify: error: ")
        assert printed.count("\n") == 1 and message in printed
