"""Detectors: boxes of data sets, average precision, and a short run."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from export import boxes as exported_boxes
from export import command as export_command
from regnet_tf import Preprocessing, facts_of
from regnet_tf._boxes import detections, draw_box
from regnet_tf._errors import UserError
from regnet_tf._keras_files import load_model
from regnet_tf._opening import open_predictor
from regnet_tf._predictors import of_keras
from regnet_tf.command import predict
from regnet_tf.visualize import draw_boxes
from training import data_command, evaluate
from training.data import DataSet, digit_scenes, inspection, load, sheet, target_of
from training.data.batches import training_batches
from training.data.boxes import padded
from training.data.table import TableSplit
from training.evaluation.matching import matched, task_for
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe
from training.tasks import Detection
from training.tasks.detection import average_precision

pytestmark = pytest.mark.keras_hub

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def few_scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_scenes, "TRAIN_SCENES", 40)
        patch.setattr(digit_scenes, "TEST_SCENES", 10)
        patch.setattr(digit_scenes, "TRAIN_CROPS", 40)
        patch.setattr(digit_scenes, "TEST_CROPS", 10)
        yield load("digit_boxes"), load("digit_scenes")


def test_boxes_are_those_of_the_pixels(few_scenes):
    boxed, segmented = few_scenes
    assert boxed.target == "boxes" and len(boxed.class_names) == 10
    np.testing.assert_array_equal(boxed.train.items, segmented.train.items)
    for boxes, pixels in zip(boxed.train.labels, segmented.train.labels, strict=True):
        covered = np.zeros_like(pixels)
        for *sides, digit in boxes[boxes[:, 4] >= 0]:
            top, left, bottom, right = np.round(64 * np.array(sides)).astype(int)
            own = pixels[top:bottom, left:right] == digit + 1
            covered[top:bottom, left:right] |= own
            edges = (own[0], own[-1], own[:, 0], own[:, -1])
            assert all(edge.any() for edge in edges)  # no smaller box holds the digit
        np.testing.assert_array_equal(covered, pixels > 0)


def coco_folder(folder, **changes):
    """Writes a folder of two images in COCO's format."""
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).mkdir()
        for name in ("a.png", "b.png"):
            image = tf.io.encode_png(np.zeros((20, 40, 3), "uint8"))
            tf.io.write_file(str(folder / split / name), image)
        content = {
            "images": [
                {"id": 7, "file_name": "a.png", "height": 20, "width": 40},
                {"id": 3, "file_name": "b.png", "height": 20, "width": 40},
            ],
            "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10]},
                {"id": 2, "image_id": 7, "category_id": 17, "bbox": [0, 0, 4, 4], "iscrowd": 1},
            ],
        } | changes
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))
    return folder


def test_coco_folder(tmp_path):
    folder = coco_folder(tmp_path / "photos")
    data = load(folder)
    assert target_of(folder) == data.target == "boxes"
    assert data.class_names == ("cat", "dog")
    expected = [[[0.25, 0.25, 0.75, 0.75, 1]], [[-1] * 5]]
    np.testing.assert_array_equal(data.train.labels, np.array(expected, "float32"))
    assert data.train.paths[0].endswith("train/a.png") and "1 crowds" in data.notes[0]


def test_a_box_is_drawn_around_its_object():
    axes = Figure().subplots()
    axes.imshow(np.zeros((20, 40, 3)))
    label = padded([[(0.25, 0.5, 0.75, 1, 1)], [(0, 0, 1, 1, 0)] * 2])[0]
    sheet._draw_boxes(axes, label, (20, 40, 3), ("cat", "dog"))
    (box,), (text,) = axes.patches, axes.texts
    assert box.get_bbox().extents == pytest.approx([19.5, 4.5, 39.5, 14.5])
    assert text.get_text() == "dog" and text.get_va() == "bottom"


def test_the_name_of_a_box_at_the_upper_edge_is_inside_it():
    axes = Figure().subplots()
    axes.imshow(np.zeros((20, 40, 3)))
    draw_box(axes, np.array([0, 0, 10, 10]), "dog")
    assert axes.texts[0].get_va() == "top"


@pytest.mark.parametrize("kind", ["digits", "photos"])
def test_inspect_boxes(kind, few_scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sheet, "_ROWS", 1)
    drawn = []
    monkeypatch.setattr(sheet, "draw_box", lambda axes, box, text: drawn.append((*box, text)))
    if kind == "digits":
        monkeypatch.setattr(inspection, "load_for", lambda *_: few_scenes[0])
    name = "digit_boxes" if kind == "digits" else coco_folder(tmp_path / "photos")
    out = tmp_path / "sheet.png"
    assert data_command.main(["inspect", str(name), "--out", str(out), "--seconds", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert f"{out}  training images of the recipe detection_scenes" in printed
    if kind == "photos":
        assert "2 classes in this order: cat (0 + 0), dog (1 + 1)" in printed
        assert set(drawn) == {(16, 16, 48, 48, "dog")}  # of 64 pixels
    else:
        assert 8 <= len(drawn) <= 24


def test_boxes_are_flipped_with_their_images():
    """A white object on black; the second row is no box."""
    images = np.zeros((16, 20, 40, 3), "uint8")
    images[:, 4:10, 2:20] = 255
    labels = np.tile(padded([[(0.2, 0.05, 0.5, 0.5, 3)], [(0, 0, 1, 1, 0)] * 2])[:1], (16, 1, 1))
    split = TableSplit(images, labels)
    changes = {"augmentation.flip": True, "schedule.batch_size": 16}
    recipe = get_recipe("detection_scenes", changes)
    shown, flipped = next(iter(training_batches(split, recipe, 4)))
    white = shown.numpy()[..., 0] > 0
    for one, (box, no_box) in zip(white, flipped.numpy(), strict=True):
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        seen = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        np.testing.assert_allclose(box[:4] * 64, seen, atol=1)
        assert box[4] == 3 and (no_box == -1).all()
    assert len({box[0, 1] for box in flipped.numpy()}) == 2  # some are flipped


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"annotations": [{"image_id": 1, "category_id": 17, "bbox": [0, 0, 1, 1]}]}, "unknown"),
        ({"annotations": [{"image_id": 7, "category_id": 17, "bbox": [0, 0, 0, 1]}]}, "an area"),
        ({"annotations": [{"image_id": 7}]}, "not in COCO's format"),
        ({"images": [{"id": 7, "file_name": "c.png", "height": 2, "width": 2}]}, "c.png|unknown"),
        ({"images": []}, "must have images"),
    ],
)
def test_unfit_coco_folders(tmp_path, changes, text):
    with pytest.raises(UserError, match=text):
        load(coco_folder(tmp_path / "photos", **changes))


def test_average_precision_of_hand_made_boxes():
    truth = [np.array([[0, 0, 0.5, 0.5, 0]]), np.array([[0.5, 0.5, 1, 1, 1]])]
    right = [np.array([[0, 0, 0.5, 0.5, 0.9, 0]]), np.array([[0.5, 0.5, 1, 1, 0.8, 1]])]
    found = average_precision(truth, right, ("cat", "dog"), 64)
    assert [found[name] for name in ("ap", "ap50", "ap75")] == pytest.approx([1, 1, 1])
    # The second box covers 0.72 of the truth: right at the thresholds 0.50 to 0.70, 5 of 10.
    half = [right[0], np.array([[0.5, 0.5, 1, 0.86, 0.8, 1]])]
    found = average_precision(truth, half, ("cat", "dog"), 64)
    assert found["class_ap"] == pytest.approx({"cat": 1, "dog": 0.5})
    assert [found[name] for name in ("ap", "ap50", "ap75")] == pytest.approx([0.75, 1, 0.5])
    nothing = average_precision(truth, [np.zeros((0, 6))] * 2, ("cat", "dog"), 64)
    assert nothing["ap"] == 0 and nothing["notes"]


def test_perfect_outputs_have_no_loss_and_give_the_boxes_back():
    task = Detection(64, get_recipe("detection_scenes").detector)
    labels = padded([[(0.25, 0.25, 0.5, 0.5, 2)]])
    layer = task._layer(DIGITS)
    offsets, classes = task._targets(layer, tf.constant(labels))
    logits = 40 * tf.one_hot(tf.cast(classes, tf.int32), 10) - 20
    outputs = layer([offsets, logits])
    loss, anchors, right, _ = task.losses(labels, outputs).numpy()[:, 0]
    assert loss == pytest.approx(0, abs=1e-4) and anchors == right > 0
    np.testing.assert_allclose(layer.encoded(outputs[..., :4]), offsets, atol=1e-4)
    found = detections(outputs)[0]
    np.testing.assert_allclose(found[0], [0.25, 0.25, 0.5, 0.5, 1, 2], atol=1e-4)


def test_loss_of_hand_made_outputs():
    """L1 of offsets, and focal loss by its formula: alpha 0.25, gamma 2."""
    task = Detection(64, get_recipe("detection_scenes").detector)
    labels = padded([[(0.25, 0.25, 0.5, 0.5, 2)]])
    layer = task._layer(DIGITS)
    offsets, classes = task._targets(layer, tf.constant(labels))
    counted = np.sum(classes != -2)
    outputs = layer([offsets + 0.1, tf.zeros((1, offsets.shape[1], 10))])  # probabilities of 0.5
    loss, anchors, _, _ = task.losses(labels, outputs).numpy()[:, 0]
    each = 0.5**2 * np.log(2)
    focal = 0.25 * anchors * each + 0.75 * (10 * counted - anchors) * each
    assert loss == pytest.approx(4 * 0.1 * anchors + focal, rel=1e-3)


def test_overlapping_boxes_of_a_class_are_suppressed():
    boxes = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0, 0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]
    scores = [[0.9, 0.0], [0.8, 0.0], [0.0, 0.7], [0.04, 0.01]]
    (found,) = detections(np.concatenate([boxes, scores], 1)[None].astype("float32"))
    expected = [[0, 0, 0.5, 0.5, 0.9, 0], [0, 0, 0.5, 0.5, 0.7, 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def network():
    recipe = get_recipe("detection_scenes")
    keras.utils.set_random_seed(0)
    task = Detection(64, recipe.detector)
    return task.build_network(recipe.network, recipe.images, DIGITS)


def test_a_new_network_finds_nothing_at_the_anchors(network):
    """RetinaNet's paper, section 4.1: probabilities of 0.01, and boxes that are the anchors."""
    outputs = network(np.random.default_rng(0).normal(size=(1, 64, 64, 3))).numpy()
    np.testing.assert_allclose(np.median(outputs[..., 4:]), 0.01, rtol=0.1)
    layer = network.get_layer("detections")
    anchors = layer.decoded(tf.zeros((1, outputs.shape[1], 4)))
    assert np.abs(outputs[..., :4] - anchors).max() < 0.1


def test_saved_network_is_the_same(network, tmp_path):
    network.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), network(images))
    facts = facts_of(loaded)
    assert facts.class_names == DIGITS and facts.preprocessing.crop_mode == "squash"
    predictor = open_predictor(tmp_path / "model.keras")
    assert (predictor.named, predictor.classes) == ("boxes", 10)


def test_classes_are_matched_by_name(network):
    predictor = of_keras("net", network)
    labels = padded([[(0.0, 0.0, 0.5, 0.5, 0), (0.5, 0.5, 1.0, 1.0, 1)], []])
    split = TableSplit(np.zeros((2, 64, 64, 3), "uint8"), labels)
    data = DataSet(name="mine", class_names=("7", "3"), train=None, test=split)
    assert isinstance(task_for(predictor, data), Detection)
    batches = tf.data.Dataset.from_tensors((split.items, split.labels))
    _, renumbered = matched(predictor, data, batches)
    ((_, found),) = renumbered.as_numpy_iterator()
    np.testing.assert_array_equal(found[..., 4], [[7, 3], [-1, -1]])
    np.testing.assert_array_equal(found[..., :4], labels[..., :4])
    images = dataclasses.replace(data, test=TableSplit(split.items, np.zeros(2, "int64")))
    with pytest.raises(UserError, match="the class of boxes, and mine that of whole images"):
        task_for(predictor, images)


def test_the_whole_image_is_resized_as_by_pillow():
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), "uint8")
    preprocessing = Preprocessing(image_size=16, crop_mode="squash", interpolation="bilinear")
    expected = Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(preprocessing.resize_and_crop(image), expected)


def test_boxes_are_drawn_in_color(tmp_path):
    image = np.zeros((40, 80, 3), "uint8")
    draw_boxes(image, [((0.25, 0.25, 0.75, 0.75), "a $cat", 0.9)], tmp_path / "boxes.png")
    picture = np.asarray(Image.open(tmp_path / "boxes.png").convert("RGB")).astype(int)
    orange = (picture[..., 0] > 200) & (picture[..., 2] < 60)
    assert 0 < orange.mean() < 0.2


def test_agreement_of_detections():
    rows = [[0, 0, 0.5, 0.5, 0.9, 0], [0.5, 0.5, 1, 1, 0.55, 0], [0, 0.5, 0.5, 1, 0.2, 0]]
    expected = np.array([rows], "float32")
    assert exported_boxes.count(expected) == 2
    assert exported_boxes.agreement(expected, expected) == (100, 0)
    moved = expected.copy()
    moved[0, 0, :4] = [0, 0, 0.5, 0.4]  # an IoU of 0.8
    assert exported_boxes.agreement(moved, expected) == (50, 50)
    moved = expected.copy()
    moved[0, 1, 4:] = [0, 0.55]  # another class, but no clear detection
    assert exported_boxes.agreement(moved, expected) == (50, 0)


@pytest.fixture(scope="module")
def short_run(few_scenes, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("detector") / "run"
    recipe = get_recipe("detection_scenes", {"schedule.max_steps": 2, "schedule.epochs": 1})
    return workdir, train_and_evaluate(recipe, workdir, verbose=0)


@pytest.mark.slow
def test_short_run(short_run, few_scenes, tmp_path, capsys):
    workdir, run = short_run
    assert run["results"]["test_images"] == 10 and 0 <= run["results"]["ap"] <= 1
    for name in ("predictions.png", "classes.png", "predictions.csv", "model.keras"):
        assert (workdir / name).stat().st_size > 0
    assert evaluate.main([str(workdir), "--out", str(tmp_path / "test")]) == 0
    (found,) = (tmp_path / "test").glob("*/evaluation.json")
    assert json.loads(found.read_text())["ap"] == pytest.approx(run["results"]["ap"], abs=1e-4)
    photograph, table = tmp_path / "scene.png", tmp_path / "found.csv"
    Image.fromarray(few_scenes[0].test.items[0]).save(photograph)
    words = [str(workdir), str(photograph), "--csv", str(table), "--out", str(tmp_path)]
    assert predict.main(words) == 0
    with table.open() as file:
        header, row = csv.reader(file)
    assert header == ["image", "predictions", "probabilities", "boxes"] and len(row) == 4


@pytest.mark.slow
def test_exported_files_find_the_same(short_run, few_scenes, tmp_path):
    workdir, _ = short_run
    formats = ["--format", "tflite", "saved_model", "--precision", "float32"]
    assert export_command.main([str(workdir), "--out", str(tmp_path), *formats]) == 0
    images = few_scenes[0].test.items
    expected = open_predictor(workdir)
    wanted = expected.scores(expected.preprocessing.normalize(images))
    (saved,) = (tmp_path / "serving").glob("*/1")
    for path in (saved, *(tmp_path / "tflite").glob("*.tflite")):
        predictor = open_predictor(path)
        assert (predictor.named, predictor.class_names) == ("boxes", DIGITS)
        np.testing.assert_allclose(predictor.scores(images), wanted, atol=1e-4)
    functions = tf.saved_model.load(str(saved)).signatures
    served = functions["detections"](images=tf.constant(images))
    for count, rows in zip(served["counts"].numpy(), detections(wanted), strict=True):
        assert count == len(rows)
    files = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    of_files = functions["serving_default"](image_bytes=files)
    np.testing.assert_allclose(of_files["boxes"], served["boxes"], atol=1e-5)
    names = np.array(DIGITS)[served["classes"].numpy()]
    np.testing.assert_array_equal(served["labels"].numpy().astype(str), names)


def test_data_and_recipe_must_fit(few_scenes, tmp_path):
    with pytest.raises(UserError, match="`detector` must be given"):
        train_and_evaluate(get_recipe("digits", {"data.name": "digit_boxes"}), tmp_path / "a")
    with pytest.raises(ValueError, match=r"augmentation\.zoom"):
        get_recipe("detection_scenes", {"augmentation.zoom": 0.2})
    with pytest.raises(ValueError, match="distillation"):
        get_recipe("detection_scenes", {"distillation.teacher": "regnety_032"})
