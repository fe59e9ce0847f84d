"""Whole exports: what they leave behind, what they say of it, and what they refuse."""

import errno
import io
import json
import os
import re
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import outputs_of
from odd_files import NAMES as ODD_NAMES
from odd_files import write_odd_files
from PIL import Image
from regnet_command import without_stderr

from export import checks, exporting, manifest, report, serving
from export.checks import measure_speed
from export.command import main
from export.examples import Examples
from export.formats import PRECISIONS, saved_model, tflite
from export.photographs import encoded
from export.source import load_source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet
from regnet_tf._errors import UserError
from training.loop.directory import write_run

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tensorflow_serving")


@pytest.fixture(autouse=True)
def no_speed(monkeypatch):
    """Measuring takes longest."""
    speed = {"latency_ms": 1.0, "images_per_second": 1.0}
    monkeypatch.setattr(exporting, "measure_speed", lambda runs, _: dict.fromkeys(runs, speed))


def contents(folder):
    """The bytes of every file by its path; of folders None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def export(source, out, formats=("saved_model",), **options):
    return exporting.export(source, out, formats, say=lambda _: None, **options)


@pytest.fixture
def source(exported):
    return exported.source


@pytest.fixture
def quick(exported, monkeypatch):
    """SavedModels are copied: `exported` has the one that would be written."""

    def write(path, *_):
        shutil.copytree(exported.saved_model, path)

    monkeypatch.setattr(saved_model, "write_saved_model", write)


@pytest.fixture
def copy(exported, tmp_path):
    """An export to add to."""
    return shutil.copytree(exported.folder, tmp_path / "copy")


# Versions.


def test_layout(exported):
    found = {path for path in contents(exported.folder) if path.count("/") < 3}
    assert found == {
        *("serving", "serving/digits", "serving/digits/1"),
        *(f"serving/{name}" for name in serving.FILES),
        *("tflite", *exporting.FILES),
        *("tflite/labels.txt", "tflite/facts.json"),
        *(
            f"tflite/digits_{precision}.tflite"
            for precision in ("float32", "float16", "dynamic_range", "int8", "features")
        ),
    }
    labels = (exported.folder / "tflite" / "labels.txt").read_text()
    assert labels.splitlines() == [f"digit {number}" for number in range(10)]


def test_versions(copy, source, quick):
    left_over = copy / ".partial-export"  # of an export that was killed
    left_over.mkdir()
    first, phones = contents(copy / "serving" / "digits" / "1"), contents(copy / "tflite")

    assert export(source, copy)["version"] == 2
    assert contents(copy / "serving" / "digits" / "1") == first
    assert (copy / "serving" / "digits" / "2" / "saved_model.pb").is_file()
    assert json.loads((copy / "report.json").read_text())["version"] == 2
    assert contents(copy / "tflite") == phones  # of the same network
    assert manifest.faults(copy) == []
    assert not [path for path in copy.rglob("*") if path.name.startswith(".")]

    before = contents(copy)
    with pytest.raises(UserError, match=r"digits/2 already exists"):
        export(source, copy, version=2)
    assert contents(copy) == before
    (copy / "serving" / "digits" / "2" / "old").touch()
    assert export(source, copy, version=2, overwrite=True)["version"] == 2
    assert not (copy / "serving" / "digits" / "2" / "old").exists()
    assert serving.versions(copy / "serving" / "digits") == [1, 2]
    assert serving.next_version(copy / "serving" / "digits", 7) == 7
    assert not [path for path in copy.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("module", "name", "error", "message"),
    [
        (
            *(tflite, "write_tflite"),
            *(OSError(errno.ENOSPC, "No space left on device"), r"{out} failed: .*No space left"),
        ),
        (
            *(saved_model, "write_saved_model"),
            *(tf.errors.UnknownError(None, None, "disk full\nat node"), "{out} failed: disk full$"),
        ),
        (exporting, "Network", UserError("No RegNet."), "No RegNet."),
    ],
)
def test_failure_changes_nothing(
    copy, source, quick, tmp_path, monkeypatch, module, name, error, message
):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr(module, name, failing)
    before = contents(copy)
    new = tmp_path / "new" / "exports"
    for out in (copy, new):
        with pytest.raises(UserError, match=message.format(out=re.escape(str(out)))):
            export(source, out, ["saved_model", "tflite"])
    assert contents(copy) == before
    assert not new.parent.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug")])
def test_other_ends_change_nothing(copy, source, monkeypatch, error):
    def build(_, folder, *others):
        (folder / "report.json").write_text("half")
        raise error

    monkeypatch.setattr(exporting, "_build", build)
    before = contents(copy)
    with pytest.raises(type(error)):
        export(source, copy)
    assert contents(copy) == before


def test_a_version_that_appears_meanwhile(copy, source, monkeypatch):
    def build(_, folder, version, *others):
        (folder / "serving" / "digits" / str(version)).mkdir(parents=True)
        (folder / "tflite").mkdir()
        for name in exporting.FILES:
            (folder / name).write_text("new")
        (copy / "serving" / "digits" / str(version)).mkdir()

    monkeypatch.setattr(exporting, "_build", build)
    before = contents(copy)
    with pytest.raises(UserError, match="digits/2 was written by another process"):
        export(source, copy)
    assert contents(copy) == {**before, "serving/digits/2": None}


# What is refused before anything is written.


def custom_layer(folder):
    """A .keras file whose layer nobody knows any more."""

    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    keras.Sequential([keras.Input((32, 32, 3)), Twice()]).save(folder / "custom.keras")
    return folder / "custom.keras"


def two_inputs(folder):
    """A .keras file with a second input."""
    inputs = [keras.Input((32, 32, 3)), keras.Input((2,))]
    pooled = keras.layers.GlobalAveragePooling2D()(inputs[0])
    outputs = keras.layers.Concatenate()([pooled, inputs[1]])
    keras.Model(inputs, outputs).save(folder / "two.keras")
    return folder / "two.keras"


def cut_short(run, folder):
    content = (run / "model.keras").read_bytes()
    (folder / "cut.keras").write_bytes(content[: len(content) // 2])
    return folder / "cut.keras"


def text(file, content):
    file.write_text(content)
    return file


def arrays(file, **content):
    np.savez(file, **content)
    return file


IMAGES = np.zeros((5, 32, 32, 3), "uint8")
REFUSALS = {
    "model": (lambda run, _: ["regnetz"], "must be a tag of published weights"),
    "variant": (lambda run, _: [run, "--variant", "x"], "`--variant` must be a known RegNet"),
    "no file": (lambda run, tmp: [tmp / "no.keras"], "There is no file"),
    "custom layer": (lambda run, tmp: [custom_layer(tmp)], "Could not locate class 'Twice'"),
    "two inputs": (lambda run, tmp: [two_inputs(tmp)], "Received: 2 inputs, 1 outputs"),
    "cut short": (
        lambda run, tmp: [cut_short(run, tmp)],
        "cut.keras is damaged: it is not",
    ),
    "unfinished run": (
        lambda run, tmp: [text(tmp / "run.json", "{}").parent],
        "holds no trained network yet",
    ),
    "precision": (lambda run, _: [run, "--precision", "int4"], "`precision` must be one of"),
    "int8-output": (lambda run, _: [run, "--int8-output", "int4"], "`int8_output` must be one of"),
    "batch": (lambda run, _: [run, "--batch", 0], "`batch_size` must be"),
    "version": (lambda run, _: [run, "--version", 0], "`version` must be at least 1"),
    "name": (lambda run, _: [run, "--name", "a/b"], "`name` must begin with"),
    "image size": (lambda run, _: [run, "--image-size", 64], "`image_size` must be 32"),
    "interpolation": (lambda run, _: [run, "--interpolation", "best"], "`interpolation` must be"),
    "labels": (
        lambda run, tmp: [run, "--labels", text(tmp / "labels", "one\ntwo\n")],
        "`labels` must be 10 lines, one for each class. Received: 2",
    ),
    "channels": (lambda run, _: [run, "--mean", "0.5,0.5", "--std", "1,1"], "must be 3 numbers"),
    "no labels": (lambda run, tmp: [run, "--labels", tmp / "no"], "No such file"),
    "no calibration": (lambda run, _: [run / "model.keras"], None),
    "calibration": (lambda run, tmp: [run, "--calibration", tmp / "no"], "must be a folder of"),
    "empty folder": (
        lambda run, tmp: [run, "--calibration", tmp],
        r"holds no images \(.jpg, .jpeg, .png, .bmp, .gif, .webp\)",
    ),
    "damaged image": (
        lambda run, tmp: [run, "--calibration", text(tmp / "bad.png", "no").parent],
        "bad.png",
    ),
    "damaged npz": (
        lambda run, tmp: [run, "--calibration", text(tmp / "bad.npz", "no")],
        "is not a complete .npz file",
    ),
    "other arrays": (
        lambda run, tmp: [run, "--calibration", arrays(tmp / "bad.npz", pictures=IMAGES)],
        'must contain the array "images". It contains: pictures',
    ),
    "float images": (
        lambda run, tmp: [run, "--calibration", arrays(tmp / "bad.npz", images=IMAGES / 255)],
        "must be uint8",
    ),
    "too few labels": (
        lambda run, tmp: [
            *(run, "--calibration"),
            arrays(tmp / "bad.npz", images=IMAGES, test_images=IMAGES, test_labels=[1, 2]),
        ],
        'equal numbers of "test_labels" and "test_images"',
    ),
}


def refused(arguments, out, capsys):
    """What the command says, in one line."""
    assert main([*map(str, arguments), "--out", str(out)]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("regnet export: error: ") and printed.count("\n") == 1, printed
    return printed


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(what, digits_run, tmp_path, capsys):
    arguments, message = REFUSALS[what]
    if what == "no calibration":  # a file without a run beside it
        shutil.copy(digits_run / "model.keras", tmp_path / "alone.keras")
        arguments, message = lambda *_: [tmp_path / "alone.keras"], "int8 needs calibration images"
    printed = refused(arguments(digits_run, tmp_path), tmp_path / "new" / "out", capsys)
    assert re.search(message, printed)
    assert not (tmp_path / "new").exists()


def test_folders_that_can_not_be_written_to(digits_run, copy, tmp_path, capsys, monkeypatch):
    file = text(tmp_path / "file", "content")
    arguments = [digits_run, "--precision", "float32"]
    for out in (file, file / "below"):
        assert f"Cannot write to the folder {out}: " in refused(arguments, out, capsys)
    assert file.read_text() == "content"

    def read_only(path, *others, **options):
        if path.name == ".partial-export":
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(path, *others, **options)

    make = os.mkdir
    monkeypatch.setattr(os, "mkdir", read_only)
    before = contents(copy)
    message = f"Cannot write to the folder {copy}: Permission denied."
    assert message in refused(arguments, copy, capsys)
    assert contents(copy) == before
    assert "Permission denied" in refused(arguments, tmp_path / "new", capsys)
    assert not (tmp_path / "new").exists()


def test_another_network_in_the_same_folder(digits_run, copy, capsys):
    before = contents(copy)
    printed = refused([digits_run, "--name", "others"], copy, capsys)
    assert "holds exports of digits" in printed and "--name digits" in printed
    text(copy / "serving" / "models.config", "no configuration {")
    printed = refused([digits_run], copy, capsys)
    assert "models.config is not a configuration of TensorFlow Serving" in printed
    before["serving/models.config"] = b"no configuration {"
    assert contents(copy) == before


def test_packages_that_are_missing(digits_run, tmp_path, capsys, monkeypatch):
    class Nowhere:
        def find_spec(self, name, *_):
            if name == "ai_edge_litert":
                raise ModuleNotFoundError(name=name)

    for name in [name for name in sys.modules if name.startswith("ai_edge_litert")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Nowhere(), *sys.meta_path])
    printed = refused([digits_run], tmp_path / "out", capsys)
    assert "needs the package `ai_edge_litert`: pip install 'regnet_tf[export]'" in printed
    assert not (tmp_path / "out").exists()


# For TensorFlow Serving.


def test_warm_up(exported):
    requests = serving.read_warm_up(exported.saved_model)
    signatures = tf.saved_model.load(str(exported.saved_model)).signatures
    sizes = {}
    for request in requests:
        assert request.model_spec.name == "digits"
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        sizes.setdefault(name, []).append(*map(len, inputs.values()))
        outputs = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        for output in outputs.values():
            assert len(output) == sizes[name][-1]
            assert output.dtype == tf.string or np.isfinite(output).all()
    assert sizes == {name: [1, 32] for name in signatures}


def models_config(folder):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    return text_format.Parse((folder / "models.config").read_text(), config)


def test_labels_of_versions(exported, tmp_path):
    (written,) = models_config(exported.folder / "serving").model_config_list.config
    assert (written.name, written.base_path) == ("digits", "/models/digits")
    assert written.model_platform == "tensorflow"

    def after_version(number):
        (tmp_path / "digits" / str(number)).mkdir(parents=True)
        serving.write_configuration(tmp_path)
        (model,) = models_config(tmp_path).model_config_list.config
        return dict(model.version_labels), list(model.model_version_policy.specific.versions)

    assert after_version(1) == ({"stable": 1, "canary": 1}, [1])
    assert after_version(2) == ({"stable": 1, "canary": 2}, [1, 2])
    config = models_config(tmp_path)
    config.model_config_list.config[0].version_labels["stable"] = 2
    (tmp_path / "models.config").write_text(str(config))
    assert after_version(3) == ({"stable": 2, "canary": 3}, [2, 3])
    assert after_version(10) == ({"stable": 2, "canary": 10}, [2, 10])
    (tmp_path / "digits" / "2").rmdir()
    assert after_version(11) == ({"stable": 1, "canary": 11}, [1, 11])


def test_batching(exported):
    lines = (exported.folder / "serving" / "batching.config").read_text().splitlines()
    sizes = [int(line.split()[1]) for line in lines if line.startswith("allowed_batch_sizes:")]
    values = dict(re.fullmatch(r"(\w+) \{ value: (\d+) \}", line).groups() for line in lines[:4])
    assert sizes == sorted(set(sizes)) and sizes[0] == 1
    assert sizes[-1] == int(values["max_batch_size"])
    assert int(values["num_batch_threads"]) == os.cpu_count()
    assert set(values) == {
        *("max_batch_size", "batch_timeout_micros"),
        *("num_batch_threads", "max_enqueued_batches"),
    }


def test_docker_compose(exported):
    yaml = pytest.importorskip("yaml")
    folder = exported.folder / "serving"
    (service,) = yaml.safe_load((folder / "docker-compose.yml").read_text())["services"].values()
    assert service["volumes"] == [".:/models:ro"]
    named = [flag.partition("=/models/")[2] for flag in service["command"] if "=/models/" in flag]
    assert sorted(named) == ["batching.config", "models.config", "monitoring.config"]
    assert all((folder / name).is_file() for name in named)
    assert "/v1/models/digits" in service["healthcheck"]["test"][-1]


def test_texts_are_filled_in(exported):
    for name in serving.FILES:
        assert not re.search(r"@[A-Z]+@", (exported.folder / "serving" / name).read_text())
    readme = (exported.folder / "serving" / "README.md").read_text()
    assert "# Serving `digits`" in readme and "localhost:8501/v1/models/digits:predict" in readme
    assert "-e TF_ENABLE_ONEDNN_OPTS=1 " in readme


# The report.


def by_tflite(file, images):
    """Probabilities of a `.tflite` file, asked without any of this project's code."""
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(str(file)).get_signature_runner("serving_default")
    (target,) = signature.get_output_details().values()
    scale, zero = target["quantization"]
    outputs = [signature(images=image[None])["probabilities"][0] for image in images]
    outputs = np.array(outputs, "float32")
    return (outputs - zero) * scale if scale else outputs


def by_saved_model(folder, images):
    loaded = tf.saved_model.load(str(folder))
    return loaded.signatures["images"](images=tf.constant(images))["probabilities"].numpy()


def test_report(exported, digits_run):
    facts = json.loads((exported.folder / "report.json").read_text())
    assert facts == exported.facts
    with np.load(digits_run / "examples.npz") as examples:
        images, labels = examples["test_images"], examples["test_labels"]
    assert facts["checks"]["images"] == len(images)
    model = keras.saving.load_model(digits_run / "model.keras")
    preprocessing = Preprocessing(**facts["preprocessing"])
    expected = outputs_of(model, preprocessing.normalize(images))
    assert facts["keras"]["accuracy"] == pytest.approx(100 * (expected.argmax(-1) == labels).mean())
    assert list(facts["artefacts"]) == [
        "SavedModel",
        *(f"TFLite {precision}" for precision in PRECISIONS),
        "TFLite features",
    ]
    for name, run in (
        ("SavedModel", by_saved_model),
        ("TFLite dynamic_range", by_tflite),
        ("TFLite int8", by_tflite),
    ):
        told = facts["artefacts"][name]
        given = run(exported.folder / told["path"], images)
        difference = np.abs(given - expected).max()
        assert told["max_difference"] == pytest.approx(difference, rel=0.02, abs=2e-6)
        norms = np.linalg.norm(given, axis=1) * np.linalg.norm(expected, axis=1)
        assert told["cosine"] == pytest.approx(((given * expected).sum(1) / norms).min(), abs=1e-3)
        same = given.argmax(-1) == expected.argmax(-1)
        assert told["top1_agreement"] == pytest.approx(100 * same.mean(), abs=0.5)
        right = given.argmax(-1) == labels
        assert told["accuracy"] == pytest.approx(100 * right.mean(), abs=0.5)
        assert told["latency_ms"] > 0 and told["images_per_second"] > 0


def test_sizes_in_the_report(exported):
    for told in exported.facts["artefacts"].values():
        path = exported.folder / told["path"]
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        assert told["bytes"] == sum(len(file.read_bytes()) for file in files) > 0


def test_report_as_a_page_and_a_picture(exported):
    page = (exported.folder / "report.md").read_text()
    assert page.startswith("# digits, version 1\n")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    for name, told in exported.facts["artefacts"].items():
        row = next(row for row in rows if row[0] == f"| {name}")  # the second one has the bounds
        assert row[1] == f"{told['bytes'] / 1e6:.2f}"
        assert float(row[2]) == pytest.approx(told["max_difference"], rel=0.06)
        agreement = told.get("top1_agreement")
        if agreement is None:
            assert row[4] == ""
        else:
            assert float(row[4]) == pytest.approx(agreement, abs=0.006)
    assert f"accuracy is {exported.facts['keras']['accuracy']:.2f} %" in page
    assert "report.png" in page
    with Image.open(exported.folder / "report.png") as picture:
        assert picture.format == "PNG" and picture.width > 1000


def test_report_without_a_classifier(exported):
    artefacts = {
        name: {key: value for key, value in told.items() if key not in ("top1_agreement",)}
        for name, told in exported.facts["artefacts"].items()
    }
    facts = {**exported.facts, "classes": 0, "keras": {"accuracy": None}, "artefacts": artefacts}
    page = report.markdown(facts)
    assert "Keras model's features" in page and "accuracy" not in page


def test_speed(monkeypatch):
    now, sizes = [0.0], []
    monkeypatch.setattr(checks.time, "perf_counter", lambda: now[0])

    def one(images):
        """Two milliseconds for each image."""
        sizes.append(len(images))
        now[0] += 0.002 * len(images)

    def two(images):
        now[0] += 0.01 * len(images)

    two.batch_size = 4
    speeds = measure_speed({"one": one, "two": two}, IMAGES, repeats=2, seconds=0.01)
    assert set(sizes) == {1, 32}
    assert speeds == {
        "one": pytest.approx({"latency_ms": 2, "images_per_second": 500}),
        "two": pytest.approx({"latency_ms": 40, "images_per_second": 100}),
    }


def test_command(digits_run, tmp_path, capsys):
    photographs = tmp_path / "photographs" / "some"
    photographs.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(8):
        image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), "uint8"))
        image.save(photographs / f"{number}.{'JPG' if number % 2 else 'png'}")
    (photographs / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    options = ("--format", "saved_model", "tflite", "--precision", "int8", "--out", out)
    options += ("--calibration", photographs.parent)
    assert main([str(digits_run), *map(str, options)]) == 0
    printed = capsys.readouterr().out
    warning = "int8 was calibrated on 6 images; 100 and more are better."
    assert f"Warning: {warning}" in printed
    assert f"**Warning:** {warning}" in (out / "report.md").read_text()
    for name in ("serving/digits/1", "serving/models.config", "tflite", "report.md"):
        assert f"  {out / name} " in printed and (out / name).exists()
    facts = json.loads((out / "report.json").read_text())
    assert facts["warnings"] == [warning]
    assert facts["checks"] == {"images": 2, "photographs": 8, "origin": str(photographs.parent)}
    assert facts["artefacts"]["TFLite int8"]["accuracy"] is None
    assert list((out / "tflite").glob("*.tflite")) == [out / "tflite" / "digits_int8.tflite"]
    assert manifest.faults(out) == []


def test_without_images(digits_run, tmp_path):
    shutil.copy(digits_run / "model.keras", tmp_path / "alone.keras")
    facts = export(load_source(tmp_path / "alone.keras"), tmp_path / "out")
    assert facts["checks"] == {"images": 16, "photographs": 5, "origin": "generated images"}
    (warning,) = facts["warnings"]
    assert "generated images" in warning and "--calibration" in warning
    assert facts["name"] == "alone" and facts["keras"]["accuracy"] is None


def test_what_is_assumed_is_said(digits_run, tmp_path):
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),))
    build_regnet(config, classes=3).save(tmp_path / "unknown.keras")
    assert list(load_source(tmp_path / "unknown.keras").assumed) == [
        "The network does not know its preprocessing; ImageNet's was assumed.",
        "The network does not know its class names; 'class 0' ... were assumed.",
    ]
    assert not load_source(digits_run).assumed


# Images to calibrate with.


def test_npz_with_test_images(tmp_path):
    rng = np.random.default_rng(0)
    images, test_images = (rng.integers(0, 256, (n, 32, 32, 3), "uint8") for n in (7, 3))
    file = arrays(tmp_path / "a.npz", images=images, test_images=test_images, test_labels=[2, 0, 1])
    examples = Examples.read(file, Preprocessing(image_size=32))
    np.testing.assert_array_equal(examples.calibration, images)
    np.testing.assert_array_equal(examples.test, test_images)
    np.testing.assert_array_equal(examples.test_labels, [2, 0, 1])


def test_npz_without_test_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 40, 60, 3), "uint8")
    preprocessing = Preprocessing(image_size=32, crop_fraction=0.8)
    examples = Examples.read(arrays(tmp_path / "a.npz", images=images), preprocessing)
    crops = preprocessing.resize_and_crop(images).numpy()
    np.testing.assert_array_equal(examples.calibration, crops[[0, 1, 2, 4, 5, 6, 8]])
    np.testing.assert_array_equal(examples.test, crops[[3, 7]])
    assert examples.test_labels is None


def test_many_images_are_thinned(tmp_path):
    images = np.zeros((1200, 8, 8, 3), "uint8")
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(1200) // 256, np.arange(1200) % 256
    labels = np.arange(1200)
    file = arrays(tmp_path / "a.npz", images=images, test_images=images, test_labels=labels)
    examples = Examples.read(file, Preprocessing(image_size=8))
    assert len(examples.calibration) == len(examples.test) == 400
    numbers = 256 * examples.test[:, 0, 0, 0].astype(int) + examples.test[:, 0, 0, 1]
    np.testing.assert_array_equal(examples.test_labels, numbers)
    np.testing.assert_array_equal(numbers, np.arange(0, 1200, 3))


# Names of classes.


def test_labels(digits_run, tmp_path):
    assert load_source(digits_run).labels == tuple(f"digit {number}" for number in range(10))
    names = ["null", "eins", "zwölf", *"3456789"]
    file = tmp_path / "labels.txt"
    file.write_text("\n".join(names), encoding="utf-8")
    assert load_source(digits_run, labels=file).labels == tuple(names)


def test_labels_of_a_network_that_does_not_know_them(digits_run, tmp_path):
    folder = shutil.copytree(digits_run, tmp_path / "unnamed")
    model = keras.saving.load_model(folder / "model.keras")
    model.get_layer("head").class_names = None
    model.save(folder / "model.keras")
    write_run(json.loads((folder / "run.json").read_text()), folder)
    source = load_source(folder)
    assert source.labels == tuple(f"class {number}" for number in range(10))
    assert source.name == "unnamed" and source.examples is not None


def test_the_file_alone_says_everything(digits_run, tmp_path):
    shutil.copy(digits_run / "model.keras", tmp_path / "alone.keras")
    source, run = load_source(tmp_path / "alone.keras"), load_source(digits_run)
    assert (source.preprocessing, source.labels) == (run.preprocessing, run.labels)
    assert source.name == "alone" and source.examples is None


# The screen.


def test_messages_are_kept_off_the_screen(capfd, monkeypatch):
    """Also where `sys.stderr` is not the process's, as in notebooks."""
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stderr", notebook)
    with without_stderr():
        print("lost", file=sys.stderr)
        os.write(2, b"lost")
    print("kept", file=sys.stderr)
    os.write(2, b"kept")
    assert notebook.getvalue() == "kept\n"
    assert capfd.readouterr().err == "kept"


def test_calibration_reads_files_only(tmp_path):
    """A pipe would never end, and hidden files are not images for other commands either."""
    content = encoded(np.full((20, 30, 3), 100, "uint8"))
    write_odd_files(tmp_path / "odd", content)
    (tmp_path / "odd" / ".hidden.jpg").write_bytes(b"no image")
    found = Examples.read(tmp_path / "odd", Preprocessing(image_size=16))
    assert len(found.calibration) + len(found.test) == len(ODD_NAMES)
    assert set(found.photographs) == {content}
    with pytest.raises(ValueError, match="It has 30 x 20 pixels, and `max_pixels` allows 599"):
        Examples.read(tmp_path / "odd", Preprocessing(image_size=16, max_pixels=599))
