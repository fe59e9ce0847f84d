"""Weights of every kind of file, in networks with the same, other, or no classes."""

import logging
import shutil

import keras
import numpy as np
import pytest
from networks import outputs_of

import regnet_tf
from regnet_tf import (
    Preprocessing,
    RegNetConfig,
    StageConfig,
    backbone,
    build_regnet,
    facts_of,
    fuse,
    segmentation_model,
    to_state_dict,
)
from regnet_tf._errors import UserError
from regnet_tf._trained import load_trained
from regnet_tf.finding import config_of, preprocessing_of
from regnet_tf.weights import Checkpoint
from training.loop.directory import write_run

X = RegNetConfig(
    name="X", explicit_stages=(StageConfig(8, 1, 8), StageConfig(16, 2, 8)), stem_width=8
)
Y = X.replace(name="Y", se_ratio=0.25)
NAMES = ("ant", "bee", "cat")
PREPROCESSING = Preprocessing(image_size=32, crop_fraction=0.75, mean=(0.1, 0.2, 0.3))
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")


def classifier(config=X, **arguments):
    given = {"class_names": NAMES, "preprocessing": PREPROCESSING, **arguments}
    return build_regnet(config, **given)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network of three named classes in every kind of file, by name: "source" is the network."""
    folder = tmp_path_factory.mktemp("weights")
    model = classifier()
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    regnet_tf.write_state_dict(folder / "model.npz", to_state_dict(model))
    (folder / "hub").mkdir()
    regnet_tf.write_state_dict(folder / "hub" / "model.safetensors", to_state_dict(model, "pycls"))
    (folder / "run").mkdir()
    model.save(folder / "run" / "model.keras")
    write_run({}, folder / "run")
    paths = ("model.keras", "model.weights.h5", "model.npz", "hub", "run")
    return {"source": model, **{name: folder / name for name in paths}}


KINDS = ("model.keras", "model.weights.h5", "model.npz", "hub", "run")
KERAS = ("model.keras", "run")


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "regnet_tf"]


def trunk(model):
    """Values of everything but the head, by name."""
    return {name: value for name, value in to_state_dict(model).items() if "head" not in name}


def assert_same_trunk(model, other):
    ours, theirs = trunk(model), trunk(other)
    assert len(ours) > 10 and ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_classes(saved, kind, caplog):
    model = build_regnet(X, weights=saved[kind])
    expected = outputs_of(saved["source"], IMAGES)
    np.testing.assert_allclose(outputs_of(model, IMAGES), expected, rtol=1e-5)
    assert not warnings_of(caplog)
    known = kind in KERAS
    facts = facts_of(model)
    assert facts.class_names == (NAMES if known else None)
    assert facts.preprocessing == (PREPROCESSING if known else None)


@pytest.mark.parametrize("kind", KINDS)
def test_other_classes_get_a_new_head(saved, kind, caplog):
    with caplog.at_level(logging.WARNING):
        model = build_regnet(X, weights=saved[kind], classes=5)
    assert model.output_shape == (None, 5)
    assert_same_trunk(model, saved["source"])
    expected = f"X: New head: 5 classes instead of the 3 of {saved[kind]}"
    assert warnings_of(caplog) == [expected]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_head(saved, kind, caplog):
    features = build_regnet(X, weights=saved[kind], include_top=False)
    assert_same_trunk(features, saved["source"])
    levels = backbone(X, weights=saved[kind], outputs=(1, 2, 3))
    assert_same_trunk(levels, saved["source"])
    assert not warnings_of(caplog)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files_without_a_head(tmp_path, suffix):
    features = build_regnet(X, include_top=False)
    path = tmp_path / f"features{suffix}"
    features.save(path) if suffix == ".keras" else features.save_weights(path)
    with pytest.raises(ValueError, match="have no head: pass `include_top=False`"):
        build_regnet(X, weights=path)
    assert_same_trunk(build_regnet(X, weights=path, classes=3), features)
    assert Checkpoint.find(path).load_into(classifier()) == (
        f"New head: 3 classes; {path} has no head"
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in KERAS])
def test_other_networks_do_not_fit(saved, kind):
    with pytest.raises(ValueError, match=rf"`weights` .*{kind} do not fit Y: "):
        build_regnet(Y, weights=saved[kind])


@pytest.mark.parametrize("kind", KERAS)
def test_errors_name_both_networks(saved, kind):
    with pytest.raises(ValueError, match=rf"`weights` .*{kind} of X do not fit Y: .*nothing was"):
        build_regnet(Y, weights=saved[kind])


# Classes by name.


def test_the_order_of_classes_is_by_name(saved, caplog):
    turned = ("cat", "ant", "bee")
    model = build_regnet(X, weights=saved["model.keras"], class_names=turned)
    expected = outputs_of(saved["source"], IMAGES)
    found = outputs_of(model, IMAGES)
    for name in NAMES:
        ours, theirs = found[:, turned.index(name)], expected[:, NAMES.index(name)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert not warnings_of(caplog)


def test_other_names_get_a_new_head(saved, caplog):
    others = ("ant", "bee", "dog")
    model = build_regnet(X, weights=saved["model.keras"], class_names=others)
    assert_same_trunk(model, saved["source"])
    head = model.get_layer("head")
    assert not np.array_equal(head.kernel, saved["source"].get_layer("head").kernel)
    assert "New head: 3 classes of other names than the 3 of" in caplog.text


def test_heads_whose_names_are_unknown(saved):
    checkpoint = Checkpoint.find(saved["model.npz"])
    assert checkpoint.classes == 3 and checkpoint.class_names is None
    assert checkpoint.load_into(classifier()) is None
    line = checkpoint.load_into(classifier(), unnamed_head=False)
    assert line == f"New head: 3 classes, which may differ from the 3 of {saved['model.npz']}"
    named = Checkpoint.find(saved["run"])
    assert named.load_into(classifier(), unnamed_head=False) is None
    assert named.load_into(build_regnet(X, classes=3), unnamed_head=False) is not None


# Models of other forms.


def own_head(model):
    return keras.Model(model.input, keras.layers.Dense(7, name="mine")(model.output))


def nested(model):
    images = keras.Input((32, 32, 3))
    x = keras.layers.RandomFlip()(images)
    x = keras.layers.Dense(4)(keras.layers.Dropout(0.2)(model(x)))
    return keras.Model(images, keras.layers.Dense(7)(x))


def sequential(model):
    return keras.Sequential([keras.Input((32, 32, 3)), model, keras.layers.Dense(7)])


@pytest.mark.parametrize("form", [own_head, nested, sequential])
def test_a_users_head_on_a_trunk(tmp_path, form):
    features = build_regnet(X, include_top=False, pooling="avg", preprocessing=PREPROCESSING)
    model = form(features)
    model.save(tmp_path / "mine.keras")
    found = build_regnet(X, weights=tmp_path / "mine.keras", classes=5)
    assert_same_trunk(found, features)
    assert facts_of(found).preprocessing == PREPROCESSING
    assert config_of(tmp_path / "mine.keras") == X


def test_the_trunk_of_a_segmentation(tmp_path):
    model = segmentation_model(backbone(X, outputs=(1, 2, 3)), 4, width=8)
    model.save(tmp_path / "model.keras")
    checkpoint = Checkpoint.find(tmp_path)
    assert checkpoint.classes == 0 and checkpoint.config == X
    assert checkpoint.model.output_shape == model.output_shape
    found = build_regnet(X, weights=tmp_path, classes=5)
    assert_same_trunk(found, model)
    again = segmentation_model(backbone(X, outputs=(1, 2, 3)), 2, width=8)
    assert checkpoint.load_into(again) is None
    assert_same_trunk(again, model)


def test_preprocessing_inside_the_saved_model(tmp_path):
    classifier(include_preprocessing=True).save(tmp_path / "model.keras")
    assert facts_of(build_regnet(X, weights=tmp_path)).preprocessing == PREPROCESSING


def test_models_that_hold_no_weights_of_a_network(tmp_path):
    fuse(classifier()).save(tmp_path / "fused.keras")
    with pytest.raises(ValueError, match="must have normalization layers"):
        build_regnet(X, weights=tmp_path / "fused.keras")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"must hold one RegNet\. It holds 0"):
        build_regnet(X, weights=tmp_path / "other.keras")
    assert config_of(tmp_path / "other.keras") is None
    images = keras.Input((32, 32, 3))
    both = [classifier(name=name)(images) for name in "ab"]
    keras.Model(images, keras.layers.Average()(both)).save(tmp_path / "both.keras")
    with pytest.raises(ValueError, match=r"must hold one RegNet\. It holds 2"):
        build_regnet(X, weights=tmp_path / "both.keras")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(saved, kind, channels):
    model = build_regnet(X, weights=saved[kind], input_shape=(32, 32, channels))
    kernel = np.asarray(saved["source"].get_layer("stem").conv.kernel)
    expected = kernel.sum(2, keepdims=True) if channels == 1 else kernel[:, :, [0, 1, 2, 0]] * 0.75
    np.testing.assert_allclose(model.get_layer("stem").conv.kernel, expected, rtol=1e-5, atol=1e-6)
    if kind in KERAS:
        assert facts_of(model).preprocessing == PREPROCESSING.with_channels(channels)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_preprocessing_of_other_channels_inside_the_model(channels):
    """The model equals the one that gets normalized images."""
    arguments = {"input_shape": (32, 32, channels), "classes": 3, "preprocessing": PREPROCESSING}
    outside = build_regnet(X, **arguments)
    inside = build_regnet(X, **arguments, include_preprocessing=True)
    inside.set_weights(outside.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (40, 50, channels), "uint8")
    preprocessing = facts_of(outside).preprocessing
    assert preprocessing == PREPROCESSING.with_channels(channels)
    expected = outputs_of(outside, preprocessing(image))
    levels = preprocessing.resize_and_crop(image).numpy()[None]
    np.testing.assert_allclose(outputs_of(inside, levels), expected, rtol=1e-4)
    np.testing.assert_array_equal(facts_of(inside).preprocessing(image), levels)


# What a path is.


def test_configurations_are_read_alone(saved, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", None)
    assert config_of(saved["run"]) == config_of(saved["model.keras"]) == X
    assert config_of(saved["model.npz"]) is None
    assert config_of("regnety_032.ra_in1k") == regnet_tf.get_config("regnety_032")


def test_paths_that_hold_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    cases = {
        tmp_path / "run": "holds no trained network yet",
        tmp_path / "absent.keras": "There is no file",
        tmp_path / "bad.keras": "bad.keras is damaged|bad.keras cannot be read",
        "regnetx_002.pyclz": "must be a tag of published weights.*Nearest: regnetx_002",
    }
    for path, message in cases.items():
        for function in (Checkpoint.find, config_of, load_trained):
            with pytest.raises((ValueError, OSError), match=message):
                function(path)


def test_a_run_knows_its_files(saved, tmp_path):
    folder = shutil.copytree(saved["run"], tmp_path / "run")
    model, run = folder / "model.keras", folder / "run.json"
    whole, described = model.read_bytes(), run.read_text()
    model.write_bytes(whole[:-1] + b"x")
    shutil.copy(model, folder / "mine.keras")
    for source in (folder, model):
        for function in (Checkpoint.find, load_trained):
            with pytest.raises(
                UserError, match=r"model\.keras is damaged or was replaced: .* yourself"
            ):
                function(source)
    model.write_bytes(whole)
    for text, problem in (
        ("{}", "it lacks files"),
        ('{"files": {}}', r"it does not describe model\.keras"),
        ('{"files": [1]}', r"it does not describe model\.keras"),
        ("{", "Expecting"),
    ):
        run.write_text(text)
        with pytest.raises(UserError, match=rf"run\.json is damaged: {problem}"):
            load_trained(folder)
    run.write_text(described)
    assert load_trained(model).name == load_trained(folder).name == folder.name
    model.rename(folder / "mine.keras")  # a file that the run has not written
    assert load_trained(folder / "mine.keras").folder == folder
    assert load_trained(folder / "mine.keras").name == "mine"


def test_preprocessing_is_read_alone(saved, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", None)
    for size, fraction in ((32, 0.75), (64, 0.75)):
        expected = PREPROCESSING.replace(image_size=size, crop_fraction=fraction)
        assert preprocessing_of(saved["run"], size) == expected
    assert preprocessing_of(saved["model.npz"], 32) is None
    assert preprocessing_of("regnety_032.ra_in1k", 288).image_size == 288


def test_trained_networks(saved):
    expected = outputs_of(saved["source"], IMAGES)
    for kind in ("run", "model.keras"):
        trained = load_trained(saved[kind])
        assert trained.name == ("run" if kind == "run" else saved[kind].parent.name)
        assert trained.folder == (saved["run"] if kind == "run" else None)
        np.testing.assert_allclose(outputs_of(trained.model, IMAGES), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="needs a `variant`"):
        load_trained(saved["model.npz"])
