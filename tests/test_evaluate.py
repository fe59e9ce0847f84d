"""Accuracies of networks in every form, and the table beside the published ones."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TAG
from sklearn.datasets import load_sample_images

import regnet_tf
from regnet_tf import Preprocessing
from regnet_tf._errors import UserError
from regnet_tf.class_names import imagenet_classes, imagenet_synsets
from training import evaluate
from training.data import load
from training.evaluation.counting import FILES, match_classes, output_names
from training.evaluation.predictors import load_predictor
from training.recipes import get_recipe

RECIPE = get_recipe("smoke", {"images.crop_fraction": 0.75})


@pytest.fixture(scope="module")
def network():
    """A network of 10 classes whose predictions differ from image to image."""
    keras.utils.set_random_seed(0)
    model = regnet_tf.build_regnet(
        RECIPE.network.config,
        input_shape=(32, 32, 3),
        classes=10,
        preprocessing=RECIPE.images.preprocessing,
    )
    model.get_layer("head").kernel.assign(model.get_layer("head").kernel * 100)
    images = RECIPE.images.preprocessing(load("digits").train.items[:100])
    for _ in range(20):
        model(images, training=True)  # statistics of the digits
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory, network):
    """A folder as `regnet train` leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    network.save(folder / "model.keras")
    (folder / "run.json").write_text(json.dumps({"data": {"name": "digits"}}))
    return folder


@pytest.fixture(scope="module")
def truth(network):
    """Labels of the test digits, and the network's scores for them."""
    split = load("digits").test
    scores = network.predict(RECIPE.images.preprocessing(split.items), verbose=0)
    assert len(set(scores.argmax(-1))) > 3  # or the tests below would see nothing
    return split.labels, scores


def command(*arguments):
    return evaluate.main([str(argument) for argument in arguments])


def top1(labels, scores):
    return 100 * (scores.argmax(-1) == labels).mean()


def top5(labels, scores):
    best = np.argsort(-scores, -1)[:, :5]
    return 100 * (best == labels[:, None]).any(-1).mean()


def test_a_run_of_training(run, truth, tmp_path, capsys):
    assert command("--model", run, "--out", tmp_path, "--batch-size", 64) == 0
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == set(FILES)
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["top1"] == pytest.approx(top1(*truth))
    assert result["top5"] == pytest.approx(top5(*truth))
    assert (result["images"], result["data"], result["split"]) == (450, "digits", "test")
    assert Preprocessing(**result["preprocessing"]) == RECIPE.images.preprocessing
    printed = capsys.readouterr().out
    assert f"top-1 {result['top1']:.3f} %" in printed and str(folder / "classes.csv") in printed

    labels, scores = truth
    for row in csv.DictReader((folder / "classes.csv").read_text().splitlines()):
        of_class = labels == int(row["class"])
        assert int(row["images"]) == of_class.sum()
        expected = top1(labels[of_class], scores[of_class])
        assert float(row["top1"]) == pytest.approx(expected, abs=0.006)
    confusion = list(csv.DictReader((folder / "confusion.csv").read_text().splitlines()))
    assert sum(int(row["images"]) for row in confusion) == 450
    right = sum(int(row["images"]) for row in confusion if row["class"] == row["taken_for"])
    assert 100 * right / 450 == pytest.approx(result["top1"])


def test_classes_of_other_names_are_matched_by_order_aloud(network, tmp_path, capsys):
    head = network.get_layer("head")
    head.class_names = tuple("abcdefghij")
    network.save(tmp_path / "letters.keras")
    head.class_names = None
    arguments = (
        "--model",
        tmp_path / "letters.keras",
        "--data",
        "digits",
        "--out",
        tmp_path / "out",
    )
    assert command(*arguments) == 0
    printed = capsys.readouterr().out
    assert "classes are matched by order: '0' is the network's 'a' ..." in printed


def test_what_is_there_is_not_computed_again(run, tmp_path, monkeypatch, capsys):
    def loading(*_):
        raise AssertionError

    arguments = ("--model", run, "--out", tmp_path)
    assert command(*arguments) == 0
    (tmp_path / "run" / "classes.csv").unlink()
    assert command(*arguments, "--crop-fraction", "0.5") == 0  # another setting counts anew
    written = (tmp_path / "run" / "evaluation.json").read_text()
    assert Preprocessing(**json.loads(written)["preprocessing"]).crop_fraction == 0.5
    assert command(*arguments, "--overwrite") == 0
    monkeypatch.setattr(evaluate, "_predictor", loading)
    capsys.readouterr()
    assert command(*arguments) == 0
    assert "evaluated earlier" in capsys.readouterr().out


def test_saved_model(network, truth, tmp_path):
    network.export(tmp_path / "saved", verbose=False)
    arguments = ("--data", "digits", "--crop-fraction", "0.75", "--out", tmp_path / "out")
    assert command("--model", tmp_path / "saved", *arguments) == 0
    result = json.loads((tmp_path / "out" / "saved" / "evaluation.json").read_text())
    assert result["top1"] == pytest.approx(top1(*truth), abs=0.3)  # another order of sums


def test_saved_model_that_normalizes_itself(network, truth, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
    def images(images):
        return {
            "probabilities": network(RECIPE.images.preprocessing.normalize(images), training=False)
        }

    module = tf.Module()
    module.network = network
    tf.saved_model.save(module, tmp_path / "saved", {"images": images})
    predictor = load_predictor(tmp_path / "saved")
    assert (predictor.normalized, predictor.classes, predictor.image_size) == (False, 10, 32)
    crops = RECIPE.images.preprocessing.resize_and_crop(load("digits").test.items)
    np.testing.assert_allclose(predictor.scores(crops), truth[1], rtol=1e-3, atol=1e-5)


def test_tflite(network, truth, tmp_path):
    pytest.importorskip("ai_edge_litert")
    network.export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    predictor = load_predictor(tmp_path / "net.tflite")
    images = RECIPE.images.preprocessing(load("digits").test.items[:20])
    np.testing.assert_allclose(predictor.scores(images), truth[1][:20], rtol=1e-3, atol=1e-5)


def test_weight_file(state_dict, tmp_path):
    file = tmp_path / "weights.npz"
    regnet_tf.write_state_dict(file, state_dict)
    with pytest.raises(UserError, match=r"weights.npz needs a `variant`"):
        load_predictor(file)
    predictor = load_predictor(file, "regnetx_002")
    model = regnet_tf.build_regnet("regnetx_002", weights=file)
    images = RECIPE.images.preprocessing(load("digits").test.items[:4])
    np.testing.assert_allclose(predictor.scores(images), model.predict(images), rtol=1e-4)
    assert (predictor.classes, predictor.image_size, predictor.normalized) == (1000, None, True)


# Published accuracies.


@pytest.fixture
def photographs(tmp_path):
    """JPEGs in folders that are named by ImageNet's synsets: not the first ones."""
    folder = tmp_path / "photographs"
    rng = np.random.default_rng(0)
    images = load_sample_images().images
    for number in (3, 500, 999):
        synset = imagenet_classes()[number][0]
        (folder / synset).mkdir(parents=True)
        for image in range(2):
            y, x = rng.integers(0, 150, 2)
            crop = images[image][y : y + 260, x : x + 300]
            content = tf.io.encode_jpeg(crop).numpy()
            (folder / synset / f"{image}.jpeg").write_bytes(content)
    return folder


def test_published_accuracies(hub, photographs, tmp_path, capsys):
    arguments = ("--model", TAG, "--data", photographs, "--out", tmp_path / "out")
    assert command(*arguments, "--compare-published") == 0
    printed = capsys.readouterr()
    assert "of the 50,000 images of ImageNet's validation set" in printed.err
    rows = list(csv.DictReader((tmp_path / "out" / "published.csv").read_text().splitlines()))
    published = regnet_tf.weights_info(TAG).published
    assert [row["by"] for row in rows] == [entry["source"] for entry in published]
    assert [float(row["published"]) for row in rows] == [entry["top1"] for entry in published]
    assert {row["by"]: row["interpolation"] for row in rows} == {
        "timm": "bicubic",
        "pycls": "pycls",
    }
    assert [(row["pixels"], row["of"]) for row in rows] == [("224", "256")] * 2

    model = regnet_tf.build_regnet(TAG, weights=True)
    files = sorted(photographs.rglob("*.jpeg"))
    labels = np.array([3, 3, 500, 500, 999, 999])
    for row in rows:
        preprocessing = Preprocessing(interpolation=row["interpolation"])
        scores = model.predict(preprocessing(files), verbose=0)
        assert float(row["here"]) == pytest.approx(top1(labels, scores), abs=0.001)
        folder = tmp_path / "out" / TAG / f"{row['by']}_224"
        taken = {
            line["taken_for"]
            for line in csv.DictReader((folder / "confusion.csv").read_text().splitlines())
        }
        assert taken == {imagenet_classes()[index][0] for index in scores.argmax(-1)}
        difference = float(row["here"]) - float(row["published"])
        assert float(row["difference"]) == pytest.approx(difference, abs=0.002)
    assert TAG in printed.out and (tmp_path / "out" / "published.md").is_file()


def test_every_published_accuracy_has_a_setting():
    options = evaluate._parser().parse_args(["--model", "all", "--compare-published"])
    jobs = evaluate._jobs(options)
    published = [len(regnet_tf.weights_info(tag).published) for tag in regnet_tf.list_weights()]
    assert len(jobs) == sum(published) == 108
    assert len({job.folder for job in jobs}) == len(jobs)


def test_classes_are_matched_by_name():
    assert match_classes(("ant", "bee"), 2) is None
    assert match_classes(("ant", "bee"), 2, ("ant", "bee")) is None
    assert match_classes(("ant", "bee"), 2, ("Ameise", "Biene")) is None
    np.testing.assert_array_equal(match_classes(("bee", "ant"), 2, ("ant", "bee")), [1, 0])
    synsets = imagenet_synsets()
    np.testing.assert_array_equal(match_classes((synsets[7], synsets[2]), 1000, synsets), [7, 2])
    with pytest.raises(UserError, match=r"has 1000 classes, such as n01.* data set has 2, such"):
        match_classes(("ant", "bee"), 1000, synsets)
    with pytest.raises(UserError, match="has 3 classes, with unknown names"):
        match_classes(("ant", "bee"), 3)


def test_a_network_knows_the_order_of_its_classes(network, truth, tmp_path):
    """The classes of the data set come in another order, and one file says everything."""
    digits = network.get_layer("head")
    digits.class_names = tuple("0123456789")
    network.save(tmp_path / "net.keras")
    digits.class_names = None
    predictor = load_predictor(tmp_path / "net.keras")
    assert predictor.preprocessing == RECIPE.images.preprocessing
    labels = match_classes(tuple("9876543210"), 10, output_names(predictor))
    np.testing.assert_array_equal(labels, np.arange(10)[::-1])


# Errors.


def test_errors_are_one_line(run, tmp_path, capsys):
    text = tmp_path / "text.keras"
    text.write_text("no network")
    (tmp_path / "no.tflite").write_text("no network")
    (tmp_path / "weights").mkdir()
    for arguments, message in (
        (["--model", "regnety_32"], "Received: 'regnety_32'. Nearest: regnety_3"),
        (["--model", TAG], "`data` must be given"),
        (["--model", run, "--compare-published"], "No accuracy is published for"),
        (["--model", "regnety_320.seer", "--compare-published"], "No accuracy is published"),
        (["--model", run, "--data", "digitz"], "No data set is called 'digitz'"),
        (["--model", text, "--data", "digits"], "text.keras cannot be read"),
        (["--model", tmp_path / "no.tflite", "--data", "digits"], "no.tflite cannot be read"),
        (["--model", tmp_path / "weights", "--data", "digits"], "needs a `variant`"),
        (["--model", run, "--image-size", "40"], "`image_size` must be 32"),
        (["--model", run, "--interpolation", "nearest"], "`interpolation` must be one of"),
    ):
        assert command(*arguments, "--out", tmp_path / "out") == 2
        printed = capsys.readouterr().err
        assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_scores_that_are_no_numbers(network, tmp_path, capsys):
    broken = keras.models.clone_model(network)
    broken.get_layer("head").bias.assign([np.nan] * 10)
    broken.save(tmp_path / "broken.keras")
    arguments = ("--data", "digits", "--out", tmp_path / "out")
    assert command("--model", tmp_path / "broken.keras", *arguments) == 2
    assert "broken returned scores that are not finite" in capsys.readouterr().err


def test_help(run_python):
    assert "--compare-published" in run_python("-m", "training.evaluate", "--help")
