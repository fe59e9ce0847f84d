"""What networks know about themselves, after all that is done to models."""

import keras
import numpy as np
import pytest

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
LEVELS = PREPROCESSING.replace(mean=(0, 0, 0), std=(1 / 255,) * 3)


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
        Facts(X, LEVELS, NAMES),
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


@pytest.fixture(params=NETWORKS)
def network(request):
    """A network, and what it should know."""
    return NETWORKS[request.param]()


def test_facts(network):
    model, facts = network
    assert facts_of(model) == facts


def test_saved(network, tmp_path):
    model, facts = network
    model.save(tmp_path / "model.keras")
    assert facts_of(keras.saving.load_model(tmp_path / "model.keras")) == facts


def test_renamed_and_frozen(network, tmp_path):
    model, facts = network
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
    assert facts_of(keras.Model(trunk.input, head(trunk.output))) == (X, PREPROCESSING, None)
    outer = keras.Sequential([keras.Input((32, 32, 3)), trunk, head])
    assert facts_of(outer) == (X, PREPROCESSING, None)
    model = classifier()
    after = keras.Model(model.input, keras.layers.Dense(2)(model.output))
    assert facts_of(after) == (X, PREPROCESSING, None)


def test_networks_that_differ_do_not_mix():
    images = keras.Input((32, 32, 3))
    x, y = classifier(X, name="x"), classifier(Y, name="y")
    both = keras.Model(images, keras.layers.Average()([x(images), y(images)]))
    assert facts_of(both) == (None, PREPROCESSING, NAMES)


def test_models_without_symbolic_inputs():
    """Keras knows no shapes of a subclass of `keras.Model`."""

    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = classifier()

        def call(self, images):
            return self.network(images)

    assert facts_of(Subclass()) == (X, PREPROCESSING, NAMES)


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
    expected = outside.predict(preprocessing_for(outside)(image), verbose=0)
    found = inside.predict(preprocessing_for(inside)(image), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


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
    (best,) = decode_predictions(loaded.predict(images, verbose=0), model=loaded)
    assert sorted(name for name, _, _ in best) == list(NAMES)
