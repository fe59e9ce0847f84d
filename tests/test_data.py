"""Data sets, parts of them, and batches of them."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits, load_sample_images

from regnet_tf._errors import UserError, import_optional
from training.data import load
from training.data.batches import test_batches as batches_to_test
from training.data.batches import training_batches
from training.recipes import get_recipe

# Digits.


def rows(images, labels):
    return [
        (int(label), np.array(image).tobytes()) for image, label in zip(images, labels, strict=True)
    ]


def unzipped(examples):
    return rows(*zip(*examples, strict=True))


def test_digits_are_the_scans_split_stratified_disjoint_and_complete():
    digits, data = load_digits(), load("digits")
    scans = np.repeat(np.round(digits.images * 255 / 16).astype("uint8")[..., None], 3, -1)
    assert (data.train.size, data.test.size) == (1347, 450)
    parts = rows(data.train.items, data.train.labels) + rows(data.test.items, data.test.labels)
    assert sorted(parts) == sorted(rows(scans, digits.target))
    assert len(set(parts)) == len(scans)  # no image twice, so the parts share none
    held_out = np.bincount(data.test.labels) / np.bincount(digits.target)
    np.testing.assert_allclose(held_out, 0.25, atol=0.006)
    assert data.class_names == tuple("0123456789")


def test_test_images_come_once_and_in_order():
    data, preprocessing = load("digits"), get_recipe("digits").images.preprocessing
    for _ in range(2):
        batches = list(batches_to_test(data.test, preprocessing, 64))
        assert batches[0][0].shape == (64, 32, 32, 3) and batches[0][0].dtype == "float32"
        labels = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(labels, data.test.labels)
    small = preprocessing.replace(image_size=8)
    images = np.concatenate([i for i, _ in batches_to_test(data.test, small, 64)])
    np.testing.assert_allclose(images * 255, data.test.items, atol=1e-4)
    whole = np.concatenate([i for i, _ in batches_to_test(data.test, small, 64, normalized=False)])
    np.testing.assert_array_equal(whole, data.test.items)


@pytest.mark.parametrize("count", [1, 3])
def test_shards_are_every_image_once(count):
    split = load("digits").test
    shards = [list(split.examples((index, count))) for index in range(count)]
    labels = np.empty(split.size, int)
    for index, shard in enumerate(shards):
        labels[index::count] = [label for _, label in shard]
    np.testing.assert_array_equal(labels, split.labels)
    shuffled = [
        row for index in range(count) for row in unzipped(split.shuffled(5, 2, (index, count)))
    ]
    assert sorted(shuffled) == sorted(rows(split.items, split.labels))


def test_every_epoch_has_an_order_of_its_own_that_the_seed_repeats():
    split = load("digits").train

    def order(seed, epoch):
        return unzipped(split.shuffled(seed, epoch))

    first = order(3, 0)
    assert first == order(3, 0)
    assert first != order(3, 1) and first != order(4, 0)
    assert sorted(first) == sorted(order(3, 1))


# Training batches.


def test_training_batches_are_those_of_all_epochs():
    recipe = get_recipe(
        "smoke", {"schedule.epochs": 2, "schedule.max_steps": None, "schedule.batch_size": 500}
    )
    batches = list(training_batches(load("digits").train, recipe, 10))
    assert len(batches) == 4  # 1347 images: two whole batches in each epoch
    images, labels = batches[0]
    assert images.shape == (500, 32, 32, 3) and labels.shape == (500, 10)
    assert images.dtype == labels.dtype == "float32"
    np.testing.assert_array_equal(np.sum(labels, -1), 1)
    epochs = [np.concatenate([images for images, _ in batches[n : n + 2]]) for n in (0, 2)]
    for epoch in epochs:
        assert len({image.tobytes() for image in epoch}) == 1000
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.parametrize("make", ["training", "test"])
def test_batches_are_not_tuned_while_they_run(make):
    """An iterator's end would wait for the thread that tunes."""
    recipe, data = get_recipe("smoke"), load("digits")
    if make == "training":
        batches = training_batches(data.train, recipe, len(data.class_names))
    else:
        batches = batches_to_test(data.test, recipe.images.preprocessing, 8)
    assert batches.options().autotune.enabled is False


@pytest.mark.parametrize("first_step", [1, 5, 8])
def test_training_batches_go_on_anywhere(first_step):
    """Images, augmentation and order are those of an undisturbed run."""
    recipe = get_recipe(
        "digits",
        {
            "schedule.epochs": 3,
            "schedule.max_steps": 3,
            "schedule.batch_size": 40,
            "images.size": 16,
        },
    )
    split = load("digits").train
    whole = list(training_batches(split, recipe, 10))
    rest = list(training_batches(split, recipe, 10, first_step))
    assert len(rest) == 9 - first_step
    for ours, theirs in zip(whole[first_step:], rest, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


# Folders.


@pytest.fixture(scope="module")
def photographs():
    """Two real photographs, uint8 `(height, width, 3)`."""
    return load_sample_images().images


def write_folder(path, photographs, classes, count=2):
    """Crops of the photographs as a folder of class folders; the crops, class by class."""
    rng = np.random.default_rng(0)
    crops = []
    for label, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for number in range(count):
            y, x = rng.integers(0, 200, 2)
            crop = photographs[label % 2][y : y + 60 + 10 * label, x : x + 80]
            content = tf.io.encode_png(crop).numpy()
            (path / name / f"{number}.png").write_bytes(content)
            crops.append(crop)
    return crops


def test_folder_of_class_folders(tmp_path, photographs):
    crops = write_folder(tmp_path, photographs, ["bee", "ant"])
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    data = load(tmp_path)
    assert data.class_names == ("ant", "bee") and data.train is None and data.test.size == 4
    preprocessing = get_recipe("smoke").images.preprocessing
    ((images, labels),) = batches_to_test(data.test, preprocessing, 8)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1])
    expected = preprocessing(crops[2])
    np.testing.assert_array_equal(images[:1], expected)


def test_folder_of_splits(tmp_path, photographs):
    write_folder(tmp_path / "train", photographs, ["ant", "bee"], 3)
    write_folder(tmp_path / "val", photographs, ["ant", "bee"])
    data = load(str(tmp_path))
    assert (data.train.size, data.test.size) == (6, 4)
    few = load(tmp_path, classes=("bee", "ant"), images_per_class=1)
    assert few.class_names == ("bee", "ant") and few.train.size == 2 and few.test.size == 4
    assert ["bee" in path for path in few.test.items] == [label == 0 for label in few.test.labels]
    (tmp_path / "val" / "bee").rename(tmp_path / "val" / "cow")
    with pytest.raises(UserError, match=r"must hold the same classes. In only one .*: bee, cow"):
        load(tmp_path)


def test_folder_named_by_numbers(tmp_path, photographs):
    write_folder(tmp_path, photographs, [str(number) for number in range(12)], 1)
    assert load(tmp_path).class_names == tuple(str(number) for number in range(12))


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="holds no folders of images"):
        load(tmp_path)
    (tmp_path / "ant").mkdir()
    with pytest.raises(UserError, match=r"ant holds no images \(.jpg, .jpeg, .png\)"):
        load(tmp_path)


# Parts.


def test_kept_classes_are_the_images_of_these_classes_with_new_labels():
    data, whole = load("digits", classes=("7", "2", "9")), load("digits")
    assert data.class_names == ("7", "2", "9")
    for part, split in ((data.train, whole.train), (data.test, whole.test)):
        kept = np.isin(split.labels, (7, 2, 9))
        np.testing.assert_array_equal(part.items, split.items[kept])
        np.testing.assert_array_equal(np.array((7, 2, 9))[part.labels], split.labels[kept])
        assert part.labels.dtype == "int64"


def test_few_images_are_training_images_chosen_by_the_seed():
    whole = load("digits").train
    known = dict(zip((image.tobytes() for image in whole.items), whole.labels, strict=True))

    def chosen(seed):
        data = load("digits", classes=("5", "6"), images_per_class=4, seed=seed)
        assert (data.train.size, data.test.size) == (8, load("digits", classes="56").test.size)
        np.testing.assert_array_equal(np.bincount(data.train.labels), [4, 4])
        found = {image.tobytes() for image in data.train.items}
        assert [known[image.tobytes()] - 5 for image in data.train.items] == list(data.train.labels)
        assert len(found) == 8
        return found

    assert chosen(seed=0) == chosen(seed=0) != chosen(seed=1)


def test_parts_that_do_not_exist():
    with pytest.raises(UserError, match=r"`classes` of digits must be among 0, .*: '10', 'x'"):
        load("digits", classes=("1", "10", "x"))
    with pytest.raises(UserError, match=r"`images_per_class` must be at most 13\d, .* of class 5"):
        load("digits", classes=("5", "6"), images_per_class=1000)
    with pytest.raises(ValueError, match="`images_per_class` must be"):
        load("digits", images_per_class=0)


# Errors.


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(UserError, match=r"No data set is called 'digit'. Nearest: digits."):
        load("digit")
    with pytest.raises(UserError, match=r"called 'imagenet2021'. Nearest: .*imagenet2012"):
        load("imagenet2021")
    with pytest.raises(UserError, match="There is no folder no/where"):
        load("no/where")


def test_data_set_that_is_not_prepared(tmp_path):
    with pytest.raises(UserError, match=r"imagenet_v2 is not prepared .*prepare imagenet_v2"):
        load("imagenet_v2", data_dir=str(tmp_path))


def test_data_set_of_no_labelled_images(tmp_path):
    with pytest.raises(UserError, match="holds no images with one label each"):
        load("imdb_reviews", data_dir=str(tmp_path))


def test_missing_package_names_the_extra():
    with pytest.raises(UserError, match=r"`no_such_package`: pip install 'regnet_tf\[training\]'"):
        import_optional("no_such_package.part")


def test_broken_package_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        import_optional("broken_package")
