"""Detectors: boxes of data sets, average precision, and a short run."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf._trained import load_trained
from training.data import digit_scenes, load, target_of
from training.data.boxes import padded
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe
from training.tasks import Detection
from training.tasks.detection import average_precision

pytestmark = pytest.mark.keras_hub


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


def test_perfect_outputs_have_no_loss_and_give_the_boxes_back(few_scenes):
    recipe = get_recipe("detection_scenes")
    task = Detection(recipe.detector, 64)
    labels = padded([[(0.25, 0.25, 0.5, 0.5, 2)]])
    offsets, classes = task._targets(tf.constant(labels))
    logits = 40 * tf.one_hot(tf.cast(classes, tf.int32), 10) - 20
    outputs = tf.concat([offsets, logits], -1)
    loss, anchors, right, _ = task.losses(labels, outputs).numpy()[:, 0]
    assert loss == pytest.approx(0, abs=1e-4) and anchors == right > 0
    (found,) = task.detections(outputs.numpy())
    np.testing.assert_allclose(found[0], [0.25, 0.25, 0.5, 0.5, 1, 2], atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`compile:UserWarning")
def test_short_run(few_scenes, tmp_path):
    recipe = get_recipe("detection_scenes", {"schedule.max_steps": 2, "schedule.epochs": 1})
    run = train_and_evaluate(recipe, tmp_path / "run", verbose=0)
    assert run["results"]["test_images"] == 10 and 0 <= run["results"]["ap"] <= 1
    for name in ("predictions.png", "classes.png", "predictions.csv", "model.keras"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    network = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert network.output_shape == (None, (64 + 16) * 9, 14)
    with pytest.raises(UserError, match="holds a detector"):
        load_trained(tmp_path / "run")


@pytest.mark.filterwarnings("ignore:`compile:UserWarning")
def test_saved_network_is_the_same(tmp_path):
    recipe = get_recipe("detection_scenes")
    task = Detection(recipe.detector, 64)
    network = task.build_network(recipe.network, recipe.images, list("0123456789"))
    network.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), network(images))


def test_data_and_recipe_must_fit(few_scenes, tmp_path):
    with pytest.raises(UserError, match="`detector` must be given"):
        train_and_evaluate(get_recipe("digits", {"data.name": "digit_boxes"}), tmp_path / "a")
    with pytest.raises(ValueError, match=r"augmentation\.flip"):
        get_recipe("detection_scenes", {"augmentation.flip": True})
