"""Formats of an export: which are written, which stay, and what happens if one fails."""

import json
import shutil

import keras
import numpy as np
import pytest

from export import exporting, manifest, verify
from export.command import main
from export.formats import FORMATS, Settings, openvino, tflite
from export.source import load_source
from regnet_tf._errors import MissingPackageError, UserError
from regnet_tf._opening import open_predictor
from regnet_tf.command.predict import main as predict
from regnet_tf.runtimes import open_file

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tensorflow_serving")
pytest.importorskip("openvino")
pytest.importorskip("tf2onnx")

FLOAT32 = ("SavedModel", "TFLite float32", "ONNX float32", "OpenVINO float32")


@pytest.fixture
def copy(every_format, tmp_path):
    return shutil.copytree(every_format, tmp_path / "copy")


@pytest.fixture(scope="module")
def source(digits_run):
    return load_source(digits_run)


def export(source, out, *formats, **options):
    said = []
    facts = exporting.export(source, out, formats or None, say=said.append, **options)
    return facts, said


def artefacts(folder):
    return json.loads((folder / "report.json").read_text())["artefacts"]


# Everything.


def test_every_format_is_near_the_keras_model(every_format, source):
    """By the Keras model itself, not by the report."""
    images = source.examples.test[:40]
    normalized = source.preprocessing.normalize(images)
    expected = keras.ops.convert_to_numpy(source.model(normalized))
    features = keras.Model(source.model.inputs, source.model.layers[-1].input)
    found = artefacts(every_format)
    assert {*FLOAT32, "ONNX int8", "TFLite features"} <= found.keys()
    for name, one in found.items():
        outputs = open_file(every_format / one["path"])(images)
        if one["output"] == "features":
            wanted = keras.ops.convert_to_numpy(features(normalized))
            np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-4)
        elif one["precision"] == "float32":
            np.testing.assert_allclose(outputs, expected, atol=2e-5, err_msg=name)
        else:
            agreement = (outputs.argmax(-1) == expected.argmax(-1)).mean()
            assert agreement >= 0.9, name


def test_all_is_well(every_format, capsys):
    assert verify.main([str(every_format)]) == 0
    printed = capsys.readouterr().out
    for name in artefacts(every_format):
        assert f"{name} " in printed
    assert "all is well" in printed


@pytest.mark.parametrize("name", FLOAT32)
def test_each_file_knows_its_classes_and_preprocessing(every_format, source, name):
    predictor = open_predictor(every_format / artefacts(every_format)[name]["path"])
    assert predictor.class_names == tuple(source.class_names)
    levels = (0.0,) * 3, (1 / 255,) * 3
    assert predictor.preprocessing.image_size == source.preprocessing.image_size
    assert (predictor.preprocessing.mean, predictor.preprocessing.std) == levels


def test_predictions_of_each_file(every_format, source, tmp_path, capsys):
    keras.utils.save_img(str(tmp_path / "digit.png"), source.examples.test[0], scale=False)
    printed = []
    for name in FLOAT32:
        assert (
            predict([str(every_format / artefacts(every_format)[name]["path"]), str(tmp_path)]) == 0
        )
        printed.append(capsys.readouterr().out)
    assert len(set(printed)) == 1, printed


# Some formats.


def test_other_formats_of_the_same_network_stay(copy, source):
    before = artefacts(copy)
    facts, _ = export(source, copy, "onnx")
    assert facts["artefacts"].keys() == before.keys() and facts["version"] == 1
    for name, one in facts["artefacts"].items():
        assert name.startswith("ONNX") or one == before[name]
    assert verify.verify(copy, say=lambda _: None) == []


def test_other_formats_of_another_network(copy, source, tmp_path):
    model = keras.models.clone_model(source.model)
    model.save(tmp_path / "digits.keras")
    other = load_source(tmp_path / "digits.keras")
    names = sorted(artefacts(copy))
    with pytest.raises(UserError, match=r"files of another network.*: onnx, openvino, tflite\."):
        export(other, copy, "saved_model")
    assert sorted(artefacts(copy)) == names and manifest.faults(copy) == []
    facts, _ = export(other, copy, "saved_model", overwrite=True)
    assert list(facts["artefacts"]) == ["SavedModel"] and facts["version"] == 2
    assert not any((copy / name).exists() for name in ("onnx", "openvino", "tflite"))
    assert manifest.faults(copy) == []


def test_a_folder_that_is_no_part_of_an_export(source, tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "mine.onnx").touch()
    with pytest.raises(UserError, match="onnx is no part of an export"):
        export(source, tmp_path, "onnx")
    assert [path.name for path in tmp_path.rglob("*")] == ["onnx", "mine.onnx"]


def test_a_version_without_a_saved_model(source, tmp_path):
    with pytest.raises(UserError, match="`version` is the version of a SavedModel"):
        export(source, tmp_path / "out", "onnx", version=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "onx"], "`format` must be one of"),
        (["--format", "onnx", "--opset", "3"], "`opset` must be an integer from 17"),
        (
            ["--format", "onnx", "--precision", "float16"],
            "`precision` must be one of float32, int8",
        ),
        (["--format", "web", "--web-scripts", "nowhere"], "`web-scripts` must be a folder with"),
        (["--format", "web", "--cdn", "ftp"], "`cdn` must be the URL"),
    ],
)
def test_refusals(digits_run, tmp_path, capsys, options, message):
    assert main([str(digits_run), "--out", str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


# Missing packages, and failures.


def without(monkeypatch, *names):
    """Formats whose packages are not installed."""

    def import_modules(one):
        if one.name in names:
            raise MissingPackageError(f"This needs the package `{one.name}`: pip install it")

    monkeypatch.setattr("export.formats.base.Format.import_modules", import_modules)


def test_formats_whose_packages_are_missing(source, tmp_path, monkeypatch):
    without(monkeypatch, "onnx", "openvino")
    facts, said = export(source, tmp_path / "out", settings=Settings(("float32",)))
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"serving", "tflite"}
    assert "ONNX is left out: This needs the package `onnx`: pip install it" in said
    assert facts["failed"] == {}
    with pytest.raises(MissingPackageError, match="`onnx`"):
        export(source, tmp_path / "named", "onnx", "tflite")
    without(monkeypatch, "tflite")
    with pytest.raises(MissingPackageError, match="`tflite`"):
        export(source, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_others_are_written(digits_run, tmp_path, capsys, monkeypatch):
    """A package is missing, a network cannot be converted, and a file is out of bounds."""

    def write(path, network, source, precision, *others):
        write_tflite(path, network, source, precision, *others)
        if precision == "float16":
            raise UserError("No half numbers.")

    def compare(checks, run):
        found = differ(checks, run)
        return {**found, "max_difference": 1.0} if run.path.suffix == ".xml" else found

    write_tflite, differ = tflite.write_tflite, exporting.Checks.compare
    without(monkeypatch, "onnx")
    monkeypatch.setattr(tflite, "write_tflite", write)
    monkeypatch.setattr(exporting.Checks, "compare", compare)
    out = tmp_path / "out"
    options = ["--out", str(out), "--precision", "float32", "float16"]
    formats = ["--format", "tflite", "onnx", "openvino"]
    assert main([str(digits_run), *options, *formats]) == 2
    assert not out.exists()
    assert main([str(digits_run), *options, *formats, "--keep-going"]) == 1
    report = json.loads((out / "report.json").read_text())
    assert list(report["artefacts"]) == ["TFLite float32", "TFLite features"]
    assert report["failed"].keys() == {"TFLite float16", "ONNX", "OpenVINO float32"}
    assert report["failed"]["TFLite float16"] == "No half numbers."
    assert "TFLite float16 failed: No half numbers." in capsys.readouterr().out
    assert "differs from the Keras model" in report["failed"]["OpenVINO float32"]
    page = (out / "report.md").read_text()
    assert "**Failed:** TFLite float16: No half numbers." in page
    assert not (out / "openvino").exists() and not (out / "onnx").exists()
    assert not (out / "tflite" / "digits_float16.tflite").exists()
    assert verify.main([str(out)]) == 0


def test_nothing_is_left(source, tmp_path, monkeypatch):
    def fails(*_):
        raise UserError("No graph.")

    monkeypatch.setattr(openvino, "write_openvino", fails)
    with pytest.raises(UserError, match=r"^Nothing could be written: No graph\.$"):
        float32 = Settings(("float32",))
        export(source, tmp_path / "out", "openvino", settings=float32, keep_going=True)
    assert not (tmp_path / "out").exists()


def test_help_names_the_formats(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    for name, one in FORMATS.items():
        assert f"OUT/{one.folder}" in printed and f"{name}:" in printed
