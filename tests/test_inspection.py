"""What `regnet data inspect` shows: counts, a sheet of images, speed."""

import re
import subprocess
import sys
import time

import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_images

import benchmarks.photographs
from regnet_tf._cpu import available_cores
from training import data_command as command
from training.data import inspection, load, sheet, speed, torch_loader
from training.recipes import get_recipe


def inspect(*arguments):
    return command.main(["inspect", *map(str, arguments)])


@pytest.fixture
def small_sheet(monkeypatch):
    monkeypatch.setattr(sheet, "_ROWS", 1)


@pytest.fixture
def known_speed(monkeypatch):
    """The speed of every pipeline, whatever else the machine does: images per second."""
    monkeypatch.setattr(
        speed, "rate", lambda batches, *_: speed.Rate(len(next(batches)) * 252_000.0, 1.0)
    )
    return 2 * 252_000


def shown(path):
    """How much of a picture is not white, from 0 to 1."""
    picture = matplotlib.image.imread(path)
    return (picture[..., :3] < 1).any(-1).mean()


def test_inspect_digits(small_sheet, known_speed, tmp_path, capsys):
    path = tmp_path / "new" / "sheet.png"
    assert inspect("digits", "--out", path, "--wished-speed", 1) == 0
    printed = capsys.readouterr().out
    assert "digits: 1,347 images to train on, 450 images to test with" in printed
    assert "10 classes in this order: 0 (133 + 45), 1 (136 + 46)," in printed
    assert f"{path}  training images of the recipe digits" in printed
    cores = available_cores()
    assert re.search(rf" {known_speed:,} images/s on {cores} cores?\n", printed)
    assert re.search(r" [\d,]+ images/s per core: 1 core for 1 images/s\n", printed)
    assert shown(path) > 0.4


def test_inspect_imagenet(small_sheet, known_speed, miniature_imagenet, tmp_path, capsys):
    path = tmp_path / "sheet.png"
    options = ("--recipe", "smoke", "--batch-size", 20, "--out", path)
    arguments = ("--data-dir", miniature_imagenet.data_dir, *options)
    assert inspect("imagenet2012", *arguments, "--wished-speed", 10**7) == 0
    printed = capsys.readouterr().out
    assert "imagenet2012: 230 images to train on, 50 images to test with" in printed
    assert "1,000 classes in this order: n01440764, n01443537," in printed
    assert "batches of 20" in printed
    total, each = (
        float(re.search(rf" ([\d,]+) images/s {what}", printed)[1].replace(",", ""))
        for what in ("on", "per core")
    )
    assert each == pytest.approx(total / available_cores(), rel=0.02)
    needed = int(re.search(r": ([\d,]+) cores for 10,000,000", printed)[1].replace(",", ""))
    assert needed == pytest.approx(1e7 / each, rel=0.02)
    assert shown(path) > 0.4


def test_images_are_shown_as_they_were():
    recipe = get_recipe("smoke")
    levels = np.linspace(0, 255, 48).reshape(4, 4, 3)
    normalized = recipe.images.preprocessing.normalize(levels)
    np.testing.assert_allclose(
        sheet.displayable(normalized, recipe.images) * 255, levels, atol=1e-3
    )
    beyond = sheet.displayable(np.full((1, 1, 3), 9.0), recipe.images)
    assert beyond.min() == beyond.max() == 1


def write_images(folder, names, channels=3):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        level = np.full((20, 30, channels), 20 * number, "uint8")
        (folder / f"{name}.png").write_bytes(tf.io.encode_png(level).numpy())


def test_inspect_a_folder_with_a_recipe_that_suits_it(small_sheet, tmp_path, capsys):
    for name in ("ant", "bee"):
        write_images(tmp_path / "photos" / name, range(5))
    (tmp_path / "photos" / "ant" / "notes.txt").touch()
    path = tmp_path / "sheet.png"
    options = ("--out", path, "--seconds", 0.1)
    assert inspect(tmp_path / "photos", *options) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'photos'}: 8 images to train on, 2 images to test with" in printed
    assert "2 classes in this order: ant (4 + 1), bee (4 + 1)" in printed
    assert "20 % of each class are held out (seed 0)." in printed
    assert "2 classes have fewer than 10 training images: ant (4), bee (4)." in printed
    assert "is hidden or no image and is left out: ant/notes.txt." in printed
    assert "training images of the recipe from_scratch" in printed
    assert "224 pixels, batches of 8" in printed and shown(path) > 0.4


def test_inspect_a_folder_of_masks(small_sheet, tmp_path, capsys):
    folder = tmp_path / "garden"
    write_images(folder / "images", range(10))
    write_images(folder / "masks", range(10), channels=1)
    (folder / "classes.txt").write_text("\n".join(map(str, range(181))))
    path = tmp_path / "sheet.png"
    assert inspect(folder, "--out", path, "--seconds", 0.1) == 0
    printed = capsys.readouterr().out
    assert f"{folder}: 8 images to train on, 2 images to test with" in printed
    assert "training images of the recipe from_scratch_segmentation" in printed
    assert shown(path) > 0.4


@pytest.mark.slow
def test_inspect_several_classes_of_an_image(small_sheet, tmp_path, capsys):
    write_images(tmp_path / "images", range(10))
    lines = [f"images/{number}.png,a;b" for number in range(8)]
    lines += ["images/8.png,b", "images/9.png,"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,labels", *lines]))
    path = tmp_path / "sheet.png"
    assert inspect(tmp_path / "labels.csv", "--out", path, "--seconds", 0.1) == 0
    assert "2 classes in this order: a (" in capsys.readouterr().out
    assert shown(path) > 0.4


def test_a_class_is_drawn_in_its_color_over_the_image(small_sheet):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    label = np.zeros((4, 4, 3))
    label[:2, :, 1] = 1  # the other half is ignored
    sheet._draw_map(axes, label)
    drawn = axes.images[0].get_array()
    np.testing.assert_array_equal(drawn.mask[:, 0], [False, False, True, True])
    assert (drawn[:2] == 1).all()


def test_titles_of_several_classes():
    names = ("n01440764", "bee", "cow")
    assert sheet.titles(np.array([1, 0, 1]), names) == "tench, cow"
    assert sheet.titles(np.zeros(3), names) == "no class"
    assert sheet.titles(np.ones(1), ("a very long name of a class",)) == "a very long name of a..."


def test_titles_name_what_an_image_is_made_of():
    names = ("n01440764", "bee", "cow")
    assert sheet.title(np.array([1.0, 0, 0]), names) == "tench"
    assert sheet.title(np.array([0, 0.98, 0.02]), names) == "bee"
    assert sheet.title(np.array([0.3, 0, 0.7]), names) == "cow 70%\ntench 30%"


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--batch-size", 0], "`schedule.batch_size` must be"),
        (["--recipe", "digit"], "No recipe is called 'digit'. Nearest: digits"),
        (["--wished-speed", 0], "`wished_speed` must be"),
        (["--compare-torch"], "needs a folder of images, not digits"),
    ],
)
def test_what_can_not_be_inspected(arguments, expected, tmp_path, capsys):
    assert inspect("digits", "--out", tmp_path / "sheet.png", *arguments) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_rate_counts_what_comes_after_the_warm_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(speed, "cpu_seconds", lambda: 1.5 * now[0])

    def batches():
        for seconds in (100, 2, 2, 2, 2, 2):
            now[0] += seconds
            yield seconds

    assert speed.rate(batches(), 30, seconds=5) == (15, 10)
    measured = speed.Speed(images_per_second=450.0, cores=3)
    assert measured.per_core == 150
    assert [measured.cores_for(wished) for wished in (1, 150, 151, 1000)] == [1, 1, 2, 7]


def test_cpu_time_includes_child_processes():
    child = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    start, alone = speed.cpu_seconds(), time.process_time()
    command = [sys.executable, "-c", child]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.readline()
        used = speed.cpu_seconds() - start - (time.process_time() - alone)
        process.communicate(b"\n")
    assert 0.45 < used < 1


# Beside PyTorch's loader.


@pytest.fixture
def photographs(tmp_path):
    """A folder of two classes to train on, four JPEG files each."""
    for label, photograph in enumerate(load_sample_images().images):
        folder = tmp_path / "photographs" / "train" / f"class_{label}"
        folder.mkdir(parents=True)
        for number in range(4):
            part = photograph[30 * number :, 40 * number :]
            (folder / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(part).numpy())
    return tmp_path / "photographs"


def test_photographs_are_of_imagenets_size(tmp_path, capsys):
    assert benchmarks.photographs.main(["--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"Written: 66 images in {tmp_path}\n"
    files = sorted((tmp_path / "train").glob("class_?/*.jpg"))
    assert len(files) == 64 and len({file.read_bytes() for file in files}) == 64
    for file in files[::16]:
        assert tf.io.decode_jpeg(file.read_bytes()).shape == (375, 500, 3)
    assert 40_000 < np.mean([file.stat().st_size for file in files]) < 130_000


@pytest.mark.torch
def test_torchvision_reads_the_same_files(photographs):
    pytest.importorskip("torch")
    recipe = get_recipe("paper", {"images.size": 64, "schedule.batch_size": 8})
    loader = torch_loader.make_loader(photographs / "train", recipe, 2)
    images, labels = next(iter(loader))
    assert images.shape == (8, 3, 64, 64) and set(labels.tolist()) <= {0, 1}
    plain = recipe.replace({"augmentation.lighting": 0.0})
    ours = next(iter(speed.endless_batches(load(photographs).train, plain, 2)))[0]
    for batch in (images.permute(0, 2, 3, 1).numpy(), ours.numpy()):
        assert batch.dtype == "float32"
        levels = sheet.displayable(batch, recipe.images)
        np.testing.assert_allclose(
            batch, (levels - recipe.images.mean) / recipe.images.std, atol=1e-5
        )


@pytest.mark.slow  # PyTorch's workers start in each of the five turns
@pytest.mark.torch
def test_the_command_compares_with_torch(small_sheet, photographs, capsys):
    pytest.importorskip("torch")
    options = ("--recipe", "smoke", "--seconds", 0.01, "--out", photographs / "sheet.png")
    assert inspect(photographs, *options, "--compare-torch") == 0
    printed = capsys.readouterr().out
    assert re.search(r" images/s here .*\n.* images/s of CPU time here .*\n", printed)
    assert re.search(r" images/s of CPU time PyTorch .*\n.* times as fast by CPU time", printed)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision_v2", ["TrivialAugmentWide", "PILToTensor", "ConvertImageDtype"]),
        ("timm_ra", ["RandAugment", "PILToTensor", "ConvertImageDtype"]),
    ],
)
def test_pytorchs_augmentation_is_the_recipes(photographs, name, expected):
    pytest.importorskip("torch")
    recipe = get_recipe(name, {"images.size": 64, "schedule.batch_size": 4})
    if name == "timm_ra":
        pytest.importorskip("timm")
    loader = torch_loader.make_loader(photographs / "train", recipe, 2)
    steps = loader.dataset.transform.transforms
    names = [type(step).__name__ for step in steps]
    crops = ["RandomResizedCrop", "RandomHorizontalFlip"]
    assert names == [*crops, *expected, "Normalize", "RandomErasing"]
    assert steps[0].size == (64, 64) and steps[0].scale == recipe.augmentation.crop_area
    assert steps[0].interpolation.value == recipe.images.interpolation
    batch = [loader.dataset[place] for place in range(4)]
    images, labels = loader.collate_fn(batch)
    assert images.shape == (4, 3, 64, 64) and labels.shape == (4, 2)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    changed = [(mixed != image).any() for mixed, (image, _) in zip(images, batch, strict=True)]
    assert any(changed)


def test_figures_of_a_comparison(capsys):
    ours, theirs = (
        ((40.0, 8.0), (60.0, 12.0), (50.0, 10.0)),
        ((20.0, 4.0), (20.0, 4.0), (10.0, 2.0)),
    )
    compared = torch_loader.Comparison(
        ours=tuple(speed.Rate(*rate) for rate in ours),
        theirs=tuple(speed.Rate(*rate) for rate in theirs),
    )
    assert compared.ratios == [2, 3, 5] and compared.ratio == 3
    inspection.print_comparison(compared)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[0] for line in lines] == ["50", "10", "20", "4", "3.00"]
    assert lines[-1][-3:] == ["(2.00", "to", "5.00)"]


def test_without_torch(photographs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = photographs / "sheet.png"
    assert inspect(photographs, "--compare-torch", "--out", path) == 2
    assert "pip install torch torchvision" in capsys.readouterr().err
    assert not path.exists()
