"""Backbones as encoders of KerasHub's own segmenter and detector, trained on scanned digits."""

from typing import NamedTuple

import keras
import numpy as np
import pytest

from regnet_tf import RegNetConfig, StageConfig, backbone, feature_info

pytestmark = pytest.mark.keras_hub

CONFIG = RegNetConfig(
    explicit_stages=tuple(StageConfig(width, 1, 8) for width in (16, 16, 24, 24)),
    stem_width=8,
)
SIZE = 64
#: Output stride -> the key of the last stage, which has that stride.
LAST = {8: "P3", 16: "P4", 32: "P5"}


class Scenes(NamedTuple):
    """A digit, 32 pixels a side, somewhere in each image.

    Attributes:
        images: (16, 64, 64, 3), from 0 to 1.
        masks: (16, 64, 64), 1 where there is ink.
        boxes: (16, 1, 4): top, left, bottom, right, in pixels.
        parities: (16, 1), whether the digit is odd.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    parities: np.ndarray


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="the extra `keras_hub` is not installed")


@pytest.fixture(scope="module")
def scenes():
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng(0)
    images, boxes = np.zeros((16, SIZE, SIZE), "float32"), []
    for image, digit in zip(images, digits.images, strict=False):
        top, left = rng.integers(0, SIZE - 32 + 1, 2)
        image[top : top + 32, left : left + 32] = np.kron(digit / 16, np.ones((4, 4)))
        boxes.append([[top, left, top + 32, left + 32]])
    return Scenes(
        images=np.repeat(images[..., None], 3, axis=-1),
        masks=(images > 0.3).astype("int32"),
        boxes=np.array(boxes, "float32"),
        parities=digits.target[:16, None] % 2,
    )


def segmenter(hub, output_stride=16, make=backbone):
    """DeepLab V3+ of two classes."""
    trunk = hub.models.DeepLabV3Backbone(
        image_encoder=make(CONFIG, output_stride=output_stride),
        spatial_pyramid_pooling_key=LAST[output_stride],
        low_level_feature_key="P2",
        upsampling_size=output_stride // 4,
        dilation_rates=[1, 2],
        projection_filters=8,
        image_shape=(SIZE, SIZE, 3),
    )
    return hub.models.DeepLabV3ImageSegmenter(trunk, num_classes=2)


def segmenter_on_preset(hub):
    """The same on the backbone that presets have."""
    from regnet_tf.keras_hub import RegNetBackbone

    return segmenter(hub, make=RegNetBackbone)


def detector(hub):
    """RetinaNet of two classes, with levels above the encoder's."""
    trunk = hub.models.RetinaNetBackbone(
        image_encoder=backbone(CONFIG),
        min_level=3,
        max_level=6,
        use_p5=True,
        image_shape=(SIZE, SIZE, 3),
    )
    return hub.models.RetinaNetObjectDetector(trunk, num_classes=2, pre_logits_num_conv_layers=1)


def train(model, images, labels, epochs, rate, **options):
    """Trains on one batch; every variable of the encoder must move. Returns the losses."""
    encoder = model.backbone.image_encoder
    before = [variable.numpy() for variable in encoder.trainable_variables]
    model.compile(keras.optimizers.Adam(rate), **options)
    history = model.fit(images, labels, batch_size=len(images), epochs=epochs, verbose=0)
    assert encoder.get_layer("stem").trainable_variables
    for old, variable in zip(before, encoder.trainable_variables, strict=True):
        assert (variable.numpy() != old).any(), variable.path
    return np.array(history.history["loss"])


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_scales_are_those_of_kerashubs_encoders(hub, output_stride):
    theirs = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(SIZE, SIZE, 3),
    ).pyramid_outputs
    ours = backbone(CONFIG, output_stride=output_stride, input_shape=(SIZE, SIZE, 3))
    found = {level: tensor.shape[1:3] for level, tensor in ours.pyramid_outputs.items()}
    last = LAST[output_stride]
    assert found == {level: theirs[level].shape[1:3] for level in theirs if level <= last}
    assert ours.pyramid_outputs[last] is ours.get_layer("stage_4").output


@pytest.mark.slow
def test_segmenter_is_trained(hub, scenes):
    model = segmenter(hub)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = train(model, scenes.images, scenes.masks, 12, 2e-3, loss=loss, metrics=[])
    ink = scenes.masks.mean()
    guess = -(ink * np.log(ink) + (1 - ink) * np.log(1 - ink))  # by the amount of ink alone
    assert losses[-1] < 0.5 * guess < losses[0]


@pytest.mark.parametrize("output_stride", [8, 32])
def test_segments_have_the_size_of_the_image(hub, scenes, output_stride):
    model = segmenter(hub, output_stride)
    assert model(scenes.images[:2]).shape == (2, SIZE, SIZE, 2)


@pytest.mark.slow
def test_detector_is_trained(hub, scenes):
    model = detector(hub)
    labels = {"boxes": scenes.boxes, "labels": scenes.parities}
    losses = train(model, scenes.images, labels, 7, 1e-3, run_eagerly=True)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("make", [segmenter, segmenter_on_preset, detector])
def test_models_are_saved(hub, scenes, make, tmp_path):
    model = make(hub)
    model(scenes.images, training=True)  # statistics of their own
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for found, expected in zip(
        keras.tree.flatten(loaded(scenes.images)),
        keras.tree.flatten(model(scenes.images)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    encoders = [each.backbone.image_encoder for each in (loaded, model)]
    assert feature_info(encoders[0]) == feature_info(encoders[1])
    assert list(encoders[0].pyramid_outputs) == list(encoders[1].pyramid_outputs)
