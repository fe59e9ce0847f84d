"""Images that cannot be read: found, named in one line, and left out by choice."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_image

from regnet_tf import _locking
from regnet_tf._errors import UserError
from training import data_command as command
from training.data import load
from training.data.batches import test_batches as batches_to_test
from training.data.batches import training_batches
from training.data.checking import check_files, naming_damaged_files
from training.loop import train
from training.loop.examples import write_examples
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe


@pytest.fixture(scope="module")
def pillow():
    return pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def contents(pillow):
    """A photograph in files of several kinds, by suffix."""
    photo = pillow.fromarray(load_sample_image("china.jpg")[:200, :300])

    def encoded(image, kind, **options):
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return {
        "jpg": encoded(photo, "JPEG"),
        "progressive.jpg": encoded(photo, "JPEG", progressive=True),
        "gray.jpeg": encoded(photo.convert("L"), "JPEG"),
        "png": encoded(photo, "PNG"),
        "palette.png": encoded(photo.convert("P"), "PNG"),
        "bmp": encoded(photo, "BMP"),
        "gif": encoded(photo, "GIF"),
        "webp": encoded(photo, "WEBP"),
    }


def write_photos(folder, contents):
    """Sound files of each kind in two classes."""
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for suffix, content in contents.items():
            (folder / name / f"sound.{suffix}").write_bytes(content)
    return folder


DAMAGED = {
    "empty.jpg": lambda contents: b"",
    "text.png": lambda contents: b"These are words.",
    **{
        f"half.{suffix}": lambda contents, suffix=suffix: contents[suffix][
            : len(contents[suffix]) // 2
        ]
        for suffix in ("jpg", "progressive.jpg", "gray.jpeg", "png", "bmp", "webp")
    },
}


def damage(folder, contents):
    for number, (name, made) in enumerate(DAMAGED.items()):
        (folder / ("ant", "bee")[number % 2] / name).write_bytes(made(contents))


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def test_sound_files_pass(tmp_path, contents, capsys):
    folder = write_photos(tmp_path / "photos", contents)
    data = load(folder, test_share=0.25)
    assert check_files(data) is data
    assert run("check", folder) == 0
    assert capsys.readouterr().out.endswith(f"All 16 images of {folder} can be read.\n")


def test_images_in_memory_need_no_check():
    data = load("digits")
    assert check_files(data) is data


def test_every_damaged_file_is_found_and_named(tmp_path, contents, capsys):
    folder = write_photos(tmp_path / "photos", contents)
    damage(folder, contents)
    assert run("check", folder) == 1
    lines = capsys.readouterr().out.splitlines()
    found = {os.path.basename(line.partition(": ")[0]) for line in lines[:-1]}
    assert found == {*DAMAGED}
    assert lines[-1] == f"{len(DAMAGED)} of {16 + len(DAMAGED)} images of {folder} are damaged."
    assert all(line.partition(": ")[2] for line in lines[:-1])


def test_training_stops_before_it_starts(tmp_path, contents):
    folder = write_photos(tmp_path / "photos", contents)
    damage(folder, contents)
    for number in range(7):
        (folder / "ant" / f"{number}.jpg").write_bytes(b"")
    data = load(folder, test_share=0.25)
    with pytest.raises(UserError) as caught:
        check_files(data)
    text = str(caught.value)
    assert text.startswith(f"15 files of {folder} cannot be read. {folder}")
    assert text.endswith("; and 5 more. To leave them out: --set data.skip_damaged=true")
    assert text.count(str(folder)) == 11 and "\n" not in text
    left = check_files(data, skip_damaged=True)
    assert left.train.size + left.test.size == 16
    assert all("sound" in path for path in (*left.train.paths, *left.test.paths))
    assert left.notes[-1].startswith(f"15 files of {folder} cannot be read and are left out. ")
    preprocessing = get_recipe("smoke").images.preprocessing
    for split in (left.train, left.test):
        assert len(list(batches_to_test(split, preprocessing, 1))) == split.size


def test_no_file_can_be_read(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "empty.jpg").touch()
    with pytest.raises(UserError, match=r"No image of .* can be read. .*ant.empty.jpg: "):
        check_files(load(tmp_path), skip_damaged=True)


@pytest.fixture
def damaged_later(tmp_path, contents):
    """A data set and the path of a file that was damaged after it was loaded."""
    folder = write_photos(tmp_path / "photos", contents)
    data = load(folder, test_share=0.25)
    path = data.train.paths[3]
    with open(path, "wb") as file:
        file.write(contents["jpg"][:3000])
    return data, path


def test_errors_of_tensorflow_become_names_of_files(damaged_later):
    data, path = damaged_later
    recipe = get_recipe("smoke", {"schedule.batch_size": 4, "schedule.max_steps": None})
    with pytest.raises(UserError) as caught, naming_damaged_files(data.train):
        list(training_batches(data.train, recipe, 2))
    assert str(caught.value).startswith(f"An image cannot be read. {path}: ")
    assert "\n" not in str(caught.value)


def test_other_errors_pass(damaged_later):
    data, _ = damaged_later
    with pytest.raises(tf.errors.InvalidArgumentError), naming_damaged_files(data.test):
        raise tf.errors.InvalidArgumentError(None, None, "another one")


def test_examples_name_the_file(damaged_later, tmp_path):
    data, path = damaged_later
    with pytest.raises(UserError, match=r"An image cannot be read. ") as caught:
        write_examples(tmp_path / "e.npz", data, get_recipe("smoke").images.preprocessing, 0)
    assert path in str(caught.value) and not (tmp_path / "e.npz").exists()


def test_inspection_names_the_file(damaged_later, tmp_path, capsys):
    path = damaged_later[1]
    folder = os.path.dirname(os.path.dirname(path))
    sheet = tmp_path / "sheet.png"
    assert run("inspect", folder, "--recipe", "smoke", "--out", sheet, "--seconds", 0.1) == 2
    error = capsys.readouterr().err
    assert path in error and len(error.splitlines()) == 1


def smoke(folder, **data):
    fields = {"name": str(folder), "test_share": 0.25, **data}
    changes = {f"data.{field}": value for field, value in fields.items()}
    return get_recipe("smoke", {**changes, "schedule.batch_size": 4, "schedule.epochs": 1})


class Reached(Exception):
    """A run has come to its training."""


def test_a_run_checks_files_first(tmp_path, contents, monkeypatch):
    """It leaves damaged ones out by choice."""
    folder, out = write_photos(tmp_path / "photos", contents), tmp_path / "run"
    damage(folder, contents)
    with pytest.raises(UserError, match=r"8 files of .* cannot be read. .*skip_damaged=true"):
        train_and_evaluate(smoke(folder), out, verbose=0)
    assert [path.name for path in out.iterdir()] == [_locking.FILE]

    def given(recipe, data, *_):
        raise Reached(data)

    monkeypatch.setattr(train, "Run", given)
    with pytest.raises(Reached) as reached:
        train_and_evaluate(smoke(folder, skip_damaged=True), out, verbose=0)
    (data,) = reached.value.args
    assert data.train.size + data.test.size == 16


def test_a_run_names_a_file_that_is_damaged_later(tmp_path, contents, monkeypatch):
    folder = write_photos(tmp_path / "photos", {"jpg": contents["jpg"], "png": contents["png"]})
    path, make = folder / "ant" / "sound.jpg", train.Run

    def damaging(*arguments):
        path.write_bytes(contents["jpg"][:3000])
        return make(*arguments)

    monkeypatch.setattr(train, "Run", damaging)
    with pytest.raises(UserError, match=r"An image cannot be read. .*ant.sound.jpg: ") as caught:
        train_and_evaluate(smoke(folder), tmp_path / "run", verbose=0)
    assert "\n" not in str(caught.value)
    path.write_bytes(contents["jpg"])

    def given(*_):
        raise Reached

    monkeypatch.setattr(train, "Run", given)
    monkeypatch.setattr(train, "check_files", None)  # a run that resumes does not call it
    with pytest.raises(Reached):
        train_and_evaluate(smoke(folder), tmp_path / "run", verbose=0)


@pytest.mark.parametrize("layout", ["csv", "masks"])
def test_check_of_other_layouts(tmp_path, layout, capsys):
    image = np.zeros((8, 8, 3), "uint8")
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.png").write_bytes(tf.io.encode_png(image).numpy())
    if layout == "csv":
        (tmp_path / "labels.csv").write_text("path,label\nimages/a.png,x\nimages/b.png,y\n")
        (tmp_path / "images" / "b.png").write_bytes(b"")
        expected = f"{tmp_path / 'images' / 'b.png'}: "
    else:
        (tmp_path / "masks").mkdir()
        (tmp_path / "classes.txt").write_text("sky\nwall")
        for name, level in (("a", 1), ("b", 3)):
            mask = np.full((8, 8, 1), level, "uint8")
            (tmp_path / "masks" / f"{name}.png").write_bytes(tf.io.encode_png(mask).numpy())
        expected = f"{tmp_path / 'masks' / 'b.png'}: It has the index 3; classes are 0 to 1"
    assert run("check", tmp_path) == 1
    assert expected in capsys.readouterr().out


def test_what_can_not_be_checked(capsys):
    assert run("check", "digits") == 2
    assert (
        "`DATA` must be a folder or a CSV file. Received: DATA='digits'" in capsys.readouterr().err
    )


def test_images_that_are_too_large(tmp_path, contents, capsys):
    folder = write_photos(tmp_path / "photos", contents)
    assert run("check", folder, "--max-pixels", 60_000) == 0  # 300 x 200
    capsys.readouterr()
    assert run("check", folder, "--max-pixels", 59_999) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 17
    reason = "It has 300 x 200 pixels, and `max_pixels` allows 59,999"
    assert all(line.endswith(reason) for line in lines[:-1])
    recipe = get_recipe("smoke").replace(
        {"data.name": str(folder), "data.test_share": 0.5, "images.max_pixels": 59_999}
    )
    with pytest.raises(UserError, match=f"No image of .*{reason}"):
        train_and_evaluate(recipe, tmp_path / "run")
    # The input pipeline refuses them by itself, too.
    data = load(folder, test_share=0.5)
    for crop in ("whole", "random_resized"):
        changed = recipe.replace({"augmentation.crop": crop, "schedule.batch_size": 2})
        batches = training_batches(data.train, changed, 2)
        with (
            pytest.raises(UserError, match=reason),
            naming_damaged_files(data.train, max_pixels=59_999),
        ):
            next(iter(batches))
