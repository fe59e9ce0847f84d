"""Accuracies of networks in every form, and the table next to the published ones."""

import contextlib
import csv
import io
import json
import shutil
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TAG
from networks import outputs_of
from sklearn import metrics
from sklearn.datasets import load_sample_images

import regnet_tf
from regnet_tf import Preprocessing
from regnet_tf._errors import UserError
from regnet_tf._opening import open_predictor
from regnet_tf._predictors import Predictor, with_names
from regnet_tf.class_names import imagenet_classes, imagenet_synsets
from training import evaluate
from training.data import load
from training.evaluation.jobs import jobs_of
from training.evaluation.matching import match_classes, matched
from training.evaluation.published import published_set
from training.evaluation.testing import FILES
from training.loop.directory import write_run
from training.loop.loading import load_for
from training.recipes import get_recipe

RECIPE = get_recipe("smoke", {"images.crop_fraction": 0.75})
DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def network():
    """A network of 10 classes whose predictions differ from image to image."""
    keras.utils.set_random_seed(0)
    model = regnet_tf.build_regnet(
        RECIPE.network.config,
        input_shape=(32, 32, 3),
        class_names=DIGITS,
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
    facts = {"recipe": RECIPE.to_dict(), "data": {"name": "digits"}}
    write_run(facts, folder)
    return folder


@pytest.fixture(scope="module")
def truth(network):
    """Labels of the test digits, and the network's scores for them."""
    split = load("digits").test
    scores = outputs_of(network, RECIPE.images.preprocessing(split.items))
    assert len(set(scores.argmax(-1))) > 3  # or the tests below would see nothing
    return split.labels, scores


def command(*arguments):
    return evaluate.main([str(argument) for argument in arguments])


def accuracy(labels, scores):
    return (scores.argmax(-1) == labels).mean()


def table(file):
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.fixture
def labels(tmp_path):
    """A file with the names of the digits."""
    file = tmp_path / "digits.txt"
    file.write_text("\n".join(DIGITS) + "\n")
    return file


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory):
    """The folder of the run's evaluation, and what was printed."""
    out, printed = tmp_path_factory.mktemp("evaluated"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert command(run, "--out", out, "--batch-size", 64) == 0
    return out / "run", printed.getvalue()


def test_a_run_of_training(evaluated, truth):
    """Without --data, it is tested on what its training held out."""
    folder, printed = evaluated
    assert {path.name for path in folder.iterdir()} == set(FILES)
    result = json.loads((folder / "evaluation.json").read_text())
    labels, scores = truth
    predicted = scores.argmax(-1)
    assert result["accuracy"] == pytest.approx(accuracy(*truth))
    expected = metrics.top_k_accuracy_score(labels, scores, k=5)
    assert result["top5_accuracy"] == pytest.approx(expected)
    expected = metrics.balanced_accuracy_score(labels, predicted)
    assert result["balanced_accuracy"] == pytest.approx(expected)
    assert result["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert (result["images"], result["data"], result["split"]) == (450, "digits", "test")
    assert Preprocessing.from_dict(result["preprocessing"]) == RECIPE.images.preprocessing
    assert f"Test accuracy {result['accuracy']:.2%}" in printed
    assert str(folder / "classes.csv") in printed and "was trained on" not in printed

    recalls = metrics.recall_score(labels, predicted, average=None)
    for row, recall in zip(table(folder / "classes.csv"), recalls, strict=True):
        assert int(row["images"]) == (labels == int(row["class"])).sum()
        assert float(row["recall"]) == pytest.approx(recall, abs=1e-4)
    confusion = table(folder / "confusion.csv")
    assert sum(int(row["images"]) for row in confusion) == 450
    rows = table(folder / "predictions.csv")
    assert [row["prediction"] for row in rows] == [DIGITS[place] for place in predicted]
    found = np.array([float(row["probability"]) for row in rows])
    np.testing.assert_allclose(found, scores.max(-1), atol=1e-4)


def test_grad_cam_of_mistakes(run, evaluated, tmp_path):
    assert command(run, "--out", tmp_path, "--grad-cam") == 0
    folders = (evaluated[0], tmp_path / "run")
    files = [(folder / "mistakes.png").read_bytes() for folder in folders]
    sizes = [tf.io.decode_png(content).shape for content in files]
    assert sizes[1][0] > sizes[0][0]  # half the columns, so more rows


@pytest.fixture
def photos(tmp_path):
    """Digits as PNG files in a folder for each class; and a run that was trained on 80 % of it."""
    folder = tmp_path / "photos"
    split = load("digits").test
    for number, (image, label) in enumerate(zip(split.items[:100], split.labels, strict=False)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        content = tf.io.encode_png(image).numpy()
        (folder / str(label) / f"{number:03}.png").write_bytes(content)
    return folder


def run_on(network, photos, name="mine"):
    recipe = RECIPE.replace(
        {"data.name": str(photos), "data.split_seed": 3, "data.test_share": 0.2}
    )
    folder = photos.parent / name
    folder.mkdir()
    network.save(folder / "model.keras")
    write_run({"recipe": recipe.to_dict()}, folder)
    return folder, load_for(recipe)


def test_a_run_on_a_folder_is_tested_on_what_it_held_out(network, photos, tmp_path, capsys):
    folder, data = run_on(network, photos)
    assert command(folder, "--out", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "mine" / "predictions.csv")
    assert [row["image"] for row in rows] == list(data.test.paths) and 10 < len(rows) < 40
    assert all(f"/{row['truth']}/" in row["image"] for row in rows)
    capsys.readouterr()

    link = tmp_path / "link"  # the same folder by another name
    link.symlink_to(photos)
    assert command(folder, "--data", link, "--out", tmp_path / "all") == 0
    result = json.loads((tmp_path / "all" / "mine" / "evaluation.json").read_text())
    assert result["images"] == 100
    printed = capsys.readouterr().out
    assert f"It was trained on {data.train.size} of these 100 images" in printed


def test_classes_in_another_order_are_matched_by_name(network, truth, tmp_path):
    """The network's outputs and names are both reversed, so nothing else changes."""
    reversed_one = keras.models.clone_model(network)
    reversed_one.set_weights([*network.get_weights()])
    head = reversed_one.get_layer("head")
    head.kernel.assign(network.get_layer("head").kernel[:, ::-1])
    head.bias.assign(network.get_layer("head").bias[::-1])
    head.class_names = DIGITS[::-1]
    reversed_one.save(tmp_path / "reversed.keras")
    assert command(tmp_path / "reversed.keras", "--data", "digits", "--out", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "reversed.keras" / "evaluation.json").read_text())
    assert result["accuracy"] == pytest.approx(accuracy(*truth), abs=0.003)
    recalls = metrics.recall_score(truth[0], truth[1].argmax(-1), average=None)
    assert [result["recall"][name] for name in DIGITS] == pytest.approx(list(recalls), abs=0.03)


def test_a_data_set_of_some_of_the_classes(network, photos, truth, tmp_path):
    for name in DIGITS:
        if name not in ("3", "7"):
            shutil.rmtree(photos / name)
    network.save(tmp_path / "net.keras")
    assert command(tmp_path / "net.keras", "--data", photos, "--out", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "net.keras" / "evaluation.json").read_text())
    assert result["recall"].keys() == result["support"].keys() == {"3", "7"}
    labels, scores = (one[:100] for one in truth)
    kept = np.isin(labels, (3, 7))
    assert result["accuracy"] == pytest.approx(accuracy(labels[kept], scores[kept]), abs=1e-6)
    assert "were compared" not in result["summary"]
    arguments = ("--data", photos, "--out", tmp_path / "out", "--only-its-classes", "--overwrite")
    assert command(tmp_path / "net.keras", *arguments) == 0
    result = json.loads((tmp_path / "out" / "net.keras" / "evaluation.json").read_text())
    expected = ((scores[:, 3] < scores[:, 7])[kept] == (labels[kept] == 7)).mean()
    assert result["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert "Only the scores of the data set's 2 of 10 classes were compared" in result["summary"]


def test_networks_that_do_not_know_their_classes(network, labels, truth, tmp_path, capsys):
    head = network.get_layer("head")
    for names, message in (
        (
            None,
            "know the names of its 10 classes. The data set's 10 are '0', '1', '2' and 7 more",
        ),
        (
            tuple("abcdefghij"),
            "has 10: 'a', 'b', 'c' and 7 more. The data set has 10: '0', '1', '2' and 7 more.",
        ),
    ):
        head.class_names = names
        network.save(tmp_path / "net.keras")
        head.class_names = DIGITS
        arguments = (tmp_path / "net.keras", "--data", "digits", "--out", tmp_path / "out")
        assert command(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error and "--labels FILE" in error and error.count("\n") == 1
    assert command(*arguments, "--labels", labels) == 0
    result = json.loads((tmp_path / "out" / "net.keras" / "evaluation.json").read_text())
    assert result["accuracy"] == pytest.approx(accuracy(*truth))
    labels.write_text("0\n1\n")
    assert command(*arguments, "--labels", labels) == 2
    assert "`labels` must hold 10 different names" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), pytest.param(("--scale", "1"), marks=pytest.mark.slow)])
def test_a_network_that_normalizes_its_images(network, truth, tmp_path, arguments, capsys):
    """Its accuracy is what Keras' own evaluation finds on levels."""
    inputs = keras.Input((32, 32, 3))
    levels = keras.layers.Rescaling(255.0)(inputs) if arguments else inputs
    preprocessing = RECIPE.images.preprocessing
    mean, std = (255 * np.array(one) for one in (preprocessing.mean, preprocessing.std))
    x = keras.layers.Normalization(mean=mean, variance=std**2)(levels)
    model = keras.Model(inputs, network(x))
    model.compile(metrics=["accuracy"], loss="sparse_categorical_crossentropy")
    split = load("digits").test
    crops = preprocessing.resize_and_crop(split.items)
    fed = np.asarray(crops, "float32") / (255 if arguments else 1)
    expected = model.evaluate(fed, split.labels, verbose=0, return_dict=True)["accuracy"]
    assert expected == pytest.approx(accuracy(*truth), abs=0.005)
    model.save(tmp_path / "levels.keras")
    others = ("--data", "digits", "--out", tmp_path / "out", *arguments)
    assert command(tmp_path / "levels.keras", *others) == 0
    result = json.loads((tmp_path / "out" / "levels.keras" / "evaluation.json").read_text())
    assert result["accuracy"] == pytest.approx(expected, abs=1e-6)
    said = "levels normalizes its images itself; levels of 0 to 255 are fed. --mean, --std"
    assert (said in capsys.readouterr().out) is not bool(arguments)


def test_a_damaged_image_is_named(run, photos, capsys, tmp_path):
    (photos / "3" / "broken.png").write_bytes(b"no image")
    assert command(run, "--data", photos, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "broken.png" in error and error.count("\n") == 1


def test_networks_of_several_classes_an_image(tmp_path):
    """The data set has some of the network's classes, in another order."""
    rng = np.random.default_rng(0)
    scores, has = rng.random((60, 4)), rng.random((60, 2)) < 0.4
    predictor = Predictor(
        "net", 4, lambda images: scores[images], False, None, tuple("abcd"), None, independent=True
    )
    data = SimpleNamespace(
        target="classes", class_names=("c", "a"), any_class=False, only_its_classes=False
    )
    numbers = tf.data.Dataset.from_tensor_slices((np.arange(60), has)).batch(60)
    chosen, batches = matched(predictor, data, numbers)
    ((images, labels),) = batches
    np.testing.assert_array_equal(labels, has)
    np.testing.assert_array_equal(chosen.scores(images), scores[:, [2, 0]])
    assert (chosen.class_names, chosen.classes, chosen.places) == (("c", "a"), 2, (2, 0))


def test_a_table_of_several_classes_an_image(photos, tmp_path):
    """A CSV file, and a network with one class more than it."""
    files = sorted(photos.rglob("*.png"))
    rng = np.random.default_rng(0)
    has = rng.random((len(files), 3)) < (0.6, 0.4, 0.2)
    has[0] = True
    names = ("ink", "round", "thin")
    lines = [
        f"{file},{';'.join(np.array(names)[one])}" for file, one in zip(files, has, strict=True)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,labels", *lines]))
    model = regnet_tf.build_regnet(
        RECIPE.network.config,
        input_shape=(32, 32, 3),
        class_names=("thin", "none", "round", "ink"),
        classifier_activation="sigmoid",
        preprocessing=RECIPE.images.preprocessing,
    )
    head = model.get_layer("head")
    head.kernel.assign(head.kernel * 100)
    model.save(tmp_path / "net.keras")
    words = ("--data", tmp_path / "labels.csv", "--out", tmp_path / "out", "--grad-cam")
    assert command(tmp_path / "net.keras", *words) == 0
    result = json.loads((tmp_path / "out" / "net.keras" / "evaluation.json").read_text())
    scores = outputs_of(model, RECIPE.images.preprocessing(list(map(str, files))))
    scores = scores[:, [3, 2, 0]]
    expected = metrics.average_precision_score(has, scores)
    assert result["mean_average_precision"] == pytest.approx(expected, abs=1e-4)
    assert result["micro_f1"] == pytest.approx(metrics.f1_score(has, scores > 0.5, average="micro"))
    assert result["support"] == dict(zip(names, has.sum(0).tolist(), strict=True))


def test_maps_keep_their_ignored_pixels():
    predictor = Predictor("net", 3, None, False, None, tuple("abc"), None, named="pixels")
    data = SimpleNamespace(target="pixels", class_names=("c", "a"), only_its_classes=False)
    maps = np.array([[[0, 1], [255, 0]]])
    _, batches = matched(predictor, data, tf.data.Dataset.from_tensors((0, maps)))
    ((_, labels),) = batches
    np.testing.assert_array_equal(labels, [[[2, 0], [255, 2]]])


def test_what_is_there_is_not_computed_again(run, tmp_path, monkeypatch, capsys):
    def loading(*_):
        raise AssertionError

    run = shutil.copytree(run, tmp_path / "run")
    arguments = (run, "--out", tmp_path / "out")
    assert command(*arguments) == 0
    monkeypatch.setattr(evaluate, "_predictor", loading)
    capsys.readouterr()
    assert command(*arguments) == 0
    assert "evaluated earlier" in capsys.readouterr().out
    for more in (["--overwrite"], ["--crop-fraction", "0.5"]):  # another setting counts anew
        with pytest.raises(AssertionError):
            command(*arguments, *more)
    (run / "model.keras").touch()  # a new network
    with pytest.raises(AssertionError):
        command(*arguments)


def test_a_setting_is_written(run, tmp_path):
    arguments = (run, "--out", tmp_path, "--crop-fraction", "0.5")
    assert command(*arguments) == 0
    written = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert Preprocessing(**written["preprocessing"]).crop_fraction == 0.5


def test_saved_model(network, truth, labels, tmp_path):
    network.export(tmp_path / "saved", verbose=False)
    arguments = ("--data", "digits", "--crop-fraction", "0.75", "--out", tmp_path / "out")
    assert command(tmp_path / "saved", *arguments) == 2  # nothing in it names its classes
    assert command(tmp_path / "saved", *arguments, "--labels", labels) == 0
    result = json.loads((tmp_path / "out" / "saved" / "evaluation.json").read_text())
    assert result["accuracy"] == pytest.approx(accuracy(*truth), abs=0.003)  # another order of sums

    extra = tmp_path / "saved" / "assets.extra"
    extra.mkdir()
    shutil.copy(labels, extra / "labels.txt")
    preprocessing = RECIPE.images.preprocessing
    assert open_predictor(tmp_path / "saved").class_names == DIGITS
    facts = {"preprocessing": preprocessing.to_dict(), "independent": True}
    names = [f"n{name}" for name in DIGITS]  # the labels are for people
    (extra / "facts.json").write_text(json.dumps({**facts, "class_names": names}))
    predictor = open_predictor(tmp_path / "saved")
    assert (predictor.class_names, predictor.preprocessing) == (tuple(names), preprocessing)
    assert predictor.independent
    for damaged in (
        '{"preprocessing": {"size": 3}}',
        "[" * 200_000,
        json.dumps({**facts, "class_names": [1, 2]}),
        json.dumps({**facts, "class_names": names, "preprocessing": {"image_size": 10**400}}),
    ):
        (extra / "facts.json").write_text(damaged)
        with pytest.raises(UserError, match=r"facts.json of .*saved is damaged"):
            open_predictor(tmp_path / "saved")


def test_saved_model_that_normalizes_itself(network, truth, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
    def images(images):
        return {
            "probabilities": network(RECIPE.images.preprocessing.normalize(images), training=False)
        }

    module = tf.Module()
    module.network = network
    tf.saved_model.save(module, tmp_path / "saved", {"images": images})
    predictor = open_predictor(tmp_path / "saved")
    assert (predictor.normalized, predictor.classes, predictor.image_size) == (False, 10, 32)
    crops = RECIPE.images.preprocessing.resize_and_crop(load("digits").test.items)
    np.testing.assert_allclose(predictor.scores(crops), truth[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "batch", [8, *(pytest.param(one, marks=pytest.mark.slow) for one in (None, 1))]
)
def test_tflite(network, truth, labels, tmp_path, batch):
    """Also with a fixed batch, which its runtime accepts alone."""
    pytest.importorskip("ai_edge_litert")
    spec = keras.InputSpec("float32", (batch, 32, 32, 3))
    network.export(tmp_path / "saved", verbose=False, input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    file = tmp_path / "net.tflite"
    file.write_bytes(converter.convert())
    assert open_predictor(file).class_names is None
    with zipfile.ZipFile(file, "a") as archive:
        archive.write(labels, "labels.txt")
    predictor = open_predictor(file)
    assert (predictor.class_names, predictor.image_size) == (DIGITS, 32)
    images = RECIPE.images.preprocessing(load("digits").test.items[:20])
    for _ in range(2):
        scores = predictor.scores(images)
        np.testing.assert_allclose(scores, truth[1][:20], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(predictor.scores(images[:3]), truth[1][:3], rtol=1e-3, atol=1e-5)


def test_weight_file(state_dict, tmp_path):
    file = tmp_path / "weights.npz"
    regnet_tf.write_state_dict(file, state_dict)
    with pytest.raises(UserError, match=r"weights.npz needs a `variant`"):
        open_predictor(file)
    predictor = open_predictor(file, "regnetx_002")
    model = regnet_tf.build_regnet("regnetx_002", weights=file)
    images = RECIPE.images.preprocessing(load("digits").test.items[:4])
    np.testing.assert_allclose(predictor.scores(images), outputs_of(model, images), rtol=1e-4)
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
    arguments = (TAG, "--data", photographs, "--out", tmp_path / "out")
    assert command(*arguments, "--compare-published") == 0
    printed = capsys.readouterr()
    assert "of the 50,000 images of ImageNet; " in printed.err
    rows = list(csv.DictReader((tmp_path / "out" / "published.csv").read_text().splitlines()))
    published = regnet_tf.weights_info(TAG).accuracies("imagenet2012")
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
        scores = outputs_of(model, preprocessing(files))
        assert float(row["here"]) == pytest.approx(100 * accuracy(labels, scores), abs=0.001)
        folder = tmp_path / "out" / TAG / f"{row['by']}_224"
        taken = {line["taken_for"] for line in table(folder / "confusion.csv")}
        assert taken == {imagenet_classes()[index][0] for index in scores.argmax(-1)}
        difference = float(row["here"]) - float(row["published"])
        assert float(row["difference"]) == pytest.approx(difference, abs=0.002)
    assert TAG in printed.out and (tmp_path / "out" / "published.md").is_file()

    # A folder with the name of another data set, whose accuracies are published, too.
    photographs.rename(tmp_path / "imagenet-r")
    arguments = (TAG, "--data", tmp_path / "imagenet-r", "--out", tmp_path / "out")
    assert command(*arguments, "--compare-published") == 0
    assert "of the 30,000 images of ImageNet-R; " in capsys.readouterr().err
    (row,) = table(tmp_path / "out" / "published.csv")
    assert (row["by"], float(row["published"])) == ("timm", 28.840)


def test_every_published_accuracy_has_a_setting():
    for dataset, count in {
        "imagenet2012": 130,
        **dict.fromkeys(("imagenet2012_real", "imagenet_v2", "imagenet_a", "imagenet_sketch"), 67),
    }.items():
        jobs = jobs_of(["all"], dataset)
        assert len(jobs) == len({job.folder for job in jobs}) == count
        assert all(job.published["dataset"] == dataset for job in jobs)


def test_published_sets_by_name():
    for data, expected in {
        "imagenet_a": "imagenet_a",
        "imagenet_r:0.2.0": "imagenet_r",
        "data/imagenet-r": "imagenet_r",
        "photographs": "imagenet2012",
        None: "imagenet2012",
    }.items():
        assert published_set(data) == expected
    assert published_set("val", real_labels=True) == "imagenet2012_real"


def named(outputs, classes=None):
    return Predictor("net", classes or len(outputs), None, True, None, outputs, None)


def test_classes_are_matched_by_name(capsys):
    np.testing.assert_array_equal(match_classes(("ant", "bee"), named(("ant", "bee"))), [0, 1])
    np.testing.assert_array_equal(match_classes(("bee", "ant"), named(("ant", "bee"))), [1, 0])
    synsets = imagenet_synsets()
    imagenet = with_names(named(None, 1000), None)
    np.testing.assert_array_equal(match_classes((synsets[7], synsets[2]), imagenet), [7, 2])
    assert imagenet.assumed == (
        "net does not know the names of its 1000 classes; ImageNet's are assumed.",
    )
    with pytest.raises(UserError, match=r"net has 1000: 'n01.* data set has 2: 'ant', 'bee'. Unk"):
        match_classes(("ant", "bee"), imagenet)
    with pytest.raises(UserError, match="net does not know the names of its 3 classes"):
        match_classes(("ant", "bee"), named(None, 3))
    with pytest.raises(UserError, match="Unknown to the network: 'bee'"):
        match_classes(("ant", "bee"), named(("ant", "Biene")))


# Errors.


def test_errors_are_one_line(run, tmp_path, capsys):
    text = tmp_path / "text.keras"
    text.write_text("no network")
    (tmp_path / "no.tflite").write_text("no network")
    (tmp_path / "weights").mkdir()
    for arguments, message in (
        (["regnety_32"], "Received: 'regnety_32'. Nearest: regnety_3"),
        ([TAG], "`data` must be given"),
        ([text, "--variant", "regnetx_2"], "`--variant` must be a known RegNet"),
        ([run, "--compare-published"], "No accuracy is published for"),
        (["regnety_320.seer", "--compare-published"], "No accuracy is published"),
        ([run, "--data", "digitz"], "No data set is called 'digitz'"),
        ([text, "--data", "digits"], "text.keras is damaged"),
        ([tmp_path / "no.tflite", "--data", "digits"], "no.tflite cannot be read"),
        ([tmp_path / "weights", "--data", "digits"], "needs a `variant`"),
        ([run, "--real-labels", text], "--real-labels needs --data"),
        ([run, "--image-size", "40"], "`image_size` must be 32"),
        ([run, "--interpolation", "nearest"], "`interpolation` must be one of"),
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
    assert command(tmp_path / "broken.keras", *arguments) == 2
    assert "broken returned scores that are not finite" in capsys.readouterr().err


def test_help(run_python):
    assert "--compare-published" in run_python("-m", "training.evaluate", "--help")
