"""Fashion-MNIST from a few images of its four files."""

import gzip
import hashlib
import importlib.resources
import math
import pathlib
import shutil
import struct

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from regnet_tf._errors import UserError
from regnet_tf._files import read_arrays, read_json
from regnet_tf.facts import facts_of
from training import data_command
from training.data import fashion_mnist, load, tfds_catalog
from training.data.batches import test_batches as batches_to_test
from training.data.table import TableSplit
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe

FILES = pathlib.Path(__file__).parent / "golden" / "fashion_mnist"
SPLITS = {"train": 300, "t10k": 100}
# As published with the data set; the files hold the first images of each class.
FIRST_LABELS = {"train": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], "t10k": [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]}


def content(name):
    """The bytes after the header, http://yann.lecun.com/exdb/mnist describes it."""
    offset = 16 if "images" in name else 8
    return np.frombuffer(gzip.decompress((FILES / name).read_bytes()), "uint8", offset=offset)


@pytest.fixture(scope="module")
def arrays():
    """(images, labels) by split."""
    return {
        name: (
            content(f"{name}-images-idx3-ubyte.gz").reshape(count, 28, 28),
            content(f"{name}-labels-idx1-ubyte.gz"),
        )
        for name, count in SPLITS.items()
    }


@pytest.fixture
def copies(tmp_path):
    """A folder with the files to damage."""
    return shutil.copytree(FILES, tmp_path / "files")


def run(*arguments):
    return data_command.main([str(argument) for argument in arguments])


def test_images_and_names_are_the_published_ones(arrays):
    data = load("fashion_mnist", data_dir=FILES)
    assert (
        data.class_names[:2] == ("T-shirt/top", "Trouser") and data.class_names[9] == "Ankle boot"
    )
    assert len(data.class_names) == 10 and data.target == "class"
    for split, name in ((data.train, "train"), (data.test, "t10k")):
        images, labels = arrays[name]
        np.testing.assert_array_equal(split.items[..., 0], images)
        np.testing.assert_array_equal(split.labels, labels)
        assert split.labels[:10].tolist() == FIRST_LABELS[name]
        assert np.bincount(split.labels).tolist() == [SPLITS[name] // 10] * 10
        assert split.labels.dtype == "int64"


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_by_choice(arrays, channels):
    recipe = get_recipe("digits", {"images.channels": channels, "images.size": 28})
    data = load("fashion_mnist", FILES)
    batches = batches_to_test(data.test, recipe.images.preprocessing, 100, normalized=False)
    ((images, _),) = batches
    expected = np.repeat(arrays["t10k"][0][..., None], channels, -1)
    np.testing.assert_array_equal(images, expected)


def test_a_run_on_gray_images(tmp_path):
    changes = {"data.name": "fashion_mnist", "images.channels": 1, "schedule.epochs": 1}
    out = tmp_path / "run"
    train_and_evaluate(get_recipe("smoke", changes), out, verbose=0, data_dir=FILES)
    model = keras.saving.load_model(out / "model.keras")
    counted = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert read_json(out / "run.json")["model"]["parameters"] == counted
    facts = facts_of(model)
    assert facts.preprocessing.channels == 1 and facts.class_names == fashion_mnist.CLASS_NAMES
    examples = read_arrays(out / "examples.npz")
    assert examples["images"].shape == (200, 32, 32, 1)
    assert examples["test_images"].shape == (100, 32, 32, 1)


def test_the_folder_of_debians_package(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", FILES)
    assert load("fashion_mnist").train.size == 300


def test_checksums_are_those_of_tensorflow_datasets():
    file = importlib.resources.files("tensorflow_datasets") / "url_checksums/fashion_mnist.txt"
    rows = (line.split("\t") for line in file.read_text().splitlines())
    assert fashion_mnist.SHA256 == {name: checksum for _, _, checksum, name in rows}


@pytest.fixture
def published(copies, monkeypatch):
    """A folder with files that count as Zalando's."""
    checksums = {}
    for path in copies.glob("*.gz"):
        name, plain = path.name, gzip.decompress(path.read_bytes())
        time = 1504176606 if name.startswith("train") else 1504176627
        with path.open("wb") as file:
            with gzip.GzipFile(path.stem, "wb", 9, file, mtime=time) as zipped:
                zipped.write(plain)
        checksums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(fashion_mnist, "SHA256", checksums)
    return copies


@pytest.mark.parametrize("of_debian", [False, True])
def test_files_are_checked_and_found(published, of_debian, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "none")
    if of_debian:  # another time, and no name
        for path in published.glob("*.gz"):
            rest = path.read_bytes()[10:].partition(b"\0")[2]
            header = struct.pack("<4BIBB", 0x1F, 0x8B, 8, 0, 1591347949, 2, 255)
            path.write_bytes(header + rest)
            gzip.decompress(path.read_bytes())
    assert run("prepare", "fashion_mnist", "--from", published) == 0
    written = tmp_path / "data" / "fashion_mnist"
    assert str(written / "train-images-idx3-ubyte.gz") in capsys.readouterr().out
    assert len(list(written.iterdir())) == 4
    shutil.rmtree(published)
    assert load("fashion_mnist").train.size == 300
    assert load("fashion_mnist", tmp_path / "data").test.size == 100


def test_a_given_folder_is_written_to(published, tmp_path):
    target = tmp_path / "other"
    assert run("prepare", "fashion_mnist", "--from", published, "--data-dir", target) == 0
    assert load("fashion_mnist", target).train.size == 300


def test_other_files_are_refused(published, tmp_path, capsys):
    name = "t10k-labels-idx1-ubyte.gz"
    path, expected = published / name, fashion_mnist.SHA256[name]
    path.write_bytes(path.read_bytes() + b"\0")
    received = hashlib.sha256(path.read_bytes()).hexdigest()
    command = ("prepare", "fashion_mnist", "--from", published, "--data-dir", tmp_path / "out")
    assert run(*command) == 2
    error = capsys.readouterr().err
    assert str(path) in error and received in error and expected in error
    path.unlink()
    assert run(*command) == 2
    assert f"{path} cannot be read: No such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_of_other_data_sets_are_refused(capsys):
    assert run("prepare", "cifar10", "--from", FILES) == 2
    assert "--from" in (error := capsys.readouterr().err) and "only fashion_mnist" in error


@pytest.mark.skipif(not fashion_mnist._DEBIAN.is_dir(), reason="the package is not installed")
def test_debians_files_are_zalandos(tmp_path):
    folder = fashion_mnist.prepare(fashion_mnist._DEBIAN, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(fashion_mnist.SHA256)


def test_tensorflow_datasets_in_memory(arrays, tmp_path):
    builder = tfds_catalog.find("fashion_mnist", tmp_path)
    splits = {
        name: list(enumerate({"image": image[..., None], "label": label} for image, label in rows))
        for name, rows in (
            ("train", zip(*arrays["train"], strict=True)),
            ("test", zip(*arrays["t10k"], strict=True)),
        )
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=builder.name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets=splits,
        data_dir=tmp_path,
    )
    data = load("fashion_mnist", tmp_path, images_per_class=3, held_out=0.2)
    assert isinstance(data.train, TableSplit)
    assert (data.train.size, data.test.size) == (30, 60)
    whole = load("fashion_mnist", tmp_path)
    for split, name in ((whole.train, "train"), (whole.test, "t10k")):
        ours = sorted(zip(map(bytes, split.items), split.labels.tolist(), strict=True))
        theirs = sorted(zip(map(bytes, arrays[name][0]), arrays[name][1].tolist(), strict=True))
        assert ours == theirs and split.labels.dtype == "int64"


def test_all_ways_to_get_it_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "none")
    with pytest.raises(UserError) as caught:
        load("fashion_mnist", tmp_path)
    text = str(caught.value)
    for way in ("package dataset-fashion-mnist", "--data-dir", "regnet data prepare fashion_mnist"):
        assert way in text
    assert "\n" not in text


def test_damaged_files(copies):
    path = copies / "t10k-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    for damaged in (content[:20], gzip.compress(b"no idx"), gzip.compress(b"\0\0\x0d\1\0\0\0\1a")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte.gz is damaged"):
            load("fashion_mnist", copies)
    path.write_bytes(gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 100) + bytes([11] * 100)))
    with pytest.raises(UserError, match=r"images and labels of t10k in .* do not fit"):
        load("fashion_mnist", copies)
