"""Networks that name the class of every pixel, from scenes to exported files."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from networks import outputs_of
from sklearn.metrics import confusion_matrix, jaccard_score

from export.examples import Examples
from regnet_tf import _locking
from regnet_tf._errors import UserError
from regnet_tf._trained import load_trained
from regnet_tf.facts import facts_of
from regnet_tf.runtimes import open_file
from training.data import digit_scenes, digits, load
from training.data.batches import test_batches as batches_to_test
from training.data.batches import training_batches
from training.data.table import TableSplit
from training.evaluate import main as evaluate
from training.loop import train
from training.loop.callbacks import Stopped
from training.loop.checkpoints import Checkpoints
from training.loop.directory import FILES, PRETRAINING
from training.loop.testing import Test as MeanTest
from training.loop.train import train_and_evaluate
from training.recipes import Recipe, get_recipe, pretraining_recipe
from training.tasks import Segmentation, segmentation
from training.tasks import scores as scores_of_tasks

CLASSES = ("photograph", *"0123456789")


@pytest.fixture(scope="module")
def few_scenes():
    """The data set with few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_scenes, "TRAIN_SCENES", 60)
        patch.setattr(digit_scenes, "TEST_SCENES", 20)
        patch.setattr(digit_scenes, "TRAIN_CROPS", 60)
        patch.setattr(digit_scenes, "TEST_CROPS", 20)
        yield load("digit_scenes")


@pytest.fixture(scope="module")
def finished(few_scenes, tmp_path_factory):
    """A short run of the recipe: its directory, and what was returned."""
    workdir = tmp_path_factory.mktemp("runs") / "scenes"
    config = get_recipe("segmentation_digits").network.config.replace(depth=3)
    changes = {"network.config": config, "schedule.max_steps": 3, "schedule.epochs": 2}
    recipe = get_recipe("segmentation_digits", changes)
    return workdir, train_and_evaluate(recipe, workdir, verbose=0)


def test_scenes(few_scenes):
    assert few_scenes.class_names == CLASSES
    assert few_scenes.target == "pixels" and load("digits").target == "class"
    for split, count in ((few_scenes.train, 60), (few_scenes.test, 20)):
        assert split.items.shape == (count, 64, 64, 3) and split.items.dtype == np.uint8
        assert split.labels.shape == (count, 64, 64) and split.labels.max() == 10
        shares = np.bincount(split.labels.ravel(), minlength=11) / split.labels.size
        assert 0.75 < shares[0] < 0.95 and shares.all()


def test_the_same_scenes_each_time(few_scenes):
    again = load("digit_scenes")
    np.testing.assert_array_equal(again.train.items, few_scenes.train.items)
    np.testing.assert_array_equal(again.test.labels, few_scenes.test.labels)


def test_labels_are_where_the_ink_is(monkeypatch):
    """On grey paper the marked pixels are those that were changed most."""
    grey = np.full((100, 120, 3), 200, "uint8")
    monkeypatch.setattr(digit_scenes, "_photographs", lambda: [grey])
    monkeypatch.setattr(digit_scenes, "TRAIN_SCENES", 10)
    _, train, _ = digit_scenes.load()
    change = np.abs(train.items.astype(float) - 200).max(-1)
    assert change[train.labels > 0].min() > change[train.labels == 0].max() * 0.7
    assert change[train.labels == 0].min() == 0


@pytest.mark.parametrize("kind", ["scenes", "crops"])
def test_held_out_digits_are_not_trained_on(kind, monkeypatch):
    given = []
    monkeypatch.setattr(digit_scenes, f"_{kind}", lambda split, *_, **__: given.append(split))
    load(f"digit_{kind}")
    for split, digits_split in zip(given, digits.load()[1:], strict=True):
        np.testing.assert_array_equal(split.items, digits_split.items)


def test_crops_show_the_digits_they_are_named_after(monkeypatch):
    """On grey paper the change from it is the scan's ink."""
    grey = np.full((100, 120, 3), 200, "uint8")
    monkeypatch.setattr(digit_scenes, "_photographs", lambda: [grey])
    monkeypatch.setattr(digit_scenes, "TRAIN_CROPS", 40)
    monkeypatch.setattr(digit_scenes, "_DIGIT_SIDES", (36,))  # no place but one
    crops, scans = load("digit_crops"), load("digits").train
    assert crops.class_names == CLASSES[1:] and crops.target == "class"
    ink = tf.image.resize(tf.cast(scans.items[..., :1], tf.float32), (36, 36), "bicubic")[..., 0]
    ink = np.reshape(ink, (len(ink), -1))
    ink = (ink - ink.mean(1, keepdims=True)) / ink.std(1, keepdims=True)
    assert crops.train.size == 40 and crops.train.items.shape == (40, 36, 36, 3)
    change = 200 - crops.train.items.astype(float).mean(-1).reshape(40, -1)
    nearest = (change @ ink.T).argmax(1)
    np.testing.assert_array_equal(scans.labels[nearest], crops.train.labels)


def test_mean_iou_equals_scikit_learns():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, (3, 8, 8))
    scores = rng.random((3, 8, 8, 4)).astype("float32")
    scores /= scores.sum(-1, keepdims=True)
    predicted = scores.argmax(-1)
    counts = confusion_matrix(true.ravel(), predicted.ravel(), labels=range(4))
    expected = jaccard_score(true.ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(scores_of_tasks.intersection_over_union(counts), expected)
    task = Segmentation(get_recipe("segmentation_digits").decoder)
    figures = task.measure(tf.constant(true), tf.constant(scores)).numpy()
    np.testing.assert_array_equal(figures[1:].sum(1).reshape(4, 4), counts)
    named = task.named_metrics(figures.mean(1))
    assert tuple(named) == task.metrics
    assert named["mean_iou"] == pytest.approx(expected.mean())
    assert named["accuracy"] == pytest.approx((true == predicted).mean())
    right = np.take_along_axis(scores, true[..., None], -1)
    assert named["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_ignored_pixels_count_nowhere():
    """They are labelled 255; all else is as if they were not there."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, (2, 8, 8))
    scores = rng.random((2, 8, 8, 3)).astype("float32")
    scores /= scores.sum(-1, keepdims=True)
    ignored = rng.random(true.shape) < 0.4
    task = Segmentation(get_recipe("segmentation_digits").decoder)
    numbers = task.measure(tf.constant(np.where(ignored, 255, true)), tf.constant(scores)).numpy()
    named = task.named_metrics(numbers.mean(1))
    kept, predicted = true[~ignored], scores.argmax(-1)[~ignored]
    assert named["accuracy"] == pytest.approx((kept == predicted).mean())
    expected = jaccard_score(kept, predicted, average="macro")
    assert named["mean_iou"] == pytest.approx(expected)
    right = np.take_along_axis(scores, true[..., None], -1)[..., 0][~ignored]
    assert named["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_a_network_that_finds_one_class_alone_is_told_so():
    results = segmentation.results(np.array([[5, 0], [3, 0]]), ("ground", "cat"))
    assert results["notes"] == ['It has found no pixel of another class than "ground".']
    assert Segmentation().summary(results).endswith('than "ground"')


def test_a_class_without_pixels_has_no_iou():
    results = segmentation.results(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert results["iou"] == {"a": 0.75, "b": 0.8, "c": None}
    assert results["mean_iou"] == pytest.approx(0.775)
    assert results["pixels"] == 8


def test_maps_follow_the_size_of_images(few_scenes):
    recipe = get_recipe("segmentation_digits", {"images.size": 32, "schedule.batch_size": 4})
    images, labels = next(iter(training_batches(few_scenes.train, recipe, 11)))
    assert images.shape == (4, 32, 32, 3) and labels.shape == (4, 32, 32, 11)
    images, labels = next(iter(batches_to_test(few_scenes.test, recipe.images.preprocessing, 4)))
    assert images.shape == (4, 32, 32, 3) and labels.shape == (4, 32, 32)
    assert labels.dtype == "int64" and int(tf.reduce_max(labels)) <= 10


def test_run_writes_everything(finished):
    workdir, run = finished
    assert {path.name for path in workdir.iterdir()} == {*FILES, PRETRAINING, _locking.FILE}
    assert json.loads((workdir / "run.json").read_text()) == run
    assert set(run["results"]["iou"]) == set(CLASSES)
    assert "val_mean_iou" in (workdir / "history.csv").read_text()
    assert run["model"]["parameters"] > 1000


def test_the_network_starts_from_the_one_trained_before(finished, few_scenes, monkeypatch):
    """Its run is in the run's directory; decoders start anew, and all else is as it was there."""
    workdir, run = finished
    first = json.loads((workdir / PRETRAINING / "run.json").read_text())
    assert {path.name for path in (workdir / PRETRAINING).iterdir()} == {*FILES, _locking.FILE}
    assert run["pretraining"]["recipe"] == first["recipe"]
    assert first["recipe"]["data"]["name"] == "digit_crops"
    assert first["recipe"]["schedule"]["max_steps"] == 3
    assert run["seconds"]["total"] > first["seconds"]["total"]

    started = []
    monkeypatch.setattr(train.Run, "train", lambda self, _: started.append(self.model) or 1 / 0)
    again = workdir.with_name("again")
    shutil.copytree(workdir / PRETRAINING, again / PRETRAINING)
    recipe = Recipe.from_dict(run["recipe"])
    with pytest.raises(ZeroDivisionError):
        train_and_evaluate(recipe, again, verbose=0)
    learned = {v.path: v for v in load_trained(workdir / PRETRAINING).model.variables}
    shared = [v for v in started[0].variables if v.path in learned]
    assert len(shared) == len(learned) - 2  # a kernel and a bias of the classifier
    for variable in shared:
        np.testing.assert_array_equal(variable, learned[variable.path])

    (again / "recipe.json").unlink()
    with pytest.raises(UserError, match="pretraining holds a run of another recipe"):
        train_and_evaluate(recipe.replace({"seed": 1}), again, verbose=0)
    flat = {**first, "recipe": {"name": "digit_crops", "image_size": 36, "epochs": 3}}
    (again / PRETRAINING / "recipe.json").write_text(json.dumps(flat))
    with pytest.raises(UserError, match=r"cannot be read: `image_size` is no field"):
        train_and_evaluate(recipe, again, verbose=0)


@pytest.mark.slow
def test_a_run_stopped_in_pretraining_goes_on_there(finished, few_scenes, tmp_path, monkeypatch):
    """The first run, once more, stopped after two steps of the classifier."""
    _, run = finished
    recipe = Recipe.from_dict(run["recipe"])
    save = Checkpoints.save

    def save_and_stop(self, progress):
        save(self, progress)
        raise Stopped(15)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(Stopped):
            train_and_evaluate(recipe, tmp_path, verbose=0, checkpoint_steps=2)
    assert {path.name for path in tmp_path.iterdir()} == {PRETRAINING, _locking.FILE}
    first = train_and_evaluate(pretraining_recipe(recipe), tmp_path / PRETRAINING, verbose=0)
    assert first["results"] == run["pretraining"]["results"]


def test_pretraining_is_for_one_worker(few_scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(train.strategies, "is_multi_worker", lambda strategy: True)
    monkeypatch.setattr(train.strategies, "is_chief", lambda strategy: True)
    recipe = get_recipe("segmentation_digits")
    with pytest.raises(UserError, match="`pretraining` runs under one worker"):
        train_and_evaluate(recipe, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_results_are_those_of_the_model_that_was_written(finished, few_scenes):
    workdir, run = finished
    trained = load_trained(workdir)
    images, labels = few_scenes.test.items, few_scenes.test.labels  # three batches of 8 hold all
    facts, recipe = facts_of(trained.model), Recipe.from_dict(run["recipe"])
    assert facts[:3] == (recipe.network.config, recipe.images.preprocessing, CLASSES)
    predicted = outputs_of(trained.model, facts.preprocessing.normalize(images)).argmax(-1)
    iou = jaccard_score(labels.ravel(), predicted.ravel(), average=None, labels=range(11))
    assert run["results"]["mean_iou"] == pytest.approx(iou.mean(), abs=1e-3)
    assert run["results"]["pixels"] == labels.size


@pytest.mark.slow
def test_devices_count_every_pixel_once(few_scenes, two_devices):
    """`test_runs.py` has the same of classified images."""
    recipe = get_recipe("segmentation_digits", {"schedule.batch_size": 6})
    task, parts = Segmentation(recipe.decoder), (recipe.images, recipe.schedule)
    with two_devices.scope():
        model = task.build_network(recipe.network, recipe.images, CLASSES)
    means, images = MeanTest(model, task.measure, few_scenes.test, *parts, two_devices)()
    assert images == 20
    assert sum(means[1:]) == pytest.approx(64 * 64)


@pytest.fixture(scope="module")
def exported_scenes(finished, tmp_path_factory):
    """What was exported of the run."""
    from export.command import main as export

    folder = tmp_path_factory.mktemp("export")
    options = ("--format", "saved_model", "tflite", "--precision", "float32", "int8")
    assert export([str(finished[0]), "--out", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def image(finished):
    """A scene of the test, as it is kept for exports."""
    return np.load(finished[0] / "examples.npz")["test_images"][0]


def test_exported_files_agree_with_keras(exported_scenes, image):
    facts = json.loads((exported_scenes / "report.json").read_text())["artefacts"]
    assert all(one["top1_agreement"] >= 99.5 for one in facts.values())
    assert all(one["accuracy"] > 50 for one in facts.values())
    signatures = tf.saved_model.load(exported_scenes / "serving" / "scenes" / "1").signatures
    assert set(signatures) == {"serving_default", "images", "logits"}
    answer = signatures["serving_default"](tf.io.encode_png(image)[None])
    probabilities = open_file(exported_scenes / "tflite" / "scenes_float32.tflite")(image[None])
    np.testing.assert_array_equal(answer["classes"], answer["probabilities"].numpy().argmax(-1))
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)


def test_labels_of_another_size_are_refused(image, tmp_path):
    arrays = {"images": image[None], "test_images": image[None]}
    np.savez(tmp_path / "wrong.npz", **arrays, test_labels=np.zeros((1, 32, 32), "uint8"))
    with pytest.raises(UserError, match=r'"test_labels" of .* must be 64 pixels'):
        Examples.read(
            tmp_path / "wrong.npz", get_recipe("segmentation_digits").images.preprocessing
        )


@pytest.mark.mediapipe
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_mediapipe_segments_with_exported_files(exported_scenes, image, precision):
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    path = exported_scenes / "tflite" / f"scenes_{precision}.tflite"
    options = vision.ImageSegmenterOptions(
        base_options=BaseOptions(model_asset_path=str(path)), output_category_mask=True
    )
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        assert tuple(segmenter.labels) == CLASSES
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        result = segmenter.segment(picture)
        found = result.category_mask.numpy_view().copy()  # it is a view of what the result holds
    expected = open_file(path)(image[None]).argmax(-1)[0]
    assert (found.reshape(64, 64) == expected).mean() > 0.995


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images.exif_orientation": True},
            "`images.exif_orientation` must be False where `decoder` is given",
        ),
        ({"augmentation.mixup": 0.2}, "`augmentation.mixup` must be 0.0 where `decoder` is given"),
        ({"augmentation.erasing": 0.9}, "`augmentation.erasing` must be 0.0 where `decoder`"),
        ({"decoder.name": "deeplab"}, "`decoder.name` must be one of 'fpn', 'unet'"),
        ({"decoder": "fpn"}, "`decoder` must be of type Decoder, or None"),
        ({"decoder.finest_level": 4}, "`decoder.finest_level` must be at most 3"),
    ],
)
def test_recipes_that_maps_do_not_allow(changes, message):
    with pytest.raises(ValueError, match=message):
        get_recipe("segmentation_digits", changes)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("segmentation_digits", "digits", "whole images alone: `decoder` must be None"),
        ("smoke", "digit_scenes", "class of every pixel: `decoder.name` must be fpn or unet"),
    ],
)
def test_data_must_fit_the_task(name, data, message, few_scenes, tmp_path):
    with pytest.raises(UserError, match=message):
        train_and_evaluate(get_recipe(name, {"data.name": data}), tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_parts_of_scenes_can_not_be_taken(few_scenes):
    with pytest.raises(UserError, match="digit_scenes cannot be restricted"):
        load("digit_scenes", classes=("1", "2"))


def test_evaluation_equals_the_final_test(finished, few_scenes, tmp_path, capsys):
    workdir, run = finished
    arguments = [str(workdir), "--data", "digit_scenes", "--out", str(tmp_path)]
    assert evaluate(arguments) == 0
    result = json.loads((tmp_path / "scenes" / "evaluation.json").read_text())
    assert result["mean_iou"] == pytest.approx(run["results"]["mean_iou"], abs=1e-3)
    assert result["iou"].keys() == run["results"]["iou"].keys()
    assert "Test mean IoU" in capsys.readouterr().out
    rows = (tmp_path / "scenes" / "predictions.csv").read_text().splitlines()
    assert rows[0] == "image,pixels,accuracy,mean_iou" and len(rows) == 21

    assert evaluate([str(workdir), "--data", "digits", "--out", str(tmp_path / "no")]) == 2
    error = capsys.readouterr().err
    assert "scenes names the class of every pixel, and digits that of whole images" in error


def test_maps_in_a_table_are_shuffled_with_their_images():
    images = np.arange(6, dtype="uint8")[:, None, None, None] * np.ones((1, 4, 4, 3), "uint8")
    split = TableSplit(images, images[..., 0])
    for image, label in split.shuffled(0, 1).as_numpy_iterator():
        np.testing.assert_array_equal(image[..., 0], label)
