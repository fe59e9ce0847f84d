"""Folders of class folders: listing, splitting, and what is said about them."""

import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from odd_files import NAMES, OTHERS, write_odd_files
from sklearn.datasets import load_sample_images

from regnet_tf._errors import UserError
from regnet_tf._folders import images_below
from training.data import CompleteDataSet, load
from training.data.batches import test_batches as batches_to_test
from training.data.description import describe
from training.data.splitting import held_out_of_classes, held_out_of_sets
from training.recipes import get_recipe


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


def touch(path, **counts):
    """Empty files, as listing a folder reads none."""
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for number in range(count):
            (path / name / f"{number}.jpg").touch()
    return path


def names(split):
    return {os.path.join(*path.split(os.sep)[-2:]) for path in split.paths}


def test_folder_of_class_folders(tmp_path, photographs):
    crops = write_folder(tmp_path, photographs, ["bee", "ant"])
    data = load(tmp_path)
    assert data.class_names == ("ant", "bee") and data.train is None and data.test.size == 4
    assert data.target == "class" and data.notes == ()
    assert data.test.paths[0] == str(tmp_path / "ant" / "0.png")
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
    assert ["bee" in path for path in few.test.paths] == [label == 0 for label in few.test.labels]
    (tmp_path / "val" / "bee").rename(tmp_path / "val" / "cow")
    with pytest.raises(UserError, match=r"must hold the same classes. In only one .*: bee, cow"):
        load(tmp_path)


def test_folder_of_three_splits(tmp_path):
    for split, count in (("train", 20), ("validation", 4), ("test", 3)):
        touch(tmp_path / split, ant=count, bee=count)
    data = load(tmp_path, test_share=0.2)
    assert (data.train.size, data.test.size) == (40, 8)
    assert data.notes == (
        f"{tmp_path / 'test'} is not used: the test images are those of {tmp_path / 'validation'}."
        f" To count it: regnet evaluate RUN --data {tmp_path / 'test'}",
    )


def test_folder_of_classes_and_of_test_images(tmp_path):
    """The classes are not used, so an error names them and where they belong."""
    touch(tmp_path, ant=20, bee=20)
    touch(tmp_path / "test", ant=3, bee=3)
    data = load(tmp_path, test_share=0.2)
    assert data.train is None and data.test.size == 6
    with pytest.raises(UserError, match=r"no images to train on.*not used: ant, bee") as error:
        CompleteDataSet.of(data)
    assert f"belong in {tmp_path / 'train'}." in str(error.value)
    assert load(tmp_path / "test").notes == ()


def test_folder_named_by_numbers(tmp_path):
    touch(tmp_path, **{str(number): 1 for number in range(12)})
    assert load(tmp_path).class_names == tuple(str(number) for number in range(12))


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="holds no folders of images"):
        load(tmp_path)
    touch(tmp_path, ant=0, bee=20)
    with pytest.raises(UserError, match=r"ant holds no images \(.jpg, .jpeg, .png, .bmp, .gif, .w"):
        load(tmp_path)
    data = load(tmp_path, skip_damaged=True)
    assert data.class_names == ("bee",)
    assert data.notes == ("Classes without images are left out: ant.",)


# Splits by seed.


def test_classes_are_split_by_the_seed(tmp_path):
    touch(tmp_path / "photos", ant=30, bee=10, cow=2, dog=1)
    data = load(tmp_path / "photos", test_share=0.2)
    assert np.bincount(data.test.labels).tolist() == [6, 2, 1]
    assert np.bincount(data.train.labels).tolist() == [24, 8, 1, 1]
    assert data.notes == (
        f"{tmp_path / 'photos'} has no test images: 20 % of each class are held out (seed 0).",
    )
    rare = "3 classes have fewer than 10 training images: bee (8), cow (1), dog (1)."
    assert describe(data).endswith(rare)
    assert names(data.train).isdisjoint(names(data.test))
    again = load(tmp_path / "photos", test_share=0.2)
    assert names(again.test) == names(data.test)
    other = load(tmp_path / "photos", test_share=0.2, split_seed=1)
    assert names(other.test) != names(data.test)
    # It is the same elsewhere, and other classes do not matter.
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    touch(tmp_path / "elsewhere", aardvark=9)
    moved = load(tmp_path / "elsewhere", test_share=0.2)
    assert {name for name in names(moved.test) if "aardvark" not in name} == names(data.test)


def test_the_split_is_independent_of_the_order_and_changes_little():
    paths = [f"a/{number}.jpg" for number in range(200)]
    labels = np.zeros(200, int)
    chosen = held_out_of_classes(paths, labels, 0.25, seed=3)
    assert chosen.sum() == 50
    back = held_out_of_classes(paths[::-1], labels, 0.25, seed=3)
    np.testing.assert_array_equal(chosen, back[::-1])
    with_more = held_out_of_classes([*paths, "a/new.jpg"], np.zeros(201, int), 0.25, seed=3)
    assert (chosen != with_more[:-1]).sum() <= 1


def test_every_class_of_several_stays_in_training():
    rng = np.random.default_rng(0)
    for seed in range(20):
        labels = (rng.random((40, 8)) < 0.06).astype("uint8")
        paths = [f"{number}.jpg" for number in range(40)]
        chosen = held_out_of_sets(paths, labels, 0.4, seed)
        there_are = labels.any(0)
        assert labels[~chosen].any(0)[there_are].all() and 4 < chosen.sum() <= 16


def test_training_folder_alone_is_split(tmp_path):
    touch(tmp_path / "train", ant=20, bee=20)
    data = load(tmp_path, test_share=0.25)
    assert (data.train.size, data.test.size) == (30, 10)
    alone = load(tmp_path)
    assert alone.train.size == 40 and alone.test is None


# What is listed, and what is left out.


def test_files_that_are_left_out_are_counted(tmp_path):
    touch(tmp_path, ant=20, bee=20)
    for name in ("notes.txt", "ant/.hidden.jpg", "ant/more.tif", "bee/Thumbs.db", "x.jpg", "y"):
        (tmp_path / name).touch()
    (tmp_path / "bee" / "deeper").mkdir()
    (tmp_path / "bee" / "deeper" / "UPPER.JPeG").touch()
    (tmp_path / ".cache").mkdir()
    data = load(tmp_path)
    assert data.test.size == 41 and names(data.test) >= {"deeper/UPPER.JPeG"}
    assert data.notes == (
        f"7 files in {tmp_path} are hidden or no images and are left out: .cache, notes.txt, x.jpg,"
        " y, ant/.hidden.jpg, ....",
    )


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "PNG", "bmp", "gif", "webp"])
def test_suffixes(tmp_path, suffix):
    touch(tmp_path, ant=1, bee=1)
    (tmp_path / "bee" / f"one.{suffix}").touch()
    assert load(tmp_path).test.size == 3


def test_links(tmp_path):
    """To files and folders; a folder that contains itself is entered once."""
    touch(tmp_path / "store", ant=3)
    touch(tmp_path / "photos", bee=2)
    try:
        (tmp_path / "photos" / "ant").symlink_to(tmp_path / "store" / "ant")
        (tmp_path / "photos" / "bee" / "link.jpg").symlink_to(tmp_path / "store" / "ant" / "0.jpg")
        (tmp_path / "photos" / "bee" / "loop").symlink_to(tmp_path / "photos" / "bee")
    except OSError:
        pytest.skip("This file system has no links.")
    assert np.bincount(load(tmp_path / "photos").test.labels).tolist() == [3, 3]


def test_names_that_are_not_utf_8(tmp_path, photographs):
    write_folder(tmp_path, photographs, ["ant", "bee"])
    folder, file = os.fsencode(tmp_path / "ant"), os.fsencode(tmp_path / "bee")
    try:
        os.rename(folder, os.fsencode(tmp_path) + b"/a\xe4nt")
        os.rename(file + b"/0.png", file + b"/\xff.png")
    except OSError:
        pytest.skip("This file system has names in UTF-8 only.")
    data = load(tmp_path)
    assert data.class_names == ("a�nt", "bee")
    assert str(tmp_path / "bee" / r"\xff.png") in data.test.paths
    preprocessing = get_recipe("smoke").images.preprocessing
    assert sum(len(labels) for _, labels in batches_to_test(data.test, preprocessing, 3)) == 4


def test_description(tmp_path):
    touch(tmp_path, bee=20, ant=10)
    assert describe(load(tmp_path, test_share=0.2)) == (
        f"{tmp_path}: 24 images to train on, 6 images to test with\n"
        "2 classes in this order: ant (8 + 2), bee (16 + 4)\n"
        "1 class has fewer than 10 training images: ant (8)."
    )
    touch(tmp_path, **{f"c{number:03}": 1 for number in range(40)})
    text = describe(load(tmp_path)).splitlines()[1]
    assert text == (
        "42 classes in this order: ant (10), bee (20), c000 (1), c001 (1), c002 (1), ..., c035 (1),"
        " c036 (1), c037 (1), c038 (1), c039 (1)"
    )


# What is no file, and names that print badly.


def test_only_files_are_images(tmp_path, photographs):
    content = tf.io.encode_png(photographs[0][:60, :80]).numpy()
    write_odd_files(tmp_path / "photos" / "ant", content)
    touch(tmp_path / "photos", bee=1)
    (tmp_path / "photos" / "bee" / "0.jpg").write_bytes(content)
    found = images_below(tmp_path / "photos" / "ant")
    assert sorted(map(os.fsencode, found.images)) == sorted(NAMES) and found.left_out == OTHERS
    data = load(tmp_path / "photos")
    folder = tmp_path / "photos" / "ant"
    assert data.test.paths[:-1] == [str(folder / NAMES[os.fsencode(one)]) for one in found.images]
    (note,) = data.notes
    assert note.startswith(f"5 files in {tmp_path / 'photos'} are hidden or no images and are left")
    assert all(f"ant/{name}" in note for name in OTHERS)
    preprocessing = get_recipe("smoke").images.preprocessing
    ((images, _),) = batches_to_test(data.test, preprocessing, 8)
    np.testing.assert_array_equal(images, np.repeat(images[:1], 6, 0))


def test_deep_folders(tmp_path):
    depth = 1100  # more than Python's limit of nested calls
    start = here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        here, old = os.open("d", os.O_RDONLY, dir_fd=here), here
        if old != start:
            os.close(old)
    os.close(os.open("0.jpg", os.O_CREAT, dir_fd=here))
    os.close(here)
    found = images_below(tmp_path).images
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest would call itself as often
    assert found == ["d/" * depth + "0.jpg"]


@pytest.mark.parametrize(
    "name", ["be\ne", "be\x1b[31me", "bee ", " bee", "be\x85e", "be\u2028e", "\t"]
)
def test_names_of_classes_that_are_no_line(name, tmp_path):
    """They would not come back from a file of labels."""
    touch(tmp_path, **{"ant": 1, name: 1})
    with pytest.raises(UserError, match="must be names of one line each") as caught:
        load(tmp_path)
    assert repr(name) in str(caught.value) and str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
