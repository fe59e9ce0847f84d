"""Images with their classes in a CSV file."""

import os

import numpy as np
import pytest

from regnet_tf._errors import UserError
from training.data import load
from training.data.batches import test_examples as examples_to_test
from training.data.batches import training_batches
from training.data.description import describe
from training.loop.loading import load_for
from training.recipes import get_recipe

LABELS = ("cat", "dog", "cat", "owl", "dog", "cat")


@pytest.fixture
def photos(tmp_path):
    """A folder of empty files, as no test here reads them."""
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    for number in range(len(LABELS)):
        (folder / "images" / f"{number}.jpg").touch()
    return folder


def write(folder, text, name="labels.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def rows(labels=LABELS, header="path,label", delimiter=","):
    lines = [f"images/{number}.jpg{delimiter}{label}" for number, label in enumerate(labels)]
    return "\n".join([header, *lines]) + "\n"


def labelled(split, names):
    return {
        os.path.basename(path): names[label]
        for path, label in zip(split.paths, split.labels, strict=True)
    }


EXPECTED = {f"{number}.jpg": label for number, label in enumerate(LABELS)}


@pytest.mark.parametrize("by", ["file", "folder"])
def test_images_have_the_classes_of_their_rows(photos, by):
    file = write(photos, rows())
    data = load(file if by == "file" else photos)
    assert data.class_names == ("cat", "dog", "owl") and data.train is None
    assert labelled(data.test, data.class_names) == EXPECTED and data.notes == ()


@pytest.mark.parametrize("header", ["file,class", "Filename , Category", "image_path,label,extra"])
def test_names_of_columns(photos, header):
    assert load(write(photos, rows(header=header))).test.size == 6


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_delimiters_and_marks(photos, delimiter, encoding):
    text = rows(header=f'"path"{delimiter}"label"', delimiter=delimiter).replace("\n", "\r\n")
    data = load(write(photos, text, encoding=encoding))
    assert labelled(data.test, data.class_names) == EXPECTED


def test_quoted_fields(photos):
    (photos / "images" / 'a, "b".jpg').touch()
    text = rows() + '"images/a, ""b"".jpg","owl, brown"\n'
    data = load(write(photos, text))
    assert data.class_names == ("cat", "dog", "owl", "owl, brown")
    assert labelled(data.test, data.class_names)['a, "b".jpg'] == "owl, brown"


def test_columns_that_do_not_fit(photos):
    file = write(photos, "name;kind\na.jpg;cat\n")
    with pytest.raises(UserError, match=r"must name a column of paths .*: 'name', 'kind'"):
        load(file)
    with pytest.raises(UserError, match=r"There is no file .*none.csv"):
        load(photos / "none.csv")


@pytest.mark.parametrize("name", ["labels.csv", "index.csv"])
def test_which_file_of_a_folder(photos, name):
    write(photos, rows(), name)
    assert load(photos).target == "class"
    write(photos, "nothing,here\n", "other.csv")
    if name == "labels.csv":
        assert load(photos).test.size == 6
    else:  # neither is named, so the folder is one of class folders
        assert load(photos).class_names == ("images",)


def test_a_column_of_splits(photos):
    splits = ("train", "train", "Training", "val", "test", "valid")
    text = rows([f"{label},{split}" for label, split in zip(LABELS, splits, strict=True)])
    data = load(write(photos, text.replace("path,label", "path,label,split")))
    assert (data.train.size, data.test.size) == (3, 2)
    assert set(labelled(data.test, data.class_names)) == {"3.jpg", "5.jpg"}
    assert "The images of the split test in" in data.notes[0]
    assert "3 classes have fewer than 10 training images: cat (2), dog (1), owl (0)." in describe(
        data
    )
    wrong = text.replace("path,label", "path,label,split").replace("test", "dev")
    with pytest.raises(UserError, match=r"line 6 of .* must be train, .* Received: 'dev'"):
        load(write(photos, wrong))


def test_split_by_seed(photos):
    data = load(write(photos, rows()), test_share=0.5)
    assert np.bincount(data.train.labels).tolist() == [1, 1, 1]
    assert np.bincount(data.test.labels).tolist() == [2, 1]
    assert "50 % of each class are held out (seed 0)." in data.notes[0]


def test_what_is_left_out_is_counted(photos):
    (photos / "images" / "new.png").touch()
    text = rows([*LABELS, "cat", "dog"]) + "images/0.jpg,cat\nimages/5.jpg,cat\n\n,\n"
    text = text.replace("images/1.jpg,dog", "images/1.jpg,")
    data = load(write(photos, text))
    assert data.test.size == 5
    file = photos / "labels.csv"
    assert data.notes == (
        f"2 images of {file} do not exist and are left out: images/6.jpg, images/7.jpg.",
        f"1 image of {file} has no class and is left out: images/1.jpg.",
        f"2 rows of {file} repeat an image and are left out: images/0.jpg, images/5.jpg.",
        f"1 image in its folders is not listed in {file} and is left out: images/new.png.",
    )


def test_rows_that_can_not_be(photos):
    with pytest.raises(UserError, match=r"lists images/0.jpg as 'cat' .* and as 'dog'"):
        load(write(photos, rows() + "images/0.jpg,dog\n"))
    with pytest.raises(UserError, match=r"None of the 1 images in .* exists .*: images/x.jpg"):
        load(write(photos, "path,label\nimages/x.jpg,cat\n"))
    with pytest.raises(UserError, match=r"Line 8 of .* names no image"):
        load(write(photos, rows() + ",dog\n"))
    with pytest.raises(UserError, match="must name two or more classes"):
        load(write(photos, rows(["cat"] * 6)))


def test_names_of_files_need_not_be_utf_8(photos):
    try:
        (photos / "images" / os.fsdecode(b"\xff.jpg")).touch()
    except OSError:
        pytest.skip("This file system has names in UTF-8 only.")
    (photos / "labels.csv").write_bytes(rows().encode() + b"images/\xff.jpg,owl\n")
    assert load(photos).test.size == 7


# Several classes of an image.

SETS = ("cat; dog", "dog", "", "owl;cat;dog", "cat", "owl")


@pytest.fixture
def several(photos):
    return write(photos, rows([f'"{one}"' for one in SETS], header="path,labels"))


def test_several_classes(several):
    data = load(several)
    assert data.target == "classes" and data.class_names == ("cat", "dog", "owl")
    np.testing.assert_array_equal(
        data.test.labels, [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1]]
    )
    assert data.test.labels.dtype == np.uint8


def test_a_separator_makes_a_set_of_several_classes(photos):
    data = load(write(photos, rows(["cat;dog", *LABELS[1:]])))
    assert data.target == "classes" and data.test.labels[0].tolist() == [1, 1, 0]
    split = load(photos, test_share=0.5)
    assert split.train.labels.any(0).all() and (split.train.size, split.test.size) != (6, 0)


def test_selection_of_several_classes(several):
    data = load(several, classes=("owl", "cat"))
    assert data.test.labels.tolist() == [[0, 1], [1, 1], [0, 1], [1, 0]]
    with pytest.raises(UserError, match="cannot be restricted"):
        load(several, classes=("owl", "cat"), images_per_class=1)


def test_batches_of_several_classes(photos, several):
    import tensorflow as tf

    for number in range(6):
        content = tf.io.encode_jpeg(np.full((40, 40, 3), 40 * number, "uint8")).numpy()
        (photos / "images" / f"{number}.jpg").write_bytes(content)
    recipe = get_recipe(
        "smoke", {"data.name": str(several), "data.test_share": 0.3, "schedule.batch_size": 4}
    )
    with pytest.raises(UserError, match=r"`loss.name` must be binary_cross_entropy"):
        load_for(recipe)
    data = load_for(recipe.replace({"loss.name": "binary_cross_entropy"}))
    images, labels = next(iter(training_batches(data.train, recipe, 3)))
    assert labels.dtype == "float32" and labels.shape == (4, 3)
    sets = {number: one.tolist() for number, one in enumerate(load(several).test.labels)}
    mean, std = recipe.images.mean, recipe.images.std
    for image, label in zip(images.numpy() * std + mean, labels.numpy(), strict=True):
        assert sets[round(float(image.mean()) * 255 / 40)] == label.tolist()
    for _, label in examples_to_test(data.test, recipe.images.preprocessing):
        assert label.dtype == "float32" and label.shape == (3,)


@pytest.mark.parametrize("label", ['"be\ne"', "be\x1b[31me", "be\x85e"])
def test_names_of_classes_that_are_no_line(label, photos):
    write(photos, rows(["ant", label]))
    with pytest.raises(UserError, match="must be names of one line each") as caught:
        load(photos)
    assert repr(label.strip('"')) in str(caught.value)


def test_only_files_are_images(photos):
    images = photos / "images"
    for number, make in ((0, os.mkdir), (1, os.mkfifo), (2, lambda path: os.symlink("a", path))):
        (images / f"{number}.jpg").unlink()
        make(images / f"{number}.jpg")
    (images / "folder.jpg").mkdir()
    os.mkfifo(photos / "pipe.csv")  # the only other table of the folder
    (photos / "folder.csv").mkdir()
    write(photos, rows(), "table.csv")
    data = load(photos)
    assert data.test.size == 3 and len(data.notes) == 1
    assert data.notes[0].startswith("3 images of ") and "folder.jpg" not in data.notes[0]
