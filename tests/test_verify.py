"""What `regnet verify` finds in an export that is not as it was written."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import manifest, verify
from export.checks import Checks
from export.formats import PRECISIONS, tflite
from export.formats.saved_model import write_saved_model
from export.network import Network
from regnet_tf._errors import UserError

DAMAGED = (
    "serving/digits/1/saved_model.pb",
    "tflite/digits_int8.tflite",
    "checks.npz",
    "report.json",
)


#: Entry of an exported file in a report, without its figures.
WELL = '"path": "a", "precision": "int8"'


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
    entries = manifest.read_manifest(folder)
    assert name in entries
    manifest.write_manifest(folder, [name], entries)


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
    for name in ("SavedModel", *(f"TFLite {precision}" for precision in PRECISIONS)):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    assert lines[-1] == f"{exported.folder}: all is well"


def test_every_file_is_in_the_manifest(exported):
    entries = manifest.read_manifest(exported.folder)
    files = {
        str(file.relative_to(exported.folder))
        for file in exported.folder.rglob("*")
        if file.is_file() and file.parent.name != "serving"  # configuration is there to be changed
    }
    assert set(entries) == files - {"manifest.json"}


def test_a_version_that_the_user_removed(exported, tmp_path, capsys):
    """The second version is a copy of the first one, as if it had been exported again."""
    folder = shutil.copytree(exported.folder, tmp_path / "copy")
    (folder / "serving/digits/1").rename(folder / "serving/digits/2")
    report = json.loads((folder / "report.json").read_text())
    report["artefacts"]["SavedModel"]["path"] = "serving/digits/2"
    (folder / "report.json").write_text(json.dumps(report))
    manifest.write_manifest(
        folder, ["serving/digits/2", "report.json"], manifest.read_manifest(folder)
    )
    assert verify.main([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "serving/digits/1 was removed; a newer version is there\n" in printed
    assert "all is well" in printed and "FAULT" not in printed


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


def test_files_that_are_not_listed(copy, capsys):
    """By the manifest or by the report, though the manifest itself is whole."""
    entries = manifest.read_manifest(copy)
    report = json.loads((copy / "report.json").read_text())
    for name in ("checks.npz", "report.json"):
        others = {path: one for path, one in entries.items() if path != name}
        manifest.write_manifest(copy, [], others)
        assert verify.main([str(copy)]) == 1
        assert f"FAULT  {name} is not in manifest.json" in capsys.readouterr().out
    manifest.write_manifest(copy, [], entries)
    del report["artefacts"]["TFLite int8"]
    (copy / "report.json").write_text(json.dumps(report))
    rewrite_manifest(copy, "report.json")
    assert verify.main([str(copy)]) == 1
    assert "FAULT  tflite/digits_int8.tflite is not in report.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"artefacts": [1]}', '"artefacts" is no object'),
        ('{"artefacts": {"int8": {"path": "a", "precision": "float99"}}}', "no known precision"),
        (f'{{"artefacts": {{"int8": {{{WELL}, "output": "image"}}}}}}', "no known prec"),
        ('{"artefacts": {"int8": {}}}', "int8 has no path in its folder"),
        ('{"artefacts": {"int8": {"path": "../../etc/passwd"}}}', "no path in its folder"),
        ('{"artefacts": {"int8": {"path": "/etc/passwd"}}}', "no path in its folder"),
        (f'{{"artefacts": {{"int8": {{{WELL}, "max_difference": "0"}}}}}}', "`max_difference`"),
        (f'{{"artefacts": {{"int8": {{{WELL}, "photographs": NaN}}}}}}', "`photographs` must be"),
    ],
)
def test_a_damaged_report(copy, content, message, capsys):
    (copy / "report.json").write_text(content)
    rewrite_manifest(copy, "report.json")
    assert verify.main([str(copy)]) == 2
    printed = capsys.readouterr().err
    assert f"{copy / 'report.json'} is damaged" in printed and message in printed
    assert printed.count("\n") == 1


CHANGES = {
    "lacks origin": {"origin": None},
    "expected is float32 of shape (3,)": {"expected": np.zeros(3, "float32")},
    "images is float32": {"images": np.zeros((3, 32, 32, 3), "float32")},
    "do not fit": {"photograph_sizes": np.array([1 << 40])},
    "its arrays do not": {"expected": np.full((3, 10), np.nan, "float32")},
    "arrays do not fit": {"features": np.zeros((2, 5), "float32")},
    "not fit each other": {"labels": np.zeros((3, 4), "int64")},
}


@pytest.mark.parametrize("message", CHANGES)
def test_damaged_checks(exported, tmp_path, message):
    with np.load(exported.folder / "checks.npz") as file:
        arrays = {**file, **CHANGES[message]}
    np.savez(tmp_path / "a.npz", **{name: one for name, one in arrays.items() if one is not None})
    with pytest.raises(UserError, match=r"a\.npz is damaged: ") as caught:
        Checks.read(tmp_path / "a.npz")
    assert message in str(caught.value)


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
