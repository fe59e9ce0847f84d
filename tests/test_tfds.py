"""ImageNet of tensorflow-datasets in small: preparing it and reading it."""

import collections
import importlib.resources
import itertools
import re
import shutil
import socket
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from miniature_imagenet import FILES, SYNSETS, VALIDATION_IMAGES

from regnet_tf._errors import UserError
from regnet_tf.class_names import imagenet_classes
from training import data_command as command
from training.data import load, tfds_catalog
from training.data.batches import test_batches as batches_to_test
from training.data.batches import training_batches
from training.data.checking import naming_damaged_files
from training.data.prepare import ARCHIVES
from training.loop.loading import load_for
from training.recipes import get_recipe

TRAIN, VAL = ARCHIVES["imagenet2012"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whatever looks for the internet fails at once, and so does its test."""

    def refuse(*arguments, **options):
        raise AssertionError(f"There is no internet in tests: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def data(miniature_imagenet):
    return load("imagenet2012", miniature_imagenet.data_dir)


@pytest.fixture(scope="module")
def written(miniature_imagenet):
    """Encoded image -> label, of each split, as the archives and the label files have it."""
    labels = {synset: label for label, (synset, _) in enumerate(imagenet_classes())}
    train = {image: labels[synset] for image, synset in miniature_imagenet.train.items()}
    folder = importlib.resources.files("tensorflow_datasets") / "datasets" / "imagenet2012"
    synsets = (folder / "validation_labels.txt").read_text().split()[:VALIDATION_IMAGES]
    pairs = zip(miniature_imagenet.validation, map(labels.get, synsets), strict=True)
    return {"train": train, "test": dict(pairs)}


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def read(examples):
    """(encoded image, label) of all examples, as Python's types."""
    return [(image.numpy(), int(label)) for image, label in examples]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


# Reading.


def test_classes_are_those_of_the_networks(data):
    assert data.class_names == tuple(synset for synset, _ in imagenet_classes())
    assert (data.train.size, data.test.size) == (230, 50)
    assert (data.train.name, data.test.name) == ("train", "validation")


@pytest.mark.parametrize("kind", ["train", "test"])
def test_every_image_once_with_its_bytes_and_label(data, written, kind):
    split = getattr(data, kind)
    examples = read(split.examples())
    assert len(examples) == split.size and dict(examples) == written[kind]
    assert examples == read(split.examples())
    assert len(set(written["test"].values())) > 20  # or labels would prove little


@pytest.mark.parametrize(
    "kind, count", [("train", 2), ("train", 3), ("train", 7), ("test", 1), ("test", 7)]
)
def test_shards_are_every_image_once(data, kind, count):
    """Of 6 files, which 7 readers cannot share."""
    split = getattr(data, kind)
    whole = read(split.examples())
    for index in range(count):
        assert read(split.examples((index, count))) == whole[index::count]
    shards = [read(split.shuffled(4, 2, (index, count))) for index in range(count)]
    assert sorted(joined(shards)) == sorted(whole)
    assert max(map(len, shards)) - min(map(len, shards)) <= 3


def test_every_epoch_has_an_order_of_its_own_that_the_seed_repeats(data):
    def order(seed, epoch):
        return read(data.train.shuffled(seed, epoch))

    first = order(3, 0)
    assert first == order(3, 0)
    assert first != order(3, 1) and first != order(4, 0)
    assert sorted(first) == sorted(order(3, 1)) == sorted(read(data.train.examples()))
    again = data.train.shuffled(3, 0)
    assert first == read(again) == read(again)


def test_orders_of_epochs_inside_a_pipeline(data):
    epochs = tf.data.Dataset.range(3).flat_map(lambda epoch: data.train.shuffled(3, epoch))
    assert read(epochs) == joined(read(data.train.shuffled(3, epoch)) for epoch in range(3))


def test_files_are_shuffled_and_shared_out(data, monkeypatch):
    monkeypatch.setattr(tfds_catalog, "_SHUFFLE_BUFFER", 1)
    monkeypatch.setattr(tfds_catalog, "_FILES_IN_TURNS", 1)
    lengths = data.train.builder.info.splits["train"].shard_lengths
    images = (image for image, _ in read(data.train.examples()))
    file_of = dict(zip(images, np.repeat(range(FILES), lengths).tolist(), strict=True))

    def files(epoch, shard):
        """The files read, one after the other."""
        read_from = [file_of[image] for image, _ in read(data.train.shuffled(0, epoch, shard))]
        return [file for file, _ in itertools.groupby(read_from)]

    orders = {tuple(files(epoch, (0, 1))) for epoch in range(3)}
    assert len(orders) == 3 and all(sorted(order) == list(range(FILES)) for order in orders)
    parts = [files(1, (index, 3)) for index in range(3)]
    assert sorted(joined(parts)) == list(range(FILES))
    assert [len(part) for part in parts] == [2, 2, 2]


def test_training_batches_are_of_every_image(data):
    recipe = get_recipe(
        "smoke", {"schedule.epochs": 2, "schedule.max_steps": None, "schedule.batch_size": 23}
    )
    batches = list(training_batches(data.train, recipe, len(data.class_names)))
    assert len(batches) == 20
    labels = np.concatenate([label.numpy().argmax(-1) for _, label in batches])
    for epoch in np.split(labels, 2):
        assert sorted(collections.Counter(epoch.tolist()).values()) == [23] * len(SYNSETS)
    assert (labels[:230] != labels[230:]).any()
    assert all(np.isfinite(images).all() for images, _ in batches)


def test_last_batch_is_filled_with_the_first_images(data):
    recipe = get_recipe(
        "smoke", {"schedule.epochs": 1, "schedule.max_steps": None, "schedule.batch_size": 100}
    )
    batches = list(training_batches(data.train, recipe, len(data.class_names)))
    images = [image.tobytes() for images, _ in batches for image in images.numpy()]
    assert len(images) == 300 and len(set(images[:230])) == 230
    assert images[230:] == images[:70]


def test_test_batches_are_every_image_once_the_last_one_too(data, written):
    preprocessing = get_recipe("smoke").images.preprocessing
    batches = list(batches_to_test(data.test, preprocessing, 16))
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    expected = read(data.test.examples())
    assert sorted(image for image, _ in expected) == sorted(written["test"])
    np.testing.assert_array_equal(labels, [written["test"][image] for image, _ in expected])
    for image, (encoded, _) in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image[None], preprocessing(encoded))


# Preparing.


def test_what_is_not_prepared_names_the_command_that_does_it(tmp_path):
    folder = tmp_path / "of mine"
    told = f"regnet data prepare imagenet2012 --data-dir '{folder}'"
    with pytest.raises(UserError, match=re.escape(f"not prepared in {folder}")) as error:
        load("imagenet2012", folder)
    assert str(error.value).endswith(f"Command: {told}")


def test_missing_archives_are_all_named(tmp_path, capsys):
    assert run("prepare", "imagenet2012", "--manual-dir", tmp_path, "--data-dir", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / TRAIN} is missing (147,897,477,120 bytes)." in error
    assert f"{tmp_path / VAL} is missing (6,744,924,160 bytes)." in error
    assert "https://image-net.org/download-images" in error
    assert not list(tmp_path.iterdir())


def test_archives_are_looked_for_where_tensorflow_datasets_does(tmp_path, capsys):
    assert run("prepare", "imagenet2012", "--data-dir", tmp_path) == 2
    assert f"{tmp_path / 'downloads' / 'manual' / TRAIN} is missing" in capsys.readouterr().err


def test_archives_of_other_sizes(miniature_imagenet, tmp_path, capsys):
    folder = miniature_imagenet.manual_dir
    assert run("prepare", "imagenet2012", "--manual-dir", folder, "--data-dir", tmp_path) == 2
    error = capsys.readouterr().err
    for name, official in ((TRAIN, "147,897,477,120"), (VAL, "6,744,924,160")):
        size = (folder / name).stat().st_size
        assert f"{folder / name} has {size:,} bytes instead of {official}." in error
    assert "--any-size" in error and "missing" not in error


def test_archives_of_the_official_sizes_and_too_small_a_disk(tmp_path, monkeypatch, capsys):
    for name, size in ARCHIVES["imagenet2012"].items():
        try:
            with (tmp_path / name).open("w") as file:
                file.truncate(size)  # a hole, which takes no space
        except OSError:
            pytest.skip("This file system has no holes.")
    folders = ("--manual-dir", tmp_path, "--data-dir", tmp_path / "data")
    free = shutil.disk_usage(tmp_path)._replace(free=150 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    assert run("prepare", "imagenet2012", *folders) == 2
    (line,) = capsys.readouterr().err.splitlines()
    space = f"{tmp_path / 'data'} has 150 GB of free space; what is written there takes 158 GB."
    assert line.endswith(space)


def test_damaged_archive(miniature_imagenet, tmp_path, capsys):
    train = (miniature_imagenet.manual_dir / TRAIN).read_bytes()
    (tmp_path / TRAIN).write_bytes(train[:1000] + b"damage" * 1000 + train[7000:])
    (tmp_path / VAL).write_bytes(b"not an archive" * 1000)
    arguments = ("--manual-dir", tmp_path, "--data-dir", tmp_path / "data", "--any-size")
    assert run("prepare", "imagenet2012", *arguments) == 2
    assert f"An archive in {tmp_path} is damaged: " in capsys.readouterr().err
    assert not list((tmp_path / "data" / "imagenet2012").iterdir())
    shutil.copy(miniature_imagenet.manual_dir / VAL, tmp_path)
    shutil.copy(miniature_imagenet.manual_dir / TRAIN, tmp_path)
    assert run("prepare", "imagenet2012", *arguments, "--files", 400) == 2
    assert "num_examples (230) < number_of_shards (400)" in capsys.readouterr().err


def test_prepared_already(miniature_imagenet, capsys):
    assert run("prepare", "imagenet2012", "--data-dir", miniature_imagenet.data_dir) == 0
    printed = capsys.readouterr().out
    assert "imagenet2012 is prepared already" in printed
    assert str(miniature_imagenet.data_dir / "imagenet2012") in printed
    assert re.search(r"train +230 images in 6 files\n +validation +50 images in 6 files", printed)


def test_prepare_from_the_command_line(miniature_imagenet, tmp_path, capsys):
    """Into one file, as little data goes by default."""
    folders = ("--manual-dir", miniature_imagenet.manual_dir, "--data-dir", tmp_path)
    assert run("prepare", "imagenet2012", *folders, "--any-size") == 0
    printed = capsys.readouterr().out
    assert re.search(r"train +230 images in 1 files\n +validation +50 images in 1 files", printed)
    train = load("imagenet2012", tmp_path).train
    assert read(train.shuffled(0, 0)) != read(train.shuffled(0, 1))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("imagenet2021", "has no data set called 'imagenet2021'. Nearest: imagenet2012"),
        ("imagenet_v2/best", "imagenet_v2/best does not exist: BuilderConfig best not found"),
        ("mnist:9.9.9", "mnist:9.9.9 does not exist: Dataset mnist cannot be loaded at version"),
        ("imdb_reviews", "imdb_reviews holds no images with labels."),
    ],
)
def test_what_can_not_be_prepared(name, expected, tmp_path, capsys):
    assert run("prepare", name, "--data-dir", tmp_path) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1


def test_what_needs_no_preparation(tmp_path, capsys):
    for name in ("digits", tmp_path):
        assert run("prepare", name) == 0
        assert capsys.readouterr().out == f"{name} needs no preparation.\n"


# Masks.


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Oxford-IIIT Pet in small, and its images and trimaps of values 1 to 3, by split."""
    folder, rng = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    builder = tfds_catalog.find("oxford_iiit_pet", folder)
    examples = {
        name: [
            {
                "image": rng.integers(0, 256, (20 + number, 30, 3), "uint8"),
                "label": number,
                "species": number % 2,
                "file_name": f"{name}_{number}",
                "segmentation_mask": rng.integers(1, 4, (20 + number, 30, 1), "uint8"),
                "head_bbox": tfds.features.BBox(0.1, 0.1, 0.5, 0.5),
            }
            for number in range(count)
        ]
        for name, count in (("train", 6), ("test", 4))
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=builder.name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={name: [*enumerate(ones)] for name, ones in examples.items()},
        data_dir=folder,
    )
    return folder, examples


@pytest.mark.parametrize("kind", ["train", "test"])
def test_masks_are_classes_of_pixels(pets, kind):
    folder, examples = pets
    data = load("oxford_iiit_pet", folder, target="pixels")
    assert data.target == "pixels" and data.class_names == ("pet", "background", "outline")
    split = getattr(data, kind)
    assert split.size == len(examples[kind]) and split.paths is None
    expected = {one["segmentation_mask"].tobytes() for one in examples[kind]}
    for shown in (split.examples(), split.shuffled(0, 0)):
        maps = [pixels.numpy() for _, pixels in shown]
        assert {(one[..., None] + 1).tobytes() for one in maps} == expected
        assert all(one.dtype == np.uint8 for one in maps)


def test_images_and_masks_are_trained_on(pets):
    changes = {
        "data.name": "oxford_iiit_pet",
        "decoder.name": "fpn",
        "schedule.batch_size": 4,
        "augmentation.crop": "random_resized",
        "augmentation.flip": True,
    }
    recipe = get_recipe("smoke", changes)
    loaded = load_for(recipe, pets[0])
    images, labels = next(iter(training_batches(loaded.train, recipe, 3)))
    assert images.shape == (4, 32, 32, 3) and labels.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(np.sum(labels, -1), 1)
    ((_, maps),) = batches_to_test(loaded.test, recipe.images.preprocessing, 4)
    assert maps.shape == (4, 32, 32) and set(np.unique(maps)) == {0, 1, 2}


def test_labels_of_a_data_set_with_masks(pets):
    data = load("oxford_iiit_pet", pets[0])
    assert data.target == "class" and len(data.class_names) == 37
    assert sorted(int(label) for _, label in data.train.examples()) == list(range(6))


def test_data_set_without_masks(miniature_imagenet):
    with pytest.raises(UserError, match=r"holds no masks. Data sets with masks: oxford_iiit_pet."):
        load("imagenet2012", miniature_imagenet.data_dir, target="pixels")


def test_damaged_image_is_named_by_its_place(data):
    """Of a shard with one more record that is no image."""
    split = data.test

    class Damaged(type(split)):
        def examples(self, shard=(0, 1)):
            extra = tf.data.Dataset.from_tensors((b"no image", tf.constant(0, tf.int64)))
            return super().examples(shard).take(3).concatenate(extra)

    damaged = Damaged(split.builder, split.name, split.image_key, split.label_key)
    preprocessing = get_recipe("smoke").images.preprocessing
    with pytest.raises(UserError) as caught, naming_damaged_files(damaged):
        list(batches_to_test(damaged, preprocessing, 2))
    assert re.fullmatch(
        r"An image cannot be read. imagenet2012/.*, split validation, image 3: It is no image, .*",
        str(caught.value),
    )


def test_without_tensorflow_datasets(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert run("prepare", "imagenet2012", "--data-dir", tmp_path) == 2
    assert "`tensorflow_datasets`: pip install 'regnet_tf[training]'" in capsys.readouterr().err
