"""Saved and cloned networks keep what was changed in single layers: freezing, quantization."""

import json

import keras
import numpy as np
import pytest

from regnet_tf import (
    RegNetConfig,
    Stage,
    StageConfig,
    YBlock,
    backbone,
    build_regnet,
    freeze,
    freeze_normalization,
    segmentation_model,
)
from regnet_tf._internals import all_layers

STAGES = (StageConfig(16, 1, 8), StageConfig(32, 2, 8))
CONFIG = RegNetConfig(name="tiny", explicit_stages=STAGES, stem_width=16, se_ratio=0.25)
SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def cloned(model, _):
    return keras.models.clone_model(model)


each_way = pytest.mark.parametrize("again", [saved, cloned])


def frozen(model):
    """Whether each variable is frozen, in the order of the variables."""
    trainable = {id(variable) for variable in model.trainable_variables}
    return [id(variable) not in trainable for variable in model.weights]


def with_head(trunk):
    inputs = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(trunk(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def regnet_up_to_the_head():
    model = build_regnet(CONFIG, classes=3)
    freeze(model, "stage_2")
    return model


def regnet_trunk():
    trunk = build_regnet(CONFIG, include_top=False)
    trunk.trainable = False
    return with_head(trunk)


def mobilenet(**arguments):
    return keras.applications.MobileNetV2(
        weights=None, alpha=0.35, input_shape=SHAPE, classes=3, **arguments
    )


def mobilenet_up_to_the_head():
    model = mobilenet()
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model


def mobilenet_trunk():
    trunk = mobilenet(include_top=False)
    trunk.trainable = False
    return with_head(trunk)


@each_way
@pytest.mark.parametrize(
    "make", [mobilenet_up_to_the_head, mobilenet_trunk, regnet_up_to_the_head, regnet_trunk]
)
def test_two_variables_remain_trainable(make, again, tmp_path):
    """Kernel and bias of the head, in a RegNet as in a MobileNet of Keras."""
    model = again(make(), tmp_path)
    assert len(model.trainable_variables) == 2
    assert frozen(model) == [True] * (len(model.weights) - 2) + [False] * 2


def normalization():
    model = build_regnet(CONFIG)
    freeze_normalization(model)
    return model


def one_block():
    model = build_regnet(CONFIG)
    model.get_layer("stage_2").blocks[1].trainable = False
    return model


def stem_of_a_trunk():
    trunk = build_regnet(CONFIG, include_top=False)
    freeze(trunk, "stem")
    return with_head(trunk)


def backbone_of_a_segmentation(decoder):
    maps = backbone(CONFIG, outputs=(1, 2, 3))
    maps.trainable = False
    return segmentation_model(maps, 3, decoder=decoder, width=16)


def layers_of_decoders():
    model = segmentation_model(backbone(CONFIG, outputs=(1, 2, 3)), 3, width=16)
    model.get_layer("pyramid").smooth["P2"].trainable = False
    model.get_layer("classifier").dense.trainable = False
    return model


# Each block has 3 convolutions and a shortcut if it is its stage's first; each convolution has
# gamma, beta, 2 moving statistics and a kernel. The gate has 2 kernels and 2 biases.
@each_way
@pytest.mark.parametrize(
    ("make", "frozen_kernels_and_vectors"),
    [
        (normalization, 2 * (1 + 4 + 4 + 3)),
        (one_block, 3 * 3 + 4),
        (stem_of_a_trunk, 3),
        (lambda: backbone_of_a_segmentation("fpn"), 3 * (1 + 4 + 4 + 3) + 4 * 3),
        (lambda: backbone_of_a_segmentation("unet"), 3 * (1 + 4 + 4 + 3) + 4 * 3),
        (layers_of_decoders, 2 + 2),
    ],
)
def test_parts_stay_frozen(make, frozen_kernels_and_vectors, again, tmp_path):
    model = make()
    moving = sum("moving_" in variable.path for variable in model.weights)
    assert sum(frozen(model)) == frozen_kernels_and_vectors + moving
    other = again(model, tmp_path)
    assert frozen(other) == frozen(model)
    assert [one.path for one in other.weights] == [one.path for one in model.weights]


def test_a_trainable_layer_in_a_frozen_block_stays_so(tmp_path):
    stage = Stage(16, 2, 8, name="stage")
    stage.build((None, 8, 8, 16))
    stage.trainable = False
    stage.blocks[0].conv_2.trainable = True
    config = json.loads(json.dumps(stage.get_config()))
    again = Stage.from_config(config)
    again.build((None, 8, 8, 16))
    trainable = [one.path for one in again.weights if one.trainable]
    conv = "stage/block_1/conv_2"
    assert trainable == [f"{conv}/kernel", f"{conv}/norm/gamma", f"{conv}/norm/beta"]


def test_layers_are_frozen_before_they_are_built():
    """Also those that `build` makes."""
    block = YBlock(16, 8, stride=2, drop_path_rate=0.1)
    block.trainable = False
    block.build((None, 8, 8, 16))
    assert not any(variable.trainable for variable in block.weights)

    stage = Stage(16, 2, 8, se_ratio=0.25)
    stage.blocks[1].trainable = False
    again = Stage.from_config(Stage.from_config(stage.get_config()).get_config())
    again.build((None, 8, 8, 16))
    blocks = [[one.trainable for one in block.weights] for block in again.blocks]
    assert any(blocks[0]) and not any(blocks[1])

    stage.build((None, 8, 8, 16))
    stage.blocks[0].gate.trainable = False
    unbuilt = Stage.from_config(stage.get_config())
    assert unbuilt.get_config() == stage.get_config()


def test_frozen_normalization_stays_in_inference_mode(tmp_path):
    model = saved(normalization(), tmp_path)
    before = [np.array(one) for one in model.non_trainable_variables]
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.ones((2, 1000)), verbose=0)
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_nothing_is_written_where_nothing_differs():
    model = build_regnet(CONFIG)
    assert "sublayers" not in json.dumps(model.get_config())
    model.trainable = False
    assert "sublayers" not in json.dumps(model.get_config())


# The dense layers of the gates are what Keras quantizes; the head is a class of its own to Keras.


def gated():
    return build_regnet(CONFIG, input_shape=SHAPE, classifier_activation=None)


def segmentation():
    return segmentation_model(backbone(CONFIG, outputs=(1, 2), input_shape=SHAPE), 3, width=16)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize:UserWarning")
@pytest.mark.parametrize("mode", ["int8", "float8", pytest.param("int4", marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [gated, segmentation])
def test_quantized_networks_are_saved(make, mode, tmp_path):
    model = make()
    dense = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    for one in (model, dense):
        one.quantize(mode)
    expected = model(IMAGES, training=False)
    again = saved(model, tmp_path)
    np.testing.assert_array_equal(again(IMAGES, training=False), expected)
    policies = {one.dtype_policy.name for one in denses(again)}
    assert policies == {saved(dense, tmp_path).layers[0].dtype_policy.name}


def denses(model):
    """The plain dense layers of a network."""
    return [layer for layer in all_layers(model) if type(layer) is keras.layers.Dense]


def test_adapters_of_low_rank_are_saved(tmp_path):
    model = gated()
    for layer in denses(model):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    again = saved(model, tmp_path)
    assert frozen(again) == frozen(model)
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
