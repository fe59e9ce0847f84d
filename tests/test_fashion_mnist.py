"""Fashion-MNIST from its four files, which a test writes in small."""

import gzip
import struct

import keras
import numpy as np
import pytest

from regnet_tf._errors import UserError
from regnet_tf._files import read_arrays
from regnet_tf.facts import facts_of
from training.data import fashion_mnist, load
from training.data.batches import test_batches as batches_to_test
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe


def write_idx(path, array):
    """As http://yann.lecun.com/exdb/mnist describes the format."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def files(tmp_path):
    """The folder, and the arrays by split."""
    rng, arrays = np.random.default_rng(0), {}
    for name, count in (("train", 30), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), "uint8")
        labels = (np.arange(count) % 10).astype("uint8")
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte.gz", labels)
        arrays[name] = images, labels
    return tmp_path, arrays


def test_images_and_names_are_the_published_ones(files):
    folder, arrays = files
    data = load("fashion_mnist", data_dir=folder)
    assert (
        data.class_names[:2] == ("T-shirt/top", "Trouser") and data.class_names[9] == "Ankle boot"
    )
    assert len(data.class_names) == 10 and data.target == "class"
    for split, (images, labels) in ((data.train, arrays["train"]), (data.test, arrays["t10k"])):
        np.testing.assert_array_equal(split.items[..., 0], images)
        np.testing.assert_array_equal(split.labels, labels)
        assert split.labels.dtype == "int64"


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_by_choice(files, channels):
    folder, arrays = files
    recipe = get_recipe("digits", {"images.channels": channels, "images.size": 28})
    data = load("fashion_mnist", folder)
    batches = batches_to_test(data.test, recipe.images.preprocessing, 20, normalized=False)
    ((images, _),) = batches
    expected = np.repeat(arrays["t10k"][0][..., None], channels, -1)
    np.testing.assert_array_equal(images, expected)


def test_a_run_on_gray_images(files, tmp_path):
    changes = {"data.name": "fashion_mnist", "images.channels": 1, "schedule.epochs": 1}
    out = tmp_path / "run"
    train_and_evaluate(get_recipe("smoke", changes), out, verbose=0, data_dir=files[0])
    facts = facts_of(keras.saving.load_model(out / "model.keras"))
    assert facts.preprocessing.channels == 1 and facts.class_names == fashion_mnist.CLASS_NAMES
    examples = read_arrays(out / "examples.npz")
    assert examples["images"].shape == (30, 32, 32, 1)
    assert examples["test_images"].shape == (20, 32, 32, 1)


def test_the_folder_of_debians_package(files, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", files[0])
    assert load("fashion_mnist").train.size == 30


def test_all_ways_to_get_it_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "none")
    with pytest.raises(UserError) as caught:
        load("fashion_mnist", tmp_path)
    text = str(caught.value)
    for way in ("package dataset-fashion-mnist", "--data-dir", "regnet data prepare fashion_mnist"):
        assert way in text
    assert "\n" not in text


def test_damaged_files(files):
    folder, _ = files
    path = folder / "t10k-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    for damaged in (content[:20], gzip.compress(b"no idx"), gzip.compress(b"\0\0\x0d\1\0\0\0\1a")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte.gz is damaged"):
            load("fashion_mnist", folder)
    write_idx(path, np.full(20, 11, "uint8"))
    with pytest.raises(UserError, match=r"images and labels of t10k in .* do not fit"):
        load("fashion_mnist", folder)
