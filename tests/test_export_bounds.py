"""Exports that are refused: files far from the Keras model, and less accurate than their run."""

import io
import json
import shutil

import keras
import numpy as np
import pytest
from networks import outputs_of
from PIL import Image

from export import bounds, exporting, manifest, photographs, verify
from export.checks import Checks
from export.command import main
from export.formats import PRECISIONS, saved_model
from export.formats.saved_model import write_saved_model
from export.network import Network
from export.source import load_source
from training.loop.directory import write_run

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tensorflow_serving")


@pytest.fixture(autouse=True)
def no_speed(monkeypatch):
    """Measuring takes longest."""
    speed = {"latency_ms": 1.0, "images_per_second": 1.0}
    monkeypatch.setattr(exporting, "measure_speed", lambda runs, _: dict.fromkeys(runs, speed))


def served_with(monkeypatch, **changes):
    """Writes SavedModels that prepare images differently from the network's own preprocessing."""

    def write(path, network, preprocessing, *others):
        write_saved_model(path, network, preprocessing.replace(**changes), *others)

    monkeypatch.setattr(saved_model, "write_saved_model", write)


@pytest.mark.parametrize(
    ("changes", "words", "others"),
    [
        pytest.param(
            {"mean": (0.0,) * 3, "std": (1.0,) * 3},
            *("differs from the Keras model", "none"),
            marks=pytest.mark.slow,
        ),
        ({"crop_fraction": 0.5}, "on whole photographs", "% of the decisions"),
    ],
)
def test_a_file_out_of_bounds_is_not_left(
    digits_run, tmp_path, capsys, monkeypatch, changes, words, others
):
    served_with(monkeypatch, **changes)
    arguments = [str(digits_run), "--out", str(tmp_path / "out"), "--format", "saved_model"]
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("regnet export: error: 1 differs") and printed.count("\n") == 1
    assert words in printed and others not in printed and "Nothing was written" in printed
    assert not (tmp_path / "out").exists()


def test_verify_holds_the_same_bounds(exported, tmp_path, capsys):
    """Also where the report of the export would allow more."""
    copy = shutil.copytree(exported.folder, tmp_path / "copy")
    facts = json.loads((copy / "report.json").read_text())
    facts["artefacts"]["SavedModel"].update(max_difference=1.0, photographs=1.0)
    (copy / "report.json").write_text(json.dumps(facts))
    checks = Checks.read(copy / "checks.npz")
    object.__setattr__(checks, "expected_of_photographs", checks.expected_of_photographs + 2e-4)
    checks.write(copy / "checks.npz")
    changed = ["report.json", "checks.npz"]
    manifest.write_manifest(copy, changed, manifest.read_manifest(copy))
    assert verify.main([str(copy)]) == 1
    (fault,) = [line for line in capsys.readouterr().out.splitlines() if "FAULT" in line]
    assert "on whole photographs, allowed are 1.0e-04" in fault


def test_bounds_are_in_the_report(exported):
    page = (exported.folder / "report.md").read_text()
    rows = [
        line
        for line in page.splitlines()
        if line.startswith(tuple(f"| {one} " for one in PRECISIONS))
    ]
    given = {row.split(" | ")[0].strip("| "): row.strip("| ").split(" | ")[1:] for row in rows}
    assert {name: tuple(map(float, cells)) for name, cells in given.items()} == bounds.BOUNDS
    assert tuple(bounds.BOUNDS) == PRECISIONS
    assert f"{exported.facts['artefacts']['SavedModel']['photographs']:.1e}" in page


def checks(expected, labels=None, **options):
    expected = np.array(expected, "float32")
    images = np.zeros((len(expected), 1, 1, 3), "uint8")
    options = {"classifier": True, "multi_label": False, "short_floats": False, **options}
    labels = None if labels is None else np.array(labels)
    return Checks(images, labels, expected, [], expected[:0], **options, origin="arrays")


def compared(one, outputs):
    left = iter(np.array(outputs, "float32"))
    return one.compare(lambda images: np.stack([next(left) for _ in images]))


def test_clear_decisions_count_as_changed():
    """Of three others, the Keras model prefers its own by 0.02, 0.08 and 0.3."""
    one = checks([[0.51, 0.49], [0.54, 0.46], [0.65, 0.35], [0.9, 0.1]])
    told = compared(one, [[0.4, 0.6]] * 3 + [[0.7, 0.3]])
    assert told["top1_agreement"] == 25
    assert told["changed"] == 25
    assert told["max_difference"] == pytest.approx(0.25)
    assert bounds.faults("dynamic_range", told, one) == []  # one decision may change
    (fault,) = bounds.faults("float16", told, one)
    assert "by 2.5e-01, allowed are 2.0e-02" in fault


def test_a_hundred_decisions():
    one = checks([[0.9, 0.1]] * 100)
    told = compared(one, [[0.9, 0.1]] * 94 + [[0.45, 0.55]] * 6)
    assert told["changed"] == 6
    faults = bounds.faults("dynamic_range", {**told, "usual_difference": 0.0}, one)
    assert faults == ["changes 6.00 % of the decisions, allowed are 5.00 %"]


def test_one_of_a_hundred_may_be_far_off_in_8_bits():
    """A pixel between two classes goes from one to the other."""
    one = checks([[0.9, 0.1]] * 200)
    told = compared(one, [[0.9, 0.1]] * 198 + [[0.0, 1.0]] * 2)
    assert told["usual_difference"] == 0 and told["max_difference"] == pytest.approx(0.9)
    assert bounds.faults("int8", told, one) == []
    assert len(bounds.faults("float16", told, one)) == 1
    told = compared(one, [[0.9, 0.1]] * 197 + [[0.0, 1.0]] * 3)
    (fault,) = bounds.faults("int8", told, one)
    assert "by 9.0e-01, allowed are 6.0e-01" in fault


def test_several_labels_are_decided_one_by_one():
    one = checks([[0.9, 0.6], [0.2, 0.1]], labels=[[1, 0], [0, 0]], multi_label=True)
    told = compared(one, [[0.8, 0.4], [0.1, 0.3]])
    assert told["top1_agreement"] == 75 and told["changed"] == 25
    assert one.accuracy == 75 and told["accuracy"] == 100


def test_pixels_without_a_class_do_not_count():
    expected = np.zeros((1, 2, 2, 3), "float32")
    expected[..., 1] = 1
    one = checks(expected, labels=[[[1, 255], [0, 255]]])
    assert one.accuracy == 50


def test_features_are_held_by_the_largest():
    one = checks([[100.0, -3.0]], classifier=False)
    assert bounds.faults("float32", compared(one, [[100.009, -3.0]]), one) == []
    assert bounds.faults("float32", compared(one, [[100.011, -3.0]]), one)


def test_networks_in_16_bits_have_wider_bounds():
    for short_floats, faults in ((False, 1), (True, 0)):
        one = checks([[0.55, 0.45]], short_floats=short_floats)
        assert len(bounds.faults("float32", compared(one, [[0.52, 0.48]]), one)) == faults


def test_not_a_number_is_out_of_bounds():
    one = checks([[0.9, 0.1]])
    assert bounds.faults("int8", compared(one, [[np.nan, np.nan]]), one)


# The run's own accuracy.


@pytest.fixture
def accurate_run(digits_run, tmp_path):
    """A run whose test images have the classes that its network names."""
    folder = shutil.copytree(digits_run, tmp_path / "accurate")
    with np.load(folder / "examples.npz") as file:
        arrays = dict(file)
    model, source = keras.saving.load_model(folder / "model.keras"), load_source(folder)
    images = source.preprocessing.normalize(arrays["test_images"])
    arrays["test_labels"] = outputs_of(model, images).argmax(-1)
    np.savez(folder / "examples.npz", **arrays)
    run = json.loads((folder / "run.json").read_text())
    write_run({**run, "results": {"accuracy": 0.98}}, folder)
    return folder


def test_a_run_keeps_its_accuracy(accurate_run, tmp_path, capsys):
    assert load_source(accurate_run).accuracy == 98
    arguments = [str(accurate_run), "--out", str(tmp_path / "out"), "--format", "saved_model"]
    twice = ("--mean=-2,-2,-2", "--std=0.2,0.2,0.2")
    assert main([*arguments, *twice]) == 2
    printed = capsys.readouterr().err
    assert "where the run found 98.00 %. Likely causes: images that are normalized twice" in printed
    assert printed.count("\n") == 1 and not (tmp_path / "out").exists()
    source = load_source(accurate_run)
    made = Checks.make(source, Network(source.model))
    assert made.accuracy == 100 and bounds.lost_accuracy(source.accuracy, made) is None


def test_chance_is_no_loss():
    """Of 25 images, three standard errors at 80 % are 24 points."""
    for right, lost in ((13, False), (12, True)):
        labels = [0] * right + [1] * (25 - right)
        one = checks([[0.9, 0.1]] * 25, labels)
        assert (bounds.lost_accuracy(80.0, one) is not None) == lost
    assert bounds.lost_accuracy(None, one) is None


# Whole photographs.


def test_photographs_of_a_folder_are_taken_as_they_are(digits_run, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number, suffix in enumerate(("jpg", "png", "bmp", "gif", "webp")):
        image = Image.fromarray(rng.integers(0, 256, (60 + number, 50, 3), "uint8"))
        image.save(pictures / f"{number}.{suffix}")
    source = load_source(digits_run, calibration=pictures)
    files = [file.read_bytes() for file in sorted(pictures.glob("*.[!w]*"))]  # no WebP
    assert list(source.examples.photographs) == files
    facts = exporting.export(source, tmp_path / "out", ["saved_model"], say=lambda _: None)
    assert facts["checks"]["photographs"] == 4
    assert facts["artefacts"]["SavedModel"]["photographs"] < 1e-5
    read = Checks.read(tmp_path / "out" / "checks.npz")
    assert read.photographs == files


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_made_photographs_have_several_shapes(channels, mode):
    made = photographs.made_photographs(photographs.made_images(2, 40, channels))
    opened = [Image.open(io.BytesIO(file)) for file in made]
    assert len({image.size for image in opened}) == len(opened) == 5
    assert {image.mode for image in opened} == {mode}
    assert {image.format for image in opened} == ({"PNG"} if channels == 4 else {"PNG", "JPEG"})


def test_no_photographs_of_other_channels():
    assert photographs.made_photographs(photographs.made_images(2, 40, 5)) == []
