"""Networks that compute their blocks again for the gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import regnet_tf

CONFIG = regnet_tf.RegNetConfig(
    name="tiny",
    explicit_stages=(regnet_tf.StageConfig(16, 1, 8), regnet_tf.StageConfig(24, 2, 8)),
    se_ratio=0.25,
    stem_width=8,
    drop_path_rate=0.4,
)
IMAGES = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")


def networks():
    """The same network twice, the second one with rematerialization."""
    one = regnet_tf.backbone(CONFIG, input_shape=(32, 32, 3), outputs=(1, 2, 3))
    other = regnet_tf.backbone(CONFIG, input_shape=(32, 32, 3), outputs=(1, 2, 3), remat=True)
    other.set_weights(one.get_weights())
    for a, b in zip(one.variables, other.variables, strict=True):
        b.assign(a)  # which branches to drop, too
    return one, other


def step(model):
    """Loss and gradients of the trainable variables, after which statistics have moved."""
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(one**2) for one in model(IMAGES, training=True).values())
    return loss, tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("graph", [True, False])
def test_same_gradients_statistics_and_dropped_branches(graph):
    one, other = networks()
    for _ in range(2):  # the second time with statistics and branches moved on
        loss, expected = (tf.function(step) if graph else step)(one)
        again, found = (tf.function(step) if graph else step)(other)
        assert float(again) == pytest.approx(float(loss), rel=1e-6)
        for variable, a, b in zip(one.trainable_variables, expected, found, strict=True):
            error = np.abs(a - b).max()
            assert error <= 1e-5 * np.abs(a).max() + 1e-7, variable.path
        for a, b in zip(one.non_trainable_variables, other.non_trainable_variables, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


def test_frozen_stages_stay_as_they_are():
    _, model = networks()
    regnet_tf.freeze(model, "stage_1")
    before = [variable.numpy() for variable in model.get_layer("stage_1").variables]
    loss, gradients = step(model)
    assert np.isfinite(loss) and len(gradients) == len(model.get_layer("stage_2").trainable_weights)
    for old, variable in zip(before, model.get_layer("stage_1").variables, strict=True):
        if "seed" not in variable.path:
            np.testing.assert_array_equal(variable, old)


def test_frozen_normalization_learns_all_else():
    model, _ = networks()
    regnet_tf.freeze_normalization(model)
    frozen = [v.numpy() for v in model.variables if "/norm/" in v.path]
    assert not any("/norm/" in v.path for v in model.trainable_variables)
    assert any(v.path.endswith("/kernel") for v in model.trainable_variables)
    _, gradients = step(model)
    learned = zip(model.trainable_variables, gradients, strict=True)
    assert all(np.any(one) for v, one in learned if v.path.endswith("conv_3/kernel"))
    for before, variable in zip(
        frozen, [v for v in model.variables if "/norm/" in v.path], strict=True
    ):
        np.testing.assert_array_equal(variable, before)


def test_blocks_stand_twice_in_the_graph():
    found = []
    for model in networks():
        graph = tf.function(step).get_concrete_function(model).graph
        found.append([op.type for op in graph.get_operations()].count("Conv2D"))
    shortcuts = 2
    assert found[1] - found[0] == 3 * 3 + shortcuts


def test_fit_and_files(tmp_path):
    config = CONFIG.replace(drop_path_rate=0.0)
    model = regnet_tf.build_regnet(config, input_shape=(32, 32, 3), classes=3, remat=True)
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(IMAGES, np.arange(4) % 3, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_layer("stage_2").remat
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
