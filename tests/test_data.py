"""Data sets, parts of them, and batches of them."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits, load_sample_image

from regnet_tf._errors import UserError, import_optional
from training.data import load
from training.data.batches import coverage, steps_per_epoch, training_batches
from training.data.batches import test_batches as batches_to_test
from training.data.table import TableSplit
from training.recipes import get_recipe

PREPROCESSING_4 = get_recipe("smoke", {"images.channels": 4}).images.preprocessing


@pytest.fixture(scope="module")
def pillow():
    return pytest.importorskip("PIL.Image")


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


def images_of(batches):
    return [image.tobytes() for images, _ in batches for image in images.numpy()]


def of_epochs(**schedule):
    changes = {"epochs": 2, "max_steps": None, **schedule}
    return get_recipe("smoke", {f"schedule.{name}": value for name, value in changes.items()})


def test_training_batches_are_those_of_all_epochs():
    recipe = of_epochs(batch_size=500, last_batch="drop")
    split = load("digits").train
    batches = list(training_batches(split, recipe, 10))
    assert len(batches) == 4  # 1347 images: two whole batches in each epoch
    images, labels = batches[0]
    assert images.shape == (500, 32, 32, 3) and labels.shape == (500, 10)
    assert images.dtype == labels.dtype == "float32"
    np.testing.assert_array_equal(np.sum(labels, -1), 1)
    epochs = [images_of(batches[n : n + 2]) for n in (0, 2)]
    assert [len(set(epoch)) for epoch in epochs] == [1000, 1000]
    assert epochs[0] != epochs[1]
    assert coverage(split, recipe.schedule) == (
        "Each epoch leaves out 347 of 1,347 images, others each time: an incomplete batch of 500 is"
        " dropped (schedule.last_batch)."
    )


@pytest.mark.parametrize("batch_size, steps", [(64, 2), (90, 1), (200, 1), (7, 13)])
def test_no_image_is_left_out_of_an_epoch(batch_size, steps):
    """The last batch is filled with the epoch's first images, however large it is."""
    split = load("digits").train.kept(np.arange(90))
    recipe = of_epochs(batch_size=batch_size)
    assert steps_per_epoch(split, recipe.schedule) == steps
    again = {64: "38 images that come", 200: "110 images that come", 7: "1 image that comes"}
    text = "The last batch of each epoch is filled with {} again (schedule.last_batch)."
    expected = text.format(again[batch_size]) if batch_size in again else None
    assert coverage(split, recipe.schedule) == expected
    batches = list(training_batches(split, recipe, 10))
    assert {images.shape[0] for images, _ in batches} == {batch_size}
    for n in (0, steps):
        images = images_of(batches[n : n + steps])
        assert len(set(images[:90])) == len(set(images)) == 90
        assert images[90:] == (images[:90] * 3)[: len(images) - 90]


@pytest.mark.parametrize("images, workers", [(90, 2), (91, 2), (10, 4)])
def test_workers_together_leave_no_image_out(images, workers):
    split, recipe = load("digits").train.kept(np.arange(images)), of_epochs(batch_size=64, epochs=1)
    seen = set()
    for index in range(workers):
        context = tf.distribute.InputContext(workers, index, workers)
        batches = list(training_batches(split, recipe, 10, context=context))
        assert sum(len(labels) for _, labels in batches) == 64 * -(-images // 64) // workers
        seen |= set(images_of(batches))
    assert len(seen) == images


def test_what_a_dropped_batch_and_max_steps_leave_out():
    split = load("digits").train.kept(np.arange(90))
    dropping = of_epochs(batch_size=91, last_batch="drop").schedule
    with pytest.raises(UserError, match=r"`schedule.batch_size` must be at most 90, .*=91"):
        steps_per_epoch(split, dropping)
    told = coverage(split, of_epochs(batch_size=8, max_steps=3).schedule)
    assert told.startswith("Each epoch leaves out 66 of 90 images, others each time: it ends after")
    assert coverage(split, of_epochs(batch_size=45, last_batch="drop").schedule) is None


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
    """Images, augmentation and order are those of an undisturbed run, in filled batches too."""
    recipe = get_recipe(
        "digits", {"schedule.epochs": 3, "schedule.batch_size": 40, "images.size": 16}
    )
    split = load("digits").train.kept(np.arange(100))
    whole = list(training_batches(split, recipe, 10))
    rest = list(training_batches(split, recipe, 10, first_step))
    assert len(rest) == 9 - first_step
    for ours, theirs in zip(whole[first_step:], rest, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


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


def test_held_out_training_images_take_the_place_of_the_test_images():
    whole = load("digits")
    data = load("digits", held_out=0.25)
    assert data.train.size + data.test.size == whole.train.size
    parts = [{image.tobytes() for image in split.items} for split in (data.train, data.test)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {image.tobytes() for image in whole.train.items}
    counts = np.bincount(whole.train.labels)
    np.testing.assert_array_equal(np.bincount(data.test.labels), np.floor(counts / 4 + 0.5))
    (note,) = data.notes
    assert "25 % of the training images of each class are held out (seed 0)" in note
    other = load("digits", held_out=0.25, split_seed=1).test
    assert {image.tobytes() for image in other.items} != parts[1]
    few = load("digits", held_out=0.25, images_per_class=3)
    assert (few.train.size, few.test.size) == (30, data.test.size)
    assert {image.tobytes() for image in few.train.items} <= parts[0]


def test_only_tables_of_classes_hold_out_training_images():
    with pytest.raises(UserError, match=r"digit_scenes cannot be .* Received: held_out=0.2"):
        load("digit_scenes", held_out=0.2)


def test_parts_that_do_not_exist():
    with pytest.raises(UserError, match=r"`classes` of digits must be among 0, .*: '10', 'x'"):
        load("digits", classes=("1", "10", "x"))
    with pytest.raises(UserError, match=r"`images_per_class` must be at most 13\d, .* of class 5"):
        load("digits", classes=("5", "6"), images_per_class=1000)
    with pytest.raises(ValueError, match="`images_per_class` must be"):
        load("digits", images_per_class=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_rgb_images_in_memory(pillow, channels):
    """Gray is Pillow's."""
    photo = load_sample_image("china.jpg")[:60, :60]
    gray = np.array(pillow.fromarray(photo).convert("L"))[..., None]
    recipe = get_recipe("smoke", {"images.channels": channels, "images.size": 60})
    preprocessing = recipe.images.preprocessing
    expected = {1: gray, 3: photo}[channels]
    for images in (photo, gray):
        split = TableSplit(images[None], np.array([0]))
        ((batch, _),) = batches_to_test(split, preprocessing, 1, normalized=False)
        wanted = np.repeat(gray, 3, -1) if channels == 3 and images is gray else expected
        np.testing.assert_array_equal(batch[0], wanted)
        trained, _ = next(iter(training_batches(split, recipe, 2)))
        np.testing.assert_allclose(trained[0], preprocessing.normalize(wanted), atol=1e-5)
    with pytest.raises(UserError, match=r"`images.channels` must be 3 .* images.channels=4"):
        next(iter(batches_to_test(TableSplit(photo[None], np.array([0])), PREPROCESSING_4, 1)))


@pytest.mark.parametrize("field, value", [("policy", "trivial_augment_wide"), ("lighting", 0.1)])
def test_augmentation_that_needs_rgb(field, value):
    changes = {"images.channels": 1, f"augmentation.{field}": value}
    with pytest.raises(ValueError, match=rf"`augmentation.{field}` must be .* it needs RGB"):
        get_recipe("digits", changes)


# Errors.


def test_unknown_data_set_names_the_nearest():
    match = r"No data set is called 'digit', and there is no such folder. Nearest: digits."
    with pytest.raises(UserError, match=match):
        load("digit")
    with pytest.raises(UserError, match=r"'imagenet2021', and .* folder. Nearest: .*imagenet2012"):
        load("imagenet2021")
    with pytest.raises(UserError, match="There is no folder no/where"):
        load("no/where")


def test_misspelt_folder_names_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no such folder. Nearest: photos\b"):
        load("photo")


def test_data_set_that_is_not_prepared(tmp_path):
    with pytest.raises(UserError, match=r"imagenet_v2 is not prepared .*prepare imagenet_v2"):
        load("imagenet_v2", data_dir=str(tmp_path))


def test_data_set_of_no_labelled_images(tmp_path):
    with pytest.raises(UserError, match="holds no images with labels"):
        load("imdb_reviews", data_dir=str(tmp_path))


def test_missing_package_names_the_extra():
    with pytest.raises(UserError, match=r"`no_such_package`: pip install 'regnet_tf\[training\]'"):
        import_optional("no_such_package.part")


def test_broken_package_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        import_optional("broken_package")
