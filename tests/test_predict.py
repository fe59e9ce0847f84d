"""`regnet predict`: its grammar, its output, and what it writes."""

import csv
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TAG
from networks import outputs_of
from odd_files import NAMES as ODD_NAMES
from odd_files import write_odd_files
from PIL import Image
from regnet_command.predict import main
from sklearn.datasets import load_sample_images

import regnet_tf
from regnet_tf import RegNetConfig, StageConfig, backbone, build_regnet, segmentation_model
from regnet_tf.facts import facts_of
from training.loop.directory import write_run

CONFIG = RegNetConfig(explicit_stages=(StageConfig(8, 1, 4), StageConfig(16, 1, 8)), stem_width=8)
NAMES = ("ant", "bee", "cat", "dog")


def network(activation="softmax", channels=3):
    """A classifier whose answers differ from image to image."""
    model = build_regnet(
        CONFIG,
        input_shape=(32, 32, channels),
        class_names=NAMES,
        classifier_activation=activation,
        preprocessing=regnet_tf.Preprocessing(image_size=32).with_channels(channels),
    )
    head = model.get_layer("head")
    head.kernel.assign(head.kernel * 100)
    return model


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with folders, the same names in each; a hidden file, and one of another kind."""
    folder = tmp_path_factory.mktemp("photos")
    images = load_sample_images().images
    for number, name in enumerate(("a", "b", "b/deep")):
        (folder / name).mkdir()
        crop = images[number % 2][40 * number : 40 * number + 200, :300]
        Image.fromarray(crop).save(folder / name / "photo.jpg", quality=95)
    Image.fromarray(images[1][:99, :99]).save(folder / "a" / "photo.png")
    Image.fromarray(images[1][:99, :99]).save(folder / "a" / "photo_2.PNG")
    (folder / "a" / ".hidden.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    network().save(folder / "model.keras")
    write_run({}, folder)
    return folder


def command(*words):
    return main([str(word) for word in words])


def opened(path, mode=None):
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


def rows(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def expected(model, paths):
    return model.predict_on_batch(facts_of(model).preprocessing(list(paths)))


def test_files_and_folders_with_a_run(trained, photos, tmp_path, capsys):
    files = sorted(photos.rglob("photo*"))
    out, table = tmp_path / "new" / "out", tmp_path / "tables" / "found.csv"
    words = (trained, files[0], photos, "--out", out, "--csv", table, "--batch-size", 2)
    assert command(*words) == 0
    found = rows(table)
    assert [row["image"] for row in found] == [str(one) for one in (files[0], *files)]
    assert len(files) == 5
    scores = expected(keras.saving.load_model(trained / "model.keras"), files)
    printed = capsys.readouterr().out
    for row, values in zip(found[1:], scores, strict=True):
        order = np.argsort(-values)
        for place, end in zip(order, ("", "_2", "_3", "_4"), strict=True):
            assert row[f"prediction{end}"] == NAMES[place]
            assert float(row[f"probability{end}"]) == pytest.approx(values[place], abs=1e-5)
        assert f"{values[order[0]]:7.2%}  {NAMES[order[0]]}" in printed
    pictures = sorted(path.name for path in out.iterdir())
    assert len(pictures) == 6  # none replaces another one
    assert {"photo.png", "photo_2.png", "photo_2_2.png"} <= set(pictures)
    assert all(str(out / name) in printed for name in pictures)


@pytest.mark.parametrize("form", ["keras", "saved_model", "tflite"])
def test_networks_of_other_kinds(form, photos, tmp_path):
    model, table = network(), tmp_path / "found.csv"
    preprocessing = regnet_tf.preprocessing_for(model)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(NAMES))
    options = ["--csv", table]
    if form == "keras":
        source = tmp_path / "net.keras"
        model.save(source)
    else:
        source = tmp_path / "net"
        model.export(source, verbose=False)
        options += ["--labels", labels]
    if form == "tflite":
        pytest.importorskip("ai_edge_litert")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
        source = tmp_path / "net.tflite"
        source.write_bytes(converter.convert())
    files = sorted((photos / "a").glob("photo*"))
    assert command(source, *files, *options) == 0
    scores = outputs_of(model, preprocessing(files))
    for row, values in zip(rows(table), scores, strict=True):
        assert row["prediction"] == NAMES[values.argmax()]
        assert float(row["probability"]) == pytest.approx(values.max(), rel=1e-3)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_files_of_other_programs(form, photos, tmp_path, capsys):
    """As PyTorch writes them: normalized floats with their channels first, logits, no names."""
    pytest.importorskip("onnxruntime" if form == "onnx" else "openvino")
    network_files = pytest.importorskip("network_files")
    model, labels, table = (
        network_files.small_network(),
        tmp_path / "labels.txt",
        tmp_path / "found.csv",
    )
    labels.write_text("\n".join(network_files.NAMES))
    options = {"channels_first": True, "levels": False, "outputs": ["logits"], "texts": False}
    source = network_files.write_file(form, tmp_path, model, **options)
    files = sorted((photos / "a").glob("photo*"))
    words = [
        f"--{name}={','.join(map(str, getattr(network_files.PREPROCESSING, name)))}"
        for name in ("mean", "std")
    ]
    assert command(source, *files, "--csv", table, "--labels", labels, *words) == 0
    assert "small seems to return logits" in capsys.readouterr().out
    scores = outputs_of(model, network_files.PREPROCESSING([str(one) for one in files]))
    for row, values in zip(rows(table), scores, strict=True):
        assert row["prediction"] == network_files.NAMES[values.argmax()]
        assert float(row["probability"]) == pytest.approx(values.max(), abs=1e-5)
    assert command(tmp_path / "missing.onnx", files[0]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_published_weights(hub, photos, capsys):
    photo = photos / "b" / "photo.jpg"
    assert command(TAG, photo, "--top", 2) == 0
    printed = capsys.readouterr().out.splitlines()
    scores = expected(build_regnet(TAG, weights=True), [photo])[0]
    best = np.argsort(-scores)[:2]
    assert printed[0] == str(photo) and len(printed) == 3
    for line, place in zip(printed[1:], best, strict=True):
        assert line.startswith(f"  {scores[place]:7.2%}  ") and "(n0" in line


def test_images_that_cannot_be_read(trained, photos, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    good, table = photos / "a" / "photo.jpg", tmp_path / "found.csv"
    words = (tmp_path / "bad.jpg", tmp_path / "missing.jpg", good)
    assert command(trained, *words, "--csv", table) == 1
    assert [row["image"] for row in rows(table)] == [str(good)]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and "bad.jpg" in errors[0] and "missing.jpg" in errors[1]
    assert errors[2] == "2 of 3 images could not be read."


def test_several_classes_an_image(photos, tmp_path, capsys):
    model = network("sigmoid")
    model.save(tmp_path / "net.keras")
    files, table = sorted((photos / "a").glob("photo*")), tmp_path / "found.csv"
    assert command(tmp_path / "net.keras", *files, "--csv", table, "--top", 1) == 0
    scores = expected(model, files)
    assert {(values > 0.5).sum() for values in scores} - {1}  # not as many as a softmax gives
    for row, values in zip(rows(table), scores, strict=True):
        names = [NAMES[place] for place in np.argsort(-values) if values[place] > 0.5]
        assert row["predictions"] == ";".join(names)
        shares = [float(one) for one in row["probabilities"].split(";") if one]
        assert shares == pytest.approx(sorted(values[values > 0.5], reverse=True), abs=1e-5)
    model.get_layer("head").bias.assign([-1e4] * 4)
    model.save(tmp_path / "net.keras")
    capsys.readouterr()
    assert command(tmp_path / "net.keras", files[0]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "  no class above 50%"


def test_segmentation(photos, tmp_path, capsys):
    keras.utils.set_random_seed(0)
    preprocessing = regnet_tf.Preprocessing(image_size=32)
    trunk = backbone(CONFIG, outputs=(2, 3), input_shape=(32, 32, 3), preprocessing=preprocessing)
    model = segmentation_model(trunk, 4, width=8, class_names=NAMES)
    model.save(tmp_path / "net.keras")
    photo, table = photos / "b" / "photo.jpg", tmp_path / "found.csv"
    assert command(tmp_path / "net.keras", photo, "--out", tmp_path, "--csv", table) == 0
    classes = expected(model, [photo])[0].argmax(-1)
    mask = opened(tmp_path / "photo_mask.png")
    assert mask.dtype == "uint8" and mask.shape == (32, 32)
    assert (mask == classes).mean() > 0.99
    (row,) = rows(table)
    shares = dict(zip(row["predictions"].split(";"), row["shares"].split(";"), strict=True))
    assert sum(map(float, shares.values())) == pytest.approx(1, abs=1e-5)
    for name, share in shares.items():
        assert float(share) == pytest.approx((mask == NAMES.index(name)).mean(), abs=1e-5)
    assert opened(tmp_path / "photo.png").shape[:2] == (460, 900)


def test_gray_networks(photos, tmp_path):
    model = network(channels=1)
    model.save(tmp_path / "net.keras")
    photo, table = photos / "b" / "photo.jpg", tmp_path / "found.csv"
    words = (photo, "--csv", table, "--out", tmp_path, "--grad-cam")
    assert command(tmp_path / "net.keras", *words) == 0
    gray = opened(photo, "L")[..., None]
    values = outputs_of(model, facts_of(model).preprocessing(gray))[0]
    assert float(rows(table)[0]["probability"]) == pytest.approx(values.max(), abs=1e-4)
    assert opened(tmp_path / "photo_grad_cam.png").shape == (32, 32, 3)


def test_many_images_with_a_table_are_not_printed(trained, photos, tmp_path, capsys):
    table = tmp_path / "found.csv"
    assert command(trained, *[photos] * 5, "--csv", table) == 0
    printed = capsys.readouterr().out
    assert len(rows(table)) == 25 and "photo.jpg" not in printed
    assert f"25 predictions: {table}" in printed


def test_a_network_that_normalizes_its_images(photos, tmp_path, capsys):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, network()(keras.layers.Rescaling(1 / 127.5, -1)(inputs)))
    model.save(tmp_path / "levels.keras")
    photo, table = photos / "b" / "photo.jpg", tmp_path / "found.csv"
    assert command(tmp_path / "levels.keras", photo, "--csv", table) == 0
    assert "levels of 0 to 255 are fed" in capsys.readouterr().out
    crop = regnet_tf.Preprocessing(image_size=32).resize_and_crop(opened(photo))
    values = outputs_of(model, np.asarray(crop, "float32")[None])[0]
    assert float(rows(table)[0]["probability"]) == pytest.approx(values.max(), abs=1e-3)


def test_the_first_word(trained, photos, tmp_path, capsys, monkeypatch):
    photo = photos / "a" / "photo.jpg"
    empty = tmp_path / "empty"
    empty.mkdir()
    nameless = network()
    nameless.get_layer("head").class_names = None
    nameless.save(tmp_path / "nameless.keras")
    shutil.copy(trained / "model.keras", tmp_path / "copy.keras")
    for words, message in (
        ([trained], "Give images after the network"),
        (["regnety_032"], "Give images after the network regnety_032"),
        (["regnety_32", photo], "no network and no image 'regnety_32'. Nearest: regnety_3"),
        ([trained, empty], "empty holds no images"),
        ([tmp_path / "missing.keras", photo], "There is no file"),
        ([tmp_path / "nameless.keras", photo], "--labels FILE"),
        ([trained, photo, "--grad-cam"], "`--grad-cam` must be given with --out"),
        ([trained, photo, "--top", "0"], "`--top` must be"),
        ([trained, photo, "--image-size", "64"], "`image_size` must be 32"),
    ):
        assert command(*words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    opened = []
    monkeypatch.setattr(
        "regnet_tf._opening.open_predictor", lambda name: opened.append(name) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        command(photo)
    assert opened == ["regnety_032.ra_in1k"]


def test_long_names_of_classes(photos, tmp_path):
    names = [f"{'very_' * 30}long_${number}" for number in range(4)]
    model = network()
    model.get_layer("head").class_names = tuple(names)
    model.save(tmp_path / "net.keras")
    photo = photos / "b" / "photo.jpg"
    assert command(tmp_path / "net.keras", photo, "--out", tmp_path, "--grad-cam") == 0
    picture = opened(tmp_path / "photo.png", "RGB")
    assert (picture[:, :200] < 250).mean() > 0.3  # the photograph has kept its place


def test_files_of_all_kinds_and_names(trained, photos, tmp_path, capfd):
    content = (photos / "b" / "photo.jpg").read_bytes()
    write_odd_files(tmp_path / "odd", content)
    table = tmp_path / "found.csv"
    assert command(trained, tmp_path / "odd", "--csv", table, "--out", tmp_path / "out") == 0
    printed = capfd.readouterr().out
    assert "\x1b" not in printed
    for name in ODD_NAMES.values():
        assert f"{tmp_path / 'odd' / name}\n" in printed
    written = table.read_bytes()
    assert all(name in written for name in ODD_NAMES)
    assert len(list((tmp_path / "out").iterdir())) == len(ODD_NAMES)
    words = [
        tmp_path / "odd" / name for name in ("pipe.jpg", "device.jpg", "loop.jpg", "\udcff.jpg")
    ]
    assert command(trained, *words) == 1
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 5
    for line, name in zip(
        errors, ("pipe.jpg", "device.jpg", "loop.jpg", r"\xff.jpg"), strict=False
    ):
        assert f"'{tmp_path / 'odd' / name}'" in line
    with pytest.raises(SystemExit):
        raise SystemExit(command(trained, tmp_path / "odd" / "empty.jpg"))
    assert "empty.jpg holds no images" in capfd.readouterr().err
