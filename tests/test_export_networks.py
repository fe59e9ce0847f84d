"""Exports of networks as people build them: other heads, layers in front, numbers of channels."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from networks import outputs_of
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

import regnet_tf
from export import exporting
from export.descriptions import descriptions
from export.formats import Settings, tflite
from export.formats.saved_model import write_saved_model
from export.graph import read_graph
from export.metadata import read_metadata
from export.network import Network
from export.source import Source, load_source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet
from regnet_tf._opening import open_predictor
from regnet_tf.runtimes import open_file

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tensorflow_serving")

SIZE = 32
STAGES = (StageConfig(8, 1, 8), StageConfig(16, 1, 8))
CONFIG = RegNetConfig(explicit_stages=STAGES, stem_width=8, se_ratio=0.25)
LEVELS = Preprocessing(image_size=SIZE, mean=(0, 0, 0), std=(1 / 255,) * 3)
NAMES = ("cup", "sea", "café", "tree")
RANDOM = np.random.default_rng(0)
PHOTOGRAPH = Image.fromarray(load_sample_images().images[0])
PREPROCESSING = Preprocessing(image_size=SIZE)
IMAGES = np.stack([np.array(PHOTOGRAPH.crop((x, 99, x + 32, 131))) for x in range(0, 600, 60)])


def network(**options):
    options = {"input_shape": (SIZE, SIZE, 3), **options}
    return build_regnet(CONFIG, **options)


def trunk(**options):
    return network(include_top=False, **{"pooling": "avg", **options})


def on(backbone, head):
    """The network of a backbone and a function from its output to the scores."""
    return keras.Model(backbone.input, head(backbone.output))


def behind(function, model, dtype=None):
    """The network of a model and a function from the images to the model's input."""
    images = keras.Input((SIZE, SIZE, 3), dtype=dtype)
    return keras.Model(images, model(function(images)))


def distinct(model):
    """Random weights that make classes, and biases that do something."""
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        if len(variable.shape) == 1:
            variable.assign(variable + 0.2 * rng.uniform(size=variable.shape))
        elif len(variable.shape) == 2:
            variable.assign(0.3 * rng.normal(size=variable.shape))
    return model


def saved(folder, model, preprocessing=LEVELS, labels=NAMES, files=None):
    """The signatures of what is exported of a model."""
    path = folder / "saved"
    exported = Network(model, is_classifier=bool(labels))
    write_saved_model(path, exported, preprocessing, labels, files)
    loaded = tf.saved_model.load(str(path))
    signatures = dict(loaded.signatures)
    signatures["loaded"] = loaded  # or its variables would be gone
    return signatures


# Heads.


def two_averaged(features):
    branches = [
        layers.Dense(4, "softmax")(pool()(features))
        for pool in (layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
    ]
    return layers.Average()(branches)


def two_pooled(features):
    pooled = [ops.max(features, (1, 2)), layers.GlobalAveragePooling2D()(features)]
    return layers.Dense(4, "softmax")(ops.concatenate(pooled, -1))


HEADS = {
    "dropout": (lambda x: layers.Dense(4, "softmax")(layers.Dropout(0.5)(x)), 16),
    "deep": (
        lambda x: layers.Dense(4, "softmax")(layers.Dropout(0.2)(layers.Dense(6, "relu")(x))),
        6,
    ),
    "Softmax": (lambda x: layers.Softmax()(layers.Dense(4)(x)), 16),
    "ops.softmax": (lambda x: ops.softmax(layers.Dense(4)(x)), 16),
    "sigmoid": (lambda x: layers.Activation("sigmoid")(layers.Dense(4)(x)), 16),
    "nested": (
        lambda x: keras.Sequential([layers.Dropout(0.1), layers.Dense(4, "softmax")])(x),
        16,
    ),
}
POOLING_HEADS = {
    "two pooled": (two_pooled, 32),
    "two averaged": (two_averaged, None),
    "convolution": (
        lambda x: layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1)(x))),
        None,
    ),
}


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("dropout", "Softmax", "sigmoid")),
        *("deep", "ops.softmax", "nested", *POOLING_HEADS),
    ],
)
def test_heads(kind, tmp_path):
    if kind in HEADS:
        head, features = HEADS[kind]
        model = distinct(on(trunk(), head))
    else:
        head, features = POOLING_HEADS[kind]
        model = distinct(on(trunk(pooling=None), head))
    expected = outputs_of(model, PREPROCESSING.normalize(IMAGES))
    assert np.ptp(expected, axis=0).max() > 0.01
    signatures = saved(tmp_path, model, PREPROCESSING)
    given = signatures["images"](images=tf.constant(IMAGES))["probabilities"]
    np.testing.assert_allclose(given, expected, atol=1e-5)
    if kind != "two averaged":
        logits = signatures["logits"](images=tf.constant(IMAGES))["logits"]
        function = tf.sigmoid if kind == "sigmoid" else tf.nn.softmax
        np.testing.assert_allclose(function(logits), expected, atol=1e-5)
    assert ("features" in signatures) == (features is not None)
    if features is not None:
        assert signatures["features"].structured_outputs["features"].shape == (None, features)


def test_logits_become_probabilities_and_it_is_said(tmp_path):
    model = distinct(on(trunk(), lambda x: layers.Activation("linear")(layers.Dense(4)(x))))
    network = Network(model)
    assert network.softmax_is_assumed
    warnings = [*exporting._warnings(Source("x", model, LEVELS, NAMES), network, (), Settings())]
    assert any("softmax makes probabilities" in warning for warning in warnings)
    given = saved(tmp_path, model)["images"](images=tf.constant(IMAGES))["probabilities"]
    np.testing.assert_allclose(given, tf.nn.softmax(model(IMAGES.astype("float32"))), atol=1e-5)


# Layers in front.


def augmentation(images):
    for layer in (
        *(layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomZoom(0.2)),
        *(layers.RandomContrast(0.2), layers.RandomErasing(), layers.GaussianNoise(0.9)),
    ):
        images = layer(images)
    return images


def operations(path):
    (meta_graph,) = read_graph(path).meta_graphs
    graph = meta_graph.graph_def
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return {node.op for nodes in bodies for node in nodes}


@pytest.mark.parametrize("most_constants", [1 << 30, pytest.param(0, marks=pytest.mark.slow)])
def test_augmentation_leaves_the_graph(most_constants, tmp_path):
    def in_front(images):
        return layers.Rescaling(1 / 127.5, -1)(augmentation(images))

    head = on(trunk(), lambda x: layers.Dense(4, "softmax")(layers.Dropout(0.5)(x)))
    model = distinct(behind(in_front, head))
    exported = Network(model, most_constants=most_constants)
    write_saved_model(tmp_path / "saved", exported, LEVELS, NAMES)
    found = operations(tmp_path / "saved")
    assert "Conv2D" in found or "_FusedConv2D" in found
    assert [op for op in found if "Random" in op or "Seed" in op] == []
    states = [variable for variable in model.variables if "seed" in variable.path]
    assert len(states) >= 6
    assert len(exported.variables) in (0, len(Network(head, most_constants=0).variables))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    given = loaded.signatures["images"](images=tf.constant(IMAGES))["probabilities"]
    expected = outputs_of(model, IMAGES.astype("float32"))
    np.testing.assert_allclose(given, expected, atol=1e-5)


# Networks that normalize their images themselves.


def adapted():
    layer = layers.Normalization()
    layer.adapt(IMAGES.astype("float32"))
    return layer


NORMALIZING = {
    "Rescaling": lambda: behind(layers.Rescaling(1 / 127.5, -1), network(classes=4)),
    "division": lambda: behind(lambda images: images / 255, network(classes=4)),
    "adapted": lambda: behind(adapted(), network(classes=4)),
    "ours": lambda: network(classes=4, include_preprocessing=True),
    "nested trunk": lambda: keras.Sequential(
        [trunk(include_preprocessing=True), layers.Dropout(0.1), layers.Dense(4, "softmax")]
    ),
}


def by_pillow(image, mode="RGB"):
    """The crop of 32 pixels after resizing to 36, as levels."""
    image = image.convert(mode)
    width, height = image.size
    shorter = min(width, height)
    width, height = 36 * width // shorter, 36 * height // shorter
    left, top = round((width - SIZE) / 2), round((height - SIZE) / 2)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    levels = np.array(resized.crop((left, top, left + SIZE, top + SIZE)))
    return levels.reshape(1, SIZE, SIZE, -1)


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        *("division", "nested trunk"),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("Rescaling", "adapted", "ours")),
    ],
)
def test_levels_are_fed_to_networks_that_normalize(kind, tmp_path):
    """The truth is Keras' answer to levels that Pillow has prepared."""
    model = distinct(NORMALIZING[kind]())
    expected = outputs_of(model, by_pillow(PHOTOGRAPH).astype("float32"))
    twice = outputs_of(model, by_pillow(PHOTOGRAPH) / np.float32(255))
    model.save(tmp_path / "mine.keras")
    source = load_source(tmp_path / "mine.keras")
    assert any("mine normalizes its images itself" in line for line in source.assumed)
    given = saved(tmp_path, source.model, source.preprocessing)["serving_default"](
        image_bytes=tf.constant([encoded(PHOTOGRAPH)])
    )
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)
    if kind not in ("ours", "nested trunk"):  # these take whole levels
        assert np.abs(twice - expected).max() > 1e-3
    path = tmp_path / "mine.tflite"
    exported = Network(source.model)
    tflite.write_tflite(path, exported, source, "float32", 1, "float32", "1")
    given = open_file(path)(by_pillow(PHOTOGRAPH))
    np.testing.assert_allclose(given, expected, atol=1e-5)
    metadata = read_metadata(path)
    assert (metadata["mean"], metadata["std"]) == ([0], [1])


def test_int8_of_a_network_that_normalizes(digits_run, exported, tmp_path):
    """It is the int8 file of the same network without the layer, within rounding."""
    source = exported.source
    mean, std = map(np.array, (source.preprocessing.mean, source.preprocessing.std))
    rescaling = layers.Rescaling(list(1 / (255 * std)), list(-mean / std))
    behind(rescaling, source.model).save(tmp_path / "own.keras")
    own = load_source(tmp_path / "own.keras", calibration=digits_run / "examples.npz")
    assert own.preprocessing.mean == (0, 0, 0)
    path = tmp_path / "own.tflite"
    tflite.write_tflite(path, Network(own.model), own, "int8", 1, "float32", "1")
    files = (exported.folder / "tflite" / "digits_int8.tflite", path)
    answers = [open_file(file)(source.examples.test[:50]) for file in files]
    expected = outputs_of(source.model, source.preprocessing.normalize(source.examples.test[:50]))
    errors = [np.abs(answer - expected).mean() for answer in answers]
    assert errors[1] < 1.5 * errors[0] + 1e-3


def test_numbers_given_by_hand_prevail(tmp_path):
    model = behind(layers.Rescaling(1 / 255), network(classes=4))
    model.save(tmp_path / "mine.keras")
    source = load_source(tmp_path / "mine.keras", mean=(0.5,) * 3, std=(0.25,) * 3)
    assert source.preprocessing.mean == (0.5,) * 3
    assert not any("normalizes" in line for line in source.assumed)


# Numbers of channels.


def of_channels(channels, **options):
    options = {"input_shape": (SIZE, SIZE, channels), "classes": 4, **options}
    return distinct(build_regnet(CONFIG, **options))


def test_gray(tmp_path):
    model, preprocessing = of_channels(1), PREPROCESSING.replace(mean=(0.4,), std=(0.2,))
    signatures = saved(tmp_path, model, preprocessing)
    gray = by_pillow(PHOTOGRAPH, "L")
    expected = outputs_of(model, (gray / 255 - 0.4) / 0.2)
    for kind in ("PNG", "BMP"):
        given = signatures["serving_default"](
            image_bytes=tf.constant([encoded(PHOTOGRAPH.convert("L"), kind)])
        )
        np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)
    given = signatures["images"](images=tf.constant(gray))["probabilities"]
    np.testing.assert_allclose(given, expected, atol=1e-5)

    path = tmp_path / "gray.tflite"
    source = Source("gray", model, preprocessing, NAMES)
    tflite.write_tflite(path, Network(model), source, "float32", 1, "float32", "1")
    np.testing.assert_allclose(open_file(path)(gray), expected, atol=1e-5)
    assert read_metadata(path)["labels"] == list(NAMES)


@pytest.mark.mediapipe
def test_mediapipe_opens_networks_of_three_channels_alone(tmp_path):
    mediapipe = pytest.importorskip("mediapipe")
    model, preprocessing = of_channels(1), PREPROCESSING.with_channels(1)
    path = tmp_path / "gray.tflite"
    source = Source("gray", model, preprocessing, NAMES)
    tflite.write_tflite(path, Network(model), source, "float32", 1, "float32", "1")
    options = mediapipe.tasks.vision.ImageClassifierOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path))
    )
    with pytest.raises(Exception, match="Only RGB color space"):
        mediapipe.tasks.vision.ImageClassifier.create_from_options(options)


def test_transparency_is_a_fourth_channel(tmp_path):
    model = of_channels(4)
    preprocessing = PREPROCESSING.replace(mean=(0.5,) * 4, std=(0.5,) * 4, crop_fraction=1)
    picture = PHOTOGRAPH.crop((100, 100, 132, 132))
    picture.putalpha(Image.fromarray(RANDOM.integers(0, 256, (SIZE, SIZE), "uint8")))
    levels = np.array(picture)[None]
    expected = outputs_of(model, levels / 127.5 - 1)
    signatures = saved(tmp_path, model, preprocessing)
    given = signatures["serving_default"](image_bytes=tf.constant([encoded(picture)]))
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize(
    "orientation", [6, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, 3))]
)
def test_orientation_of_photographs(orientation, tmp_path):
    """The graph turns them as Pillow does."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    PHOTOGRAPH.save(file, "PNG", exif=exif)
    model = distinct(network(classes=4))
    expected = outputs_of(
        model, PREPROCESSING.normalize(by_pillow(ImageOps.exif_transpose(Image.open(file))))
    )
    signatures = saved(tmp_path, model, PREPROCESSING.replace(exif_orientation=True))
    given = signatures["serving_default"](image_bytes=tf.constant([file.getvalue()]))
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("channels", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_whole_exports_of_other_channels(channels, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "measure_speed", lambda runs, _: dict.fromkeys(runs, SPEED))
    images = RANDOM.integers(0, 256, (8, SIZE, SIZE, channels), "uint8")
    np.savez(tmp_path / "images.npz", images=images)
    of_channels(channels, class_names=NAMES, classes=None).save(tmp_path / "other.keras")
    source = load_source(tmp_path / "other.keras", calibration=tmp_path / "images.npz")
    facts = exporting.export(
        source,
        tmp_path / "out",
        ("saved_model", "tflite"),
        Settings(precisions=("float32", "int8")),
        say=lambda _: None,
    )
    folder = tmp_path / "out" / "serving" / "other" / "1"
    signatures = set(tf.saved_model.load(str(folder)).signatures)
    takes_files = channels != 2
    assert signatures - {"serving_default"} == {"images", "logits", "features"}
    assert ("serving_default" in signatures) == takes_files
    assert ("photographs" in facts["artefacts"]["SavedModel"]) == takes_files
    said = any("has no signature serving_default" in line for line in facts["warnings"])
    assert said != takes_files


SPEED = {"latency_ms": 1.0, "images_per_second": 1.0}


# What every file says about itself.


def test_files_about_the_network(tmp_path):
    names = ["two\nlines", "café, crème", "青い", 'q"uote']
    model = network(class_names=names, preprocessing=PREPROCESSING.replace(crop_fraction=0.9))
    distinct(model).save(tmp_path / "named.keras")
    source = load_source(tmp_path / "named.keras")
    expected = ("two lines", *names[1:])
    assert source.labels == expected
    exported = Network(source.model)
    files = descriptions(source, exported)
    signatures = saved(tmp_path, source.model, source.preprocessing, source.labels, files)
    path = tmp_path / "named.tflite"
    tflite.write_tflite(path, exported, source, "float32", 1, "float32", "1")
    extra = tmp_path / "saved" / "assets.extra"
    with zipfile.ZipFile(path) as archive:
        packed = {name: archive.read(name).decode() for name in archive.namelist()}
    for text in (packed["labels.txt"], (extra / "labels.txt").read_text(encoding="utf-8")):
        assert tuple(text.split("\n"))[:4] == expected
    assert packed["facts.json"] == (extra / "facts.json").read_text()

    facts = json.loads(packed["facts.json"])
    assert (facts["class_names"], facts["independent"]) == (names, False)
    told = Preprocessing.from_dict(facts["preprocessing"])
    assert told.crop_fraction == 0.9
    photograph = encoded(PHOTOGRAPH)
    levels = tf.cast(told(photograph), tf.uint8)  # the network normalizes them itself
    by_levels = signatures["images"](images=levels)["probabilities"]
    by_file = signatures["serving_default"](image_bytes=tf.constant([photograph]))["probabilities"]
    np.testing.assert_allclose(by_levels, by_file, atol=1e-6)


def test_files_of_features_say_their_preprocessing(tmp_path):
    model = trunk()
    source = Source("features", model, PREPROCESSING, ())
    path = tmp_path / "features.tflite"
    tflite.write_tflite(path, Network(model), source, "float32", 1, "float32", "1")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["facts.json"]
    expected = outputs_of(model, PREPROCESSING.normalize(IMAGES))
    np.testing.assert_allclose(open_file(path)(IMAGES), expected, rtol=1e-4, atol=1e-5)


def test_probabilities_of_several_labels(tmp_path):
    """They do not add up to 1, and the metadata say so."""
    model = distinct(network(class_names=NAMES, classifier_activation="sigmoid"))
    given = saved(tmp_path, model)["images"](images=tf.constant(IMAGES))["probabilities"]
    np.testing.assert_allclose(given, outputs_of(model, IMAGES.astype("float32")), atol=1e-5)
    assert np.abs(given.numpy().sum(-1) - 1).max() > 0.01
    path = tmp_path / "labels.tflite"
    source = Source("labels", model, LEVELS, NAMES)
    tflite.write_tflite(path, Network(model), source, "float32", 1, "float32", "1")
    content = path.read_bytes()
    assert b"An image can have several classes." in content and b"add up to 1" not in content
    assert open_predictor(path).independent


def test_the_network_given_away_is_not_changed():
    model = network(classes=4, include_preprocessing=True)
    images, before = IMAGES[:2], len(model.layers)
    expected = outputs_of(model, images)
    Network(model)
    assert len(model.layers) == before
    assert model.get_layer("stage_1").output is not None  # as before: called once
    np.testing.assert_array_equal(outputs_of(model, images), expected)
    assert regnet_tf.facts_of(model).config == CONFIG
