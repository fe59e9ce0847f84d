"""Feature pyramid, heads, and whole segmentation models."""

import pathlib

import golden_weights
import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import with_statistics

import regnet_tf

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "decoders.npz")
CHANNELS = (8, 16, 24, 32)
SIZES = {
    "even": ((24, 24), (12, 12), (6, 6), (3, 3)),
    "odd": ((23, 17), (12, 9), (6, 5), (3, 3)),
    "dilated": ((24, 20), (12, 10), (12, 10), (12, 10)),
}
TINY = regnet_tf.RegNetConfig(
    name="RegNetY-tiny",
    depth=5,
    initial_width=16,
    width_slope=16,
    width_multiplier=2,
    group_width=8,
    se_ratio=0.25,
    stem_width=8,
)


def golden_maps(kind):
    """The maps that the originals were given."""
    rng = np.random.Generator(np.random.PCG64(11))
    pairs = zip(SIZES[kind], CHANNELS, strict=True)
    arrays = [rng.standard_normal((2, *size, c)).astype("float32") for size, c in pairs]
    return {f"P{level}": array for level, array in enumerate(arrays, start=2)}


def load(conv, name, norm=None):
    """Gives a `ConvNorm` the weights that the originals had under this name."""
    shape = conv.kernel.shape
    kernel = golden_weights.fill(f"{name}.weight", [shape[i] for i in (3, 2, 0, 1)])
    conv.kernel.assign(kernel.transpose(2, 3, 1, 0))
    if norm is None:
        conv.bias.assign(golden_weights.fill(f"{name}.bias", (conv.filters,)))
        return
    for ours, theirs in (
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ):
        value = golden_weights.fill(f"{norm}.{theirs}", (conv.filters,))
        getattr(conv.norm, ours).assign(value)


def assert_near(ours, golden):
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() < 1e-5 * golden.std()


@pytest.mark.parametrize("kind", SIZES)
def test_feature_pyramid_equals_torchvisions(kind):
    layer, maps = regnet_tf.FeaturePyramid(16, coarser_levels=1), golden_maps(kind)
    layer.build({level: one.shape for level, one in maps.items()})
    for place, level in enumerate(maps):
        load(layer.lateral[level], f"inner_blocks.{place}.0")
        load(layer.smooth[level], f"layer_blocks.{place}.0")
    outputs = layer(maps)
    assert list(outputs) == ["P2", "P3", "P4", "P5", "P6"]
    for level, output in outputs.items():
        assert_near(output.numpy(), GOLDEN[f"fpn_{kind}_{level}"])


def test_segmentation_head_equals_mmsegmentations():
    layer, maps = regnet_tf.FPNDecoder(16), golden_maps("even")
    layer.build({level: one.shape for level, one in maps.items()})
    for place, level in enumerate(maps):
        for step in range(max(place, 1)):  # a resizing layer follows each convolution
            name = f"scale_heads.{place}.{2 * step}"
            load(layer.convs[f"{level}_conv_{step + 1}"], f"{name}.conv", f"{name}.bn")
    assert_near(layer(maps).numpy(), GOLDEN["head_even"])


@pytest.mark.parametrize("kind", ["even", "odd"])
def test_unet_decoder_equals_segmentation_models(kind):
    layer, maps = regnet_tf.UNetDecoder((24, 16, 8)), golden_maps(kind)
    layer.build({level: one.shape for level, one in maps.items()})
    *finer, _ = maps
    for place, level in enumerate(reversed(finer)):
        for number in (1, 2):
            name = f"blocks.{place}.conv{number}"
            load(layer.convs[f"{level}_conv_{number}"], f"{name}.0", f"{name}.1")
    assert_near(layer(maps).numpy(), GOLDEN[f"unet_{kind}"])


@pytest.mark.parametrize("kind", ["even", "odd"])
@pytest.mark.parametrize(
    "layer",
    [
        regnet_tf.FeaturePyramid(8, coarser_levels=2),
        regnet_tf.FPNDecoder(8),
        regnet_tf.UNetDecoder((8, 8, 4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_shapes_are_as_computed_and_configurations_come_back(layer, kind):
    maps = golden_maps(kind)
    copy = layer.from_config(layer.get_config())
    shapes = copy.compute_output_shape({level: one.shape for level, one in maps.items()})
    outputs = copy(maps)
    assert keras.tree.map_structure(lambda x: tuple(x.shape), outputs) == shapes
    assert copy.get_config() == layer.get_config()


def segmenter(decoder="fpn", shape=(64, 64, 3), **changes):
    backbone = regnet_tf.backbone(TINY, outputs=(1, 2, 3, 4), input_shape=shape)
    return regnet_tf.segmentation_model(backbone, 5, decoder=decoder, width=16, **changes)


@pytest.mark.parametrize("decoder", ["fpn", "unet"])
def test_any_size_gives_a_class_for_each_pixel(decoder):
    model = segmenter(decoder, (None, None, 3))
    images = np.random.default_rng(0).standard_normal((2, 70, 53, 3)).astype("float32")
    outputs = model(images).numpy()
    assert outputs.shape == (2, 70, 53, 5)
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(outputs.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("decoder", ["fpn", "unet"])
def test_fuse_and_files_keep_outputs(decoder, tmp_path):
    model = with_statistics(segmenter(decoder, activation=None))
    images = np.random.default_rng(1).standard_normal((2, 64, 64, 3)).astype("float32")
    expected = model(images).numpy()
    fused = regnet_tf.fuse(model)
    assert not any(name in v.path for v in fused.variables for name in ("gamma", "moving"))
    assert np.abs(fused(images) - expected).max() < 1e-5 * np.abs(expected).max()
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "model.keras")(images), expected
    )


@pytest.mark.parametrize("decoder", ["fpn", "unet"])
def test_every_variable_learns(decoder):
    model = segmenter(decoder)
    images = np.random.default_rng(2).standard_normal((2, 64, 64, 3)).astype("float32")
    labels = np.random.default_rng(3).integers(0, 5, (2, 64, 64))
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, outputs))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)


@pytest.mark.short_floats
def test_dilated_and_mixed_precision_networks_decode():
    backbone = regnet_tf.backbone(
        TINY, outputs=(2, 3, 4), output_stride=8, input_shape=(64, 64, 3), dtype="mixed_bfloat16"
    )
    model = regnet_tf.segmentation_model(backbone, 3)
    outputs = model(np.zeros((1, 64, 64, 3), "float32"))
    assert outputs.shape == (1, 64, 64, 3)
    assert outputs.dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": "deeplab"}, "`decoder` must be one of 'fpn', 'unet'. Received"),
        ({"dropout": 1.0}, "`dropout` must be a finite number at least 0 and below 1"),
        ({"width": 0}, "`width` must be an integer of at least 1"),
        ({"classes": 0}, "`classes` must be an integer of at least 1"),
        ({"normalization": "layer"}, "`normalization` must be one of"),
        ({"backbone": None}, "`backbone` must be a model of `regnet_tf.backbone`"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    backbone = regnet_tf.backbone(TINY, outputs=(2, 3), input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=message):
        regnet_tf.segmentation_model(**{"backbone": backbone, "classes": 2, **arguments})


def test_dropout_before_the_classifier():
    backbone = regnet_tf.backbone(TINY, outputs=(2, 3), input_shape=(32, 32, 3))
    model = regnet_tf.segmentation_model(backbone, 2, dropout=0.5)
    plain = regnet_tf.segmentation_model(backbone, 2)
    plain.set_weights(model.get_weights())
    assert model.get_layer("dropout").rate == 0.5
    x = np.ones((1, 32, 32, 3), "float32")
    np.testing.assert_array_equal(model(x), plain(x))
    assert np.abs(model(x, training=True) - plain(x, training=True)).max() > 1e-4
    np.testing.assert_allclose(regnet_tf.fuse(model)(x), plain(x), atol=1e-5)


def test_widths_of_the_unet_fit_the_levels():
    with pytest.raises(ValueError, match="`widths` must be 3 numbers for 4 levels"):
        regnet_tf.UNetDecoder((8, 4))(golden_maps("even"))


def test_a_map_alone_is_no_pyramid():
    with pytest.raises(ValueError, match="a dict of feature maps"):
        regnet_tf.FPNDecoder(8)(np.zeros((1, 4, 4, 3), "float32"))
