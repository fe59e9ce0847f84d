"""What networks know about themselves, after all that is done to models."""

import keras
import numpy as np
import pytest
from networks import outputs_of

import regnet_tf
from regnet_tf import (
    Facts,
    Preprocessing,
    RegNetConfig,
    StageConfig,
    backbone,
    build_regnet,
    decode_predictions,
    facts_of,
    freeze,
    fuse,
    preprocessing_for,
    segmentation_model,
)

STAGES = (StageConfig(8, 1, 8), StageConfig(16, 2, 8))
X = RegNetConfig(name="X", explicit_stages=STAGES, stem_width=8)
Y = X.replace(name="Y", se_ratio=0.25)
GENERATED = RegNetConfig(
    depth=2, initial_width=8, width_slope=8, width_multiplier=2, group_width=8, drop_path_rate=0.1
)
NAMES = ("ant", "bee", "cat")
PREPROCESSING = Preprocessing(image_size=32, crop_fraction=0.75, mean=(0.1, 0.2, 0.3))
LEVELS_OF_3 = {"mean": (0, 0, 0), "std": (1 / 255,) * 3}
LEVELS = PREPROCESSING.replace(**LEVELS_OF_3)


def classifier(config=X, **arguments):
    return build_regnet(config, class_names=NAMES, preprocessing=PREPROCESSING, **arguments)


def levels(config):
    return backbone(config, outputs=(1, 2, 3), preprocessing=PREPROCESSING)


def segmenter(config, decoder="fpn"):
    return segmentation_model(levels(config), 3, decoder=decoder, class_names=NAMES, width=8)


NETWORKS = {
    "X": lambda: (classifier(), Facts(X, PREPROCESSING, NAMES)),
    "Y": lambda: (classifier(Y), Facts(Y, PREPROCESSING, NAMES)),
    "generated": lambda: (classifier(GENERATED), Facts(GENERATED, PREPROCESSING, NAMES)),
    "preprocessing inside": lambda: (
        classifier(include_preprocessing=True),
        Facts(X, LEVELS, NAMES, True),
    ),
    "features": lambda: (
        build_regnet(X, include_top=False, preprocessing=PREPROCESSING),
        Facts(X, PREPROCESSING, None),
    ),
    "backbone": lambda: (levels(Y), Facts(Y, PREPROCESSING, None)),
    "segmentation": lambda: (segmenter(X), Facts(X, PREPROCESSING, NAMES)),
    "U-Net": lambda: (segmenter(Y, "unet"), Facts(Y, PREPROCESSING, NAMES)),
    "unknown": lambda: (build_regnet(X, classes=3), Facts(X, None, None)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A network, and what it should know; not to be changed."""
    return NETWORKS[request.param]()


def test_facts(network):
    model, facts = network
    assert facts_of(model) == facts


def test_saved(network, tmp_path):
    model, facts = network
    model.save(tmp_path / "model.keras")
    assert facts_of(keras.saving.load_model(tmp_path / "model.keras")) == facts


@pytest.mark.parametrize("kind", ["Y", "preprocessing inside", "U-Net"])
def test_renamed_and_frozen(kind, tmp_path):
    model, facts = NETWORKS[kind]()
    model.name = "regnety_032.ra_in1k"  # the tag of other weights
    freeze(model, "stem")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert facts_of(model) == facts_of(loaded) == facts
    assert loaded.name == model.name and not loaded.get_layer("stem").trainable


def test_fused(network, tmp_path):
    model, facts = network
    fused = fuse(model)
    fused.save(tmp_path / "fused.keras")
    assert facts_of(fused) == facts_of(keras.saving.load_model(tmp_path / "fused.keras")) == facts


def test_cloned(network):
    model, facts = network
    copied = keras.models.clone_model(
        model, clone_function=lambda layer: layer.__class__.from_config(layer.get_config())
    )
    assert facts_of(keras.models.clone_model(model)) == facts_of(copied) == facts


@pytest.mark.slow
def test_loaded_with_the_package_alone(run_python, tmp_path):
    classifier().save(tmp_path / "model.keras")
    code = (
        "import sys, keras, regnet_tf\n"
        "facts = regnet_tf.facts_of(keras.saving.load_model(sys.argv[1]))\n"
        "print(facts.config.name, facts.preprocessing.mean, facts.class_names)"
    )
    printed = run_python("-c", code, tmp_path / "model.keras")
    assert printed.splitlines()[-1] == f"X {PREPROCESSING.mean} {NAMES}"


# Models on the same layers.


def test_a_new_classifier_has_other_classes():
    trunk = build_regnet(X, include_top=False, pooling="avg", preprocessing=PREPROCESSING)
    head = keras.layers.Dense(3)
    assert facts_of(keras.Model(trunk.input, head(trunk.output))) == Facts(X, PREPROCESSING)
    outer = keras.Sequential([keras.Input((32, 32, 3)), trunk, head])
    assert facts_of(outer) == Facts(X, PREPROCESSING)
    model = classifier()
    after = keras.Model(model.input, keras.layers.Dense(2)(model.output))
    assert facts_of(after) == Facts(X, PREPROCESSING)


def test_networks_that_differ_do_not_mix():
    images = keras.Input((32, 32, 3))
    x, y = classifier(X, name="x"), classifier(Y, name="y")
    both = keras.Model(images, keras.layers.Average()([x(images), y(images)]))
    assert facts_of(both) == Facts(None, PREPROCESSING, NAMES)


def test_models_without_symbolic_inputs():
    """Keras knows no shapes of a subclass of `keras.Model`."""

    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = classifier()

        def call(self, images):
            return self.network(images)

    assert facts_of(Subclass()) == Facts(X, PREPROCESSING, NAMES)


def test_other_models_know_nothing():
    assert facts_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) == Facts()


# Preprocessing.


def test_preprocessing_follows_a_fixed_size():
    model = classifier(input_shape=(64, 64, 3))
    assert preprocessing_for(model) == PREPROCESSING.replace(image_size=64)
    resized = Preprocessing(image_size=224, resize_size=256)
    model = build_regnet(X, input_shape=(56, 56, 3), preprocessing=resized)
    found = preprocessing_for(model)
    assert (found.image_size, found.shorter_side) == (56, 64)


def test_the_layer_inside_normalizes_as_told():
    inside, outside = classifier(include_preprocessing=True), classifier()
    inside.set_weights(outside.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), "uint8")
    expected = outputs_of(outside, preprocessing_for(outside)(image))
    found = outputs_of(inside, preprocessing_for(inside)(image))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def adapted_normalization():
    layer = keras.layers.Normalization(axis=-1)
    layer.adapt(np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3)).astype("float32"))
    return layer


NORMALIZING = {
    "Rescaling": keras.layers.Rescaling(1 / 127.5, offset=-1),
    "Normalization": adapted_normalization(),
    "division": lambda images: images / 255,
    "two operations": lambda images: (images - 127.5) / 127.5,
    "preprocess_input": regnet_tf.preprocess_input,
    "augmented": keras.Sequential([keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255)]),
    "batch": keras.layers.BatchNormalization(),
    "custom": lambda images: keras.layers.Lambda(lambda x: x / 255, name="mine")(images),
}


@pytest.mark.parametrize("front", NORMALIZING)
@pytest.mark.parametrize("nested", [False, True])
def test_models_that_normalize_their_images(front, nested):
    images = keras.Input((32, 32, 3))
    x = NORMALIZING[front](images)
    if nested:
        trunk = classifier(input_shape=(32, 32, 3))
        model = keras.Model(images, trunk(x))
    else:
        model = build_regnet(X, input_tensor=x, class_names=NAMES, preprocessing=PREPROCESSING)
    assert facts_of(model) == Facts(X, LEVELS, NAMES, True)
    sequential = keras.Sequential([keras.Input((32, 32, 3)), model])
    assert facts_of(sequential) == Facts(X, LEVELS, NAMES, True)


def test_a_nested_trunk_that_normalizes(tmp_path):
    trunk = build_regnet(
        X, include_top=False, pooling="avg", preprocessing=PREPROCESSING, include_preprocessing=True
    )
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, keras.layers.Dense(2)(trunk(images)))
    assert facts_of(model) == Facts(X, LEVELS, None, True)
    model.save(tmp_path / "model.keras")
    assert facts_of(keras.saving.load_model(tmp_path / "model.keras")) == facts_of(model)


HARMLESS = {
    "flip": keras.layers.RandomFlip(),
    "rotation": keras.layers.RandomRotation(0.2, fill_mode="constant"),
    "zoom": keras.layers.RandomZoom(0.2, fill_mode="constant"),
    "contrast": keras.layers.RandomContrast(0.3),
    "brightness": keras.layers.RandomBrightness(0.3),
    "crop": keras.layers.RandomCrop(28, 28),
    "resizing": keras.layers.Resizing(28, 28),
    "padding": keras.layers.ZeroPadding2D(4),
    "identity": keras.layers.Identity(),
    "dropout": keras.layers.Dropout(0.5),
    "noise": keras.layers.GaussianNoise(0.5),
    "cast": lambda images: keras.ops.cast(images, "float32"),
    "pipeline": keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)]),
}


@pytest.mark.parametrize("front", HARMLESS)
def test_layers_that_leave_levels_as_they_are(front):
    images = keras.Input((32, 32, 3))
    x = HARMLESS[front](images)
    model = build_regnet(X, input_tensor=x, class_names=NAMES, preprocessing=PREPROCESSING)
    assert facts_of(model) == Facts(X, PREPROCESSING, NAMES)


def test_levels_of_a_network_that_knows_no_preprocessing():
    images = keras.Input((48, 48, 3))
    model = build_regnet(X, input_tensor=images / 255, classes=3)
    assert facts_of(model) == Facts(X, Preprocessing(image_size=48, **LEVELS_OF_3), None, True)
    model = build_regnet(X, input_tensor=keras.Input((None, None, 3)) / 255, classes=3)
    assert facts_of(model) == Facts(X, None, None, True)


def test_subclassed_models_that_normalize():
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = keras.layers.Rescaling(1 / 255)
            self.network = classifier()

        def call(self, images):
            return self.network(self.scale(images))

    assert facts_of(Subclass()) == Facts(X, LEVELS, NAMES, True)


def test_other_channels_before_the_stem():
    """Gray images, repeated for a network of colors."""
    gray = keras.Input((32, 32, 1))
    model = build_regnet(
        X,
        input_tensor=keras.ops.concatenate([gray] * 3, axis=-1),
        class_names=NAMES,
        preprocessing=PREPROCESSING,
    )
    assert facts_of(model) == Facts(X, PREPROCESSING.with_channels(1), NAMES)


def test_facts_leave_the_names_of_later_models_alone():
    model = build_regnet(X, input_tensor=keras.Input((32, 32, 3)) / 255, classes=3)
    keras.backend.clear_session()
    facts_of(model)
    assert keras.Model(model.input, model.output).name == "functional"


def test_unknown_preprocessing_can_be_told():
    model = build_regnet(X, name="mine")
    with pytest.raises(ValueError, match=r"knows its preprocessing.*set `model.get_layer.*'mine'"):
        preprocessing_for(model)
    model.get_layer("stem").preprocessing = PREPROCESSING
    assert preprocessing_for(model) == PREPROCESSING


# Class names.


def test_number_of_classes_comes_from_their_names():
    assert classifier().output_shape == (None, 3)
    assert classifier(classes=3).output_shape == (None, 3)
    assert facts_of(build_regnet(X, class_names=list(NAMES))).class_names == NAMES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 2}, r"`class_names` must be 2 names. Received: class_names='3 names'"),
        ({"include_top": False}, "`class_names` must be None without the head"),
        ({"class_names": "abc"}, "`class_names` must be a sequence of texts, or None"),
        ({"class_names": (1, 2)}, "`class_names` must be a sequence of texts, or None"),
        ({"class_names": ()}, "`class_names` must be a sequence of texts, or None"),
        ({"preprocessing": {"size": 3}}, "A Preprocessing has the fields"),
        ({"preprocessing": "resize"}, "`preprocessing` must be a Preprocessing or None"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_regnet(X, **{"class_names": NAMES, **arguments})


def test_errors_of_layers():
    with pytest.raises(ValueError, match="`class_names` must be 2 names"):
        regnet_tf.Head(2, class_names=NAMES)
    with pytest.raises(ValueError, match="`class_names` must be 2 names"):
        segmentation_model(levels(X), 2, class_names=NAMES)
    with pytest.raises(ValueError, match="`network` must be a RegNetConfig or None"):
        regnet_tf.Stem(8, network="regnetx_002")


def test_predictions_are_named_after_loading(tmp_path):
    classifier().save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = preprocessing_for(loaded)(np.zeros((50, 40, 3), "uint8"))
    (best,) = decode_predictions(outputs_of(loaded, images), model=loaded)
    assert sorted(name for name, _, _ in best) == list(NAMES)


def test_the_path_of_a_model_is_no_model(tmp_path):
    path = tmp_path / "model.keras"
    path.touch()
    for function, argument in ((facts_of, path), (preprocessing_for, path), (facts_of, str(path))):
        with pytest.raises(ValueError, match=r"`model` must be .*`keras.saving.load_model` loads"):
            function(argument)
    with pytest.raises(ValueError, match=r"`weights` must be .*`keras.saving.load_model` loads"):
        preprocessing_for(str(path))
