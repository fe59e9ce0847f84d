"""ImageNet-ReaL, V2, A, R and Sketch in small, as tensorflow-datasets and folders hold them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from networks import outputs_of
from sklearn.datasets import load_sample_images

import regnet_tf
from regnet_tf._errors import UserError
from regnet_tf.class_names import imagenet_subset, imagenet_synsets
from training import evaluate
from training.data import load, tfds_catalog
from training.evaluation.real_labels import with_real_labels
from training.recipes import get_recipe

RECIPE = get_recipe("smoke", {"images.crop_fraction": 0.75})
COUNT = 24


@pytest.fixture(scope="module")
def network():
    """A network of ImageNet's classes without close scores."""
    keras.utils.set_random_seed(0)
    model = regnet_tf.build_regnet(
        RECIPE.network.config,
        input_shape=(32, 32, 3),
        class_names=imagenet_synsets(),
        preprocessing=RECIPE.images.preprocessing,
    )
    model.get_layer("head").kernel.assign(model.get_layer("head").kernel * 100)
    return model


@pytest.fixture(scope="module")
def images():
    """JPEG files of parts of photographs, no two the same."""
    photograph, rng = load_sample_images().images[0], np.random.default_rng(0)
    corners = rng.integers(0, 300, (COUNT, 2))
    crops = (photograph[y : y + 48, x : x + 48] for y, x in corners)
    return [tf.io.encode_jpeg(crop, quality=95).numpy() for crop in crops]


@pytest.fixture(scope="module")
def scores(network, images):
    inputs = tf.concat([RECIPE.images.preprocessing(image) for image in images], 0)
    return outputs_of(network, inputs)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    file = tmp_path_factory.mktemp("networks") / "net.keras"
    network.save(file)
    return file


def store(folder, name, split, examples):
    """Writes examples as tensorflow-datasets prepares them."""
    builder = tfds_catalog.find(name, folder)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=builder.name,
        config=builder.builder_config and builder.builder_config.name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={split: list(enumerate(examples))},
        data_dir=folder,
    )


def labels_of(split, images):
    """Returns the labels of a split, in the order of `images`; None of images that it lacks."""
    found = {image.numpy(): label.numpy() for image, label in split.examples()}
    return [found.get(image) for image in images]


def run(*arguments):
    return evaluate.main([str(argument) for argument in arguments])


def evaluation(folder):
    return json.loads((folder / "net.keras" / "evaluation.json").read_text())


def test_classes_of_imagenet_a_and_r():
    """Counts and sums of the label numbers in the authors' tables."""
    numbers = {name: [] for name in ("imagenet_a", "imagenet_r")}
    for name, found in numbers.items():
        found += map(imagenet_synsets().index, imagenet_subset(name))
        assert found == sorted(set(found)) and len(found) == 200
    assert numbers["imagenet_a"][:6] == [6, 11, 13, 15, 17, 22]
    assert numbers["imagenet_a"][-3:] == [986, 987, 988]
    assert (sum(numbers["imagenet_a"]), sum(numbers["imagenet_r"])) == (102_178, 86_135)
    assert imagenet_subset("imagenet_r")[:2] == ("n01443537", "n01484850")
    assert imagenet_subset("imagenet_v2") is None


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r", "imagenet_v2", "imagenet_sketch"])
def test_data_sets_of_tensorflow_datasets(name, images, tmp_path):
    classes = imagenet_subset(name) or imagenet_synsets()
    labels = np.random.default_rng(0).integers(0, len(classes), COUNT)
    examples = [
        {"image": image, "label": classes[label], "file_name": ""}
        for image, label in zip(images, labels, strict=True)
    ]
    store(tmp_path, name, "test", examples)
    data = load(name, tmp_path)
    assert (data.class_names, data.train, data.target) == (classes, None, "class")
    assert data.test.size == COUNT and not data.any_class
    np.testing.assert_array_equal(labels_of(data.test, images), labels)


def test_only_the_classes_of_imagenet_a_are_compared(saved, images, scores, tmp_path):
    classes = imagenet_subset("imagenet_a")
    places = [imagenet_synsets().index(name) for name in classes]
    ranked = np.argsort(-scores[:, places], -1)
    ranks = np.resize([0, 0, 3, 9], COUNT)  # half are right, a quarter among the first five
    labels = ranked[np.arange(COUNT), ranks]
    assert (scores.argmax(-1) != np.array(places)[ranked[:, 0]]).any()  # over all classes
    examples = [
        {"image": image, "label": classes[label], "file_name": ""}
        for image, label in zip(images, labels, strict=True)
    ]
    store(tmp_path, "imagenet_a", "test", examples)
    words = ("--data", "imagenet_a", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert run(saved, *words) == 0
    result = evaluation(tmp_path / "out")
    assert (result["accuracy"], result["top5_accuracy"]) == (0.5, 0.75)
    assert list(result["support"]) == list(classes)
    assert (
        "Only the scores of the data set's 200 of 1,000 classes were compared." in result["notes"]
    )


@pytest.fixture(scope="module")
def real(scores):
    """Labels as in `real.json`, and which of the images are right with one and five answers."""
    ranked = np.argsort(-scores, -1).tolist()
    kinds = ([], [0, 700], [900, 0], [2, 500, 600], [4], [5, 800])
    right = (None, (1, 1), (1, 1), (0, 1), (0, 1), (0, 0))
    chosen = np.resize(np.arange(len(kinds)), COUNT)
    labels = [[row[rank] for rank in kinds[kind]] for row, kind in zip(ranked, chosen, strict=True)]
    return labels, np.array([right[kind] for kind in chosen if kinds[kind]])


def test_imagenet_real(saved, images, real, tmp_path, capsys):
    """Any one of several labels is right, and images without labels are not counted."""
    labels, right = real
    file = tmp_path / "real.json"
    file.write_text(json.dumps(labels))
    folder = tmp_path / "val"
    for number, image in enumerate(images, 1):
        (folder / imagenet_synsets()[number % 7]).mkdir(parents=True, exist_ok=True)
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        (folder / imagenet_synsets()[number % 7] / name).write_bytes(image)
    words = ("--data", folder, "--real-labels", file, "--out", tmp_path / "out")
    assert run(saved, *words) == 0
    result = evaluation(tmp_path / "out")
    assert [result["accuracy"], result["top5_accuracy"]] == pytest.approx(list(right.mean(0)))
    assert (result["correct"], result["test_images"]) == (right[:, 0].sum(), len(right))
    rows = (tmp_path / "out" / "net.keras" / "predictions.csv").read_text().splitlines()[1:]
    for row in rows:
        path, truth, *_ = row.split(",")
        number = int(path.partition("_val_")[2].partition(".")[0])
        assert truth in [imagenet_synsets()[label] for label in labels[number - 1]]

    has = np.array([[n in one for n in range(1000)] for one in labels])
    examples = [
        {"image": image, "original_label": 0, "real_label": one, "file_name": ""}
        for image, one in zip(images, labels, strict=True)
    ]
    store(tmp_path, "imagenet2012_real", "validation", examples)
    data = load("imagenet2012_real", tmp_path)
    assert data.target == "classes" and data.any_class
    found = labels_of(data.test, images)
    assert [one is None for one in found] == (~has.any(-1)).tolist()
    for one, expected in zip(found, has, strict=True):
        assert one is None or (one == expected).all()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("[[0], [5, 7]]", "ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000001 to 00000002."),
        ("[[0], [5, 7]]", "cat.JPEG", "must be named ILSVRC2012_val_00000001"),
        ("[[], [5, 7]]", "ILSVRC2012_val_00000001.JPEG", "No image of .* has a label in"),
        ("[[1000]]", "ILSVRC2012_val_00000001.JPEG", "must hold a list of labels from 0 to 999"),
        ("[0, 1]", "ILSVRC2012_val_00000001.JPEG", "must hold a list of labels from 0 to 999"),
        ("[[0]", "ILSVRC2012_val_00000001.JPEG", "real.json is damaged"),
    ],
)
def test_labels_that_do_not_fit(content, name, message, images, tmp_path):
    (tmp_path / "real.json").write_text(content)
    for synset in imagenet_synsets()[:2]:
        (tmp_path / "val" / synset).mkdir(parents=True)
        (tmp_path / "val" / synset / name).write_bytes(images[0])
    with pytest.raises(UserError, match=message):
        with_real_labels(load(tmp_path / "val"), tmp_path / "real.json")


def test_images_without_files_have_no_real_labels(tmp_path):
    (tmp_path / "real.json").write_text("[[0]]")
    with pytest.raises(UserError, match=r"--real-labels needs image files\. digits has none"):
        with_real_labels(load("digits"), tmp_path / "real.json")
