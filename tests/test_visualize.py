"""Grad-CAM: its numbers, where it points, and what it takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import RegNetConfig, StageConfig, build_regnet, feature_layers, fuse
from regnet_tf.visualize import class_heat, draw_map, grad_cam

STAGES = (StageConfig(8, 1, 4), StageConfig(16, 2, 8))
CONFIG = RegNetConfig(explicit_stages=STAGES, stem_width=8, se_ratio=0.25)
IMAGE = np.random.default_rng(0).normal(size=(40, 56, 3)).astype("float32")
LEVELS = np.random.default_rng(1).integers(0, 256, (40, 56, 3)).astype("uint8")


def network(**arguments):
    """A classifier of small images whose classes differ."""
    model = build_regnet(CONFIG, **{"classes": 4, **arguments})
    head = model.get_layer("head")
    head.kernel.assign(head.kernel * 100)
    return model


@pytest.fixture(scope="module")
def shared():
    """One that no test changes."""
    return network()


@pytest.mark.parametrize("level, layer", [("P2", "stage_1"), ("P3", None), ("P3", "stage_2")])
def test_heat_is_the_weighted_sum_of_channels(level, layer):
    """By central differences of the logits instead of gradients through the network."""
    keras.config.set_dtype_policy("float64")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    names = [one.name for one in model.layers]
    number = names.index("stem") + int(level[1]) - 1
    maps = keras.Model(model.input, feature_layers(model)[level])(IMAGE[None])

    def logit(maps):
        for one in model.layers[number + 1 : -1]:
            maps = one(maps)
        return (maps @ model.get_layer("head").kernel)[0, 2]

    step, weights = 1e-5, []
    for channel in range(maps.shape[-1]):
        # A step of a whole channel sums the gradient over its pixels.
        change = step * tf.one_hot(channel, maps.shape[-1], dtype=maps.dtype)
        weights.append((logit(maps + change) - logit(maps - change)) / (2 * step))
    expected = np.maximum(np.asarray(maps[0]) @ np.array(weights), 0)
    assert expected.max() > 0
    found = class_heat(model, IMAGE, 2, layer or level)
    assert found.dtype == "float32" and found.shape == expected.shape
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-3)


def test_softmax_is_left_out():
    model, logits = network(), network(classifier_activation=None)
    logits.set_weights(model.get_weights())
    for class_index in range(4):
        expected = class_heat(logits, IMAGE, class_index)
        np.testing.assert_allclose(class_heat(model, IMAGE, class_index), expected, atol=1e-5)


def test_the_most_probable_class_is_the_default(shared):
    heats = [class_heat(shared, IMAGE, class_index) for class_index in range(4)]
    expected = heats.pop(int(np.argmax(shared(IMAGE[None]))))
    np.testing.assert_array_equal(class_heat(shared, IMAGE), expected)
    assert all(np.abs(heat - expected).max() > 0.1 for heat in heats)


@pytest.mark.parametrize("half", ["left", "right"])
def test_heat_is_where_the_answer_comes_from(half):
    """The network sees one colour on each half; class 0 speaks for red, class 1 for blue."""
    images = keras.Input((64, 64, 3))
    trunk = build_regnet(
        RegNetConfig(explicit_stages=(StageConfig(8, 1, 4),), stem_width=8),
        include_top=False,
        input_tensor=images,
    )
    stem, block = trunk.get_layer("stem"), trunk.get_layer("stage_1").blocks[0]
    kernel = np.zeros(stem.conv.kernel.shape)
    kernel[1, 1, 0, 0] = kernel[1, 1, 2, 1] = 1  # red to channel 0, blue to channel 1
    stem.conv.kernel.assign(kernel)
    block.conv_3.kernel.assign(np.zeros(block.conv_3.kernel.shape))
    block.shortcut.kernel.assign(np.eye(8)[None, None])
    pooled = keras.layers.GlobalAveragePooling2D()(trunk.output)
    head = keras.layers.Dense(2, "softmax")
    model = keras.Model(images, head(pooled))
    head.kernel.assign(np.eye(8)[:, :2])

    image = np.zeros((64, 64, 3), "float32")
    image[:, :32, 0] = image[:, 32:, 2] = 1
    heat = class_heat(model, image, 0 if half == "left" else 1)
    inside, outside = (heat[:, :8], heat[:, 8:])[:: 1 if half == "left" else -1]
    assert heat.shape == (16, 16) and inside.min() > 0.9 and outside.max() == 0

    picture = grad_cam(model, image, 0 if half == "left" else 1, opacity=1).astype(int)
    red, blue = picture[..., 0] > picture[..., 2], picture[..., 2] > picture[..., 0]
    if half == "right":
        red, blue = red[:, ::-1], blue[:, ::-1]
    assert red[:, :28].all() and blue[:, 36:].all()


def test_overlay():
    model = network(include_preprocessing=True)
    heat = grad_cam(model, LEVELS, opacity=1)
    half = grad_cam(model, LEVELS)
    assert half.dtype == heat.dtype == "uint8" and half.shape == heat.shape == LEVELS.shape
    np.testing.assert_allclose(half, (LEVELS.astype(float) + heat) / 2, atol=1)
    np.testing.assert_array_equal(grad_cam(model, LEVELS, opacity=0), LEVELS)


def test_pictures_of_other_inputs(shared):
    stretched = grad_cam(shared, IMAGE, opacity=0)
    assert stretched.min() == 0 and stretched.max() == 255
    np.testing.assert_array_equal(grad_cam(shared, IMAGE, picture=LEVELS, opacity=0), LEVELS)
    grey = grad_cam(network(input_shape=(None, None, 1)), IMAGE[..., :1], opacity=0)
    assert grey.shape == IMAGE.shape and (grey[..., 0] == grey[..., 2]).all()
    assert grad_cam(shared, np.zeros_like(IMAGE), opacity=0).max() == 0


@pytest.mark.short_floats
def test_fused_frozen_and_mixed_networks():
    model = network()
    expected = class_heat(model, IMAGE, 1)
    np.testing.assert_allclose(class_heat(fuse(model), IMAGE, 1), expected, atol=1e-4)
    model.trainable = False
    np.testing.assert_array_equal(class_heat(model, IMAGE, 1), expected)
    mixed = network(dtype="mixed_bfloat16")
    mixed.set_weights(model.get_weights())
    np.testing.assert_allclose(class_heat(mixed, IMAGE, 1), expected, atol=0.1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"image": IMAGE[None]}, "`image` must be one image"),
        ({"class_index": 4}, "`class_index` must be None or an integer from 0 to 3"),
        ({"class_index": -1}, "`class_index`"),
        ({"layer": "P4"}, "`layer` must be one of 'P1', 'P2', 'P3'"),
        ({"layer": "head"}, "`layer` must be of output shape"),
        ({"layer": "images"}, "`layer` must be between"),
        ({"picture": IMAGE}, "`picture` must be a uint8 array"),
        ({"picture": LEVELS[1:]}, "`picture` must be a uint8 array"),
        ({"opacity": 1.5}, "`opacity`"),
    ],
)
def test_arguments_out_of_range(shared, arguments, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(**{"model": shared, "image": IMAGE, **arguments})


def test_other_models():
    with pytest.raises(ValueError, match="`model` must be a classifier"):
        grad_cam(build_regnet(CONFIG, include_top=False), IMAGE)
    with pytest.raises(ValueError, match="`model` must be a network"):
        grad_cam(keras.Sequential([keras.Input((4,))]), IMAGE)


@pytest.mark.parametrize("kind", ["functional", "sequential", "trunk"])
def test_nested_networks(kind, shared):
    """A network inside another one, behind preprocessing, has the heat of the one inside."""
    rescaling = keras.layers.Rescaling(2.0, offset=0.25)
    inputs = keras.Input((40, 56, 3))
    if kind == "functional":
        model = keras.Model(inputs, shared(rescaling(inputs)))
    elif kind == "sequential":
        model = keras.Sequential([inputs, rescaling, shared])
    else:
        trunk = build_regnet(CONFIG, include_top=False, pooling="avg")
        head = keras.layers.Dense(4, "softmax")
        model = keras.Model(inputs, head(trunk(inputs * 2 + 0.25)))
        trunk.set_weights(shared.get_weights()[:-2])
        head.set_weights(shared.get_weights()[-2:])
    expected = class_heat(shared, 2 * IMAGE + 0.25, 1)
    np.testing.assert_allclose(class_heat(model, IMAGE, 1), expected, atol=1e-4)
    assert grad_cam(model, IMAGE, 1, "P2").shape == IMAGE.shape
    assert model(IMAGE[None]).shape == (1, 4)  # it works as before


def test_sigmoid_is_left_out():
    model, logits = network(classifier_activation="sigmoid"), network(classifier_activation=None)
    logits.set_weights(model.get_weights())
    expected = class_heat(logits, IMAGE, 2)
    np.testing.assert_allclose(class_heat(model, IMAGE, 2), expected, atol=1e-5)


def test_map_of_classes(tmp_path):
    classes = np.repeat(np.arange(4), 10)[:, None] * np.ones((1, 56), int)
    names = ["ground", "$a$", "long " * 40, "sky"]
    draw_map(LEVELS, classes, names, tmp_path / "map.png")
    picture = tf.io.decode_png(tf.io.read_file(str(tmp_path / "map.png")))
    assert picture.shape == (460, 900, 4)
    with pytest.raises(ValueError, match="`classes` must be a map of shape"):
        draw_map(LEVELS, classes[1:], names, tmp_path / "map.png")


def test_other_backends(shared, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(NotImplementedError, match="TensorFlow"):
        grad_cam(shared, IMAGE)


def test_overlay_as_a_file(shared, tmp_path):
    overlay = grad_cam(shared, IMAGE, picture=LEVELS, path=tmp_path / "heat.png")
    written = tf.io.decode_png(tf.io.read_file(str(tmp_path / "heat.png")))
    np.testing.assert_array_equal(written, overlay)
