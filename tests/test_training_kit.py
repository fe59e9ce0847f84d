"""Optimizers, losses and training steps of recipes against PyTorch, timm and arithmetic."""

import json
import pathlib

import golden_weights
import keras
import numpy as np
import pytest
import tensorflow as tf

import regnet_tf
from regnet_tf import RegNetConfig
from regnet_tf.optimizers import layer_scales
from training.data import CompleteDataSet, DataSet, load
from training.data.table import TableSplit
from training.loop.fitting import FittedModel, Training, build, fit
from training.loop.losses import balanced_weights, make_loss, right_share
from training.loop.optimization import make_optimizer
from training.recipes import get_recipe
from training.recipes.parts import Loss, Optimizer

FOLDER = pathlib.Path(__file__).parent / "golden"
GOLDEN = np.load(FOLDER / "torch_training_kit.npz")

_ADAMW = {"name": "adamw", "weight_decay": 0.1, "undecayed": "vectors"}
_SGDW = {"name": "sgdw", "weight_decay": 0.1, "undecayed": "vectors"}


def network(loss):
    """The network of the golden file with its weights, in float64."""
    config = RegNetConfig(
        name="kit",
        depth=6,
        initial_width=8,
        width_slope=8,
        width_multiplier=1.7,
        group_width=8,
        se_ratio=0.25,
        stem_width=8,
    )
    activation = "softmax" if loss.name == "cross_entropy" else "sigmoid"
    model = regnet_tf.build_regnet(
        config, classes=5, classifier_activation=activation, dtype="float64"
    )
    shapes = {name: value.shape for name, value in regnet_tf.to_state_dict(model).items()}
    weights = {name: golden_weights.fill(name, shape) for name, shape in shapes.items()}
    regnet_tf.load_state_dict(model, weights, source="timm")
    return model


@pytest.mark.parametrize(
    ("tag", "optimizer", "rate", "loss", "parts"),
    [
        (
            "adamw",
            Optimizer(**_ADAMW, layer_decay=0.7, clip_norm=0.5),
            0.01,
            Loss(label_smoothing=0.1),
            1,
        ),
        (
            "accumulated",
            Optimizer(**_ADAMW, clip_value=0.02),
            0.01,
            Loss(label_smoothing=0.1, class_weights="balanced"),
            3,
        ),
        (
            "sgdw",
            Optimizer(**_SGDW, layer_decay=0.7),
            0.05,
            Loss(name="binary_cross_entropy", label_smoothing=0.1),
            1,
        ),
        ("several", Optimizer(**_SGDW), 0.05, Loss(name="binary_cross_entropy"), 2),
    ],
)
def test_three_steps_are_those_of_pytorch(tag, optimizer, rate, loss, parts):
    rng = np.random.Generator(np.random.PCG64(17))
    images = rng.standard_normal((12, 64, 64, 3))
    target = "classes" if tag == "several" else "class"
    labels = GOLDEN["several"] if tag == "several" else np.eye(5)[GOLDEN["labels"]]
    weights = GOLDEN["class_weights"] if loss.class_weights else None
    base = network(loss)
    before = regnet_tf.to_state_dict(base)
    model = FittedModel(base.inputs, base.outputs)
    trained = make_loss(loss, target, weights)
    model.training = Training(trained, trained, right_share(target), parts)
    model.means = [keras.metrics.Mean(name) for name in ("loss", "accuracy", "cross_entropy")]
    model.compile(make_optimizer(optimizer, rate))
    model.optimizer.build(model.trainable_variables)
    # A graph takes seconds to trace, so one of these has it.
    in_graph = tag == "accumulated"
    step = tf.function(model.train_step, autograph=False) if in_graph else model.train_step
    losses, values = [], [variable.numpy() for variable in base.variables]
    for _ in range(3):
        model.reset_metrics()
        losses.append(float(step((tf.constant(images), tf.constant(labels)))["loss"]))
    np.testing.assert_allclose(losses, GOLDEN[f"{tag}/losses"], rtol=1e-6)
    for variable, value in zip(base.variables, values, strict=True):
        variable.assign(variable.numpy() - value)  # state dicts are float32
    changes = regnet_tf.to_state_dict(base)
    for name, (norm, along) in zip(GOLDEN[f"{tag}/names"], GOLDEN[f"{tag}/changes"], strict=True):
        change, start = (one[str(name)].astype("float64") for one in (changes, before))
        tolerance = 1e-5 * norm + 1e-6 * np.linalg.norm(start)  # Adam divides tiny gradients
        assert np.linalg.norm(change) == pytest.approx(norm, rel=0, abs=tolerance), name
        assert (change * start).sum() == pytest.approx(along, rel=1e-5, abs=tolerance), name


@pytest.mark.parametrize("name", ["regnety_002", "regnetx_002"])
def test_layer_decay_groups_as_timm(name, without_values):
    golden = json.loads((FOLDER / "timm_layer_decay.json").read_text())[name]
    model = regnet_tf.build_regnet(name)
    scales = layer_scales([variable.path for variable in model.trainable_variables], 0.75)
    for variable, scale in zip(model.trainable_variables, scales, strict=True):
        variable.assign(np.full(variable.shape, scale))
    ours = regnet_tf.to_state_dict(model)
    for parameter, (scale, decay) in golden.items():
        assert ours[parameter].flat[0] == pytest.approx(scale, rel=1e-6), parameter
        assert (ours[parameter].ndim > 1) == (decay > 0), parameter


def test_a_decoder_learns_as_the_last_layer():
    paths = ["stem/conv/kernel", "stage_1/block_1/a", "stage_1/block_2/a", "pyramid/a", "decoder/a"]
    assert layer_scales(paths, 0.5) == [0.125, 0.25, 0.5, 1, 1]


@pytest.mark.parametrize("name", ["sgd", "sgdw", "adamw", "rmsprop"])
def test_a_restarted_optimizer_is_a_new_one(name):
    made = [make_optimizer(Optimizer(name=name), 0.1) for _ in range(2)]
    variables = [keras.Variable([1.0, -2.0], name="x") for _ in range(2)]
    for optimizer, variable in zip(made, variables, strict=True):
        optimizer.build([variable])
    for gradient in ([0.5, 0.1], [3.0, 0.2]):
        made[0].apply([tf.constant(gradient)], [variables[0]])
    variables[1].assign(variables[0])
    made[0].restart()
    for optimizer, variable in zip(made, variables, strict=True):
        optimizer.apply([tf.constant([0.3, -0.4])], [variable])
    np.testing.assert_array_equal(variables[0].numpy(), variables[1].numpy())
    assert variables[0].numpy()[0] < 1


def test_two_devices_do_what_two_parts_do(two_devices):
    """Each device's share of a batch has its own statistics, and so has each part of a batch."""
    data = CompleteDataSet.of(load("digits"))
    states = []
    for parts, strategy in ((2, None), (1, two_devices)):
        changes = {
            "schedule.accumulation": parts,
            "optimizer.name": "adamw",
            "optimizer.clip_norm": 0.1,
            "schedule.epochs": 1,
            "schedule.max_steps": 2,
        }
        recipe = get_recipe("smoke", changes)
        keras.utils.set_random_seed(0)
        model = build(recipe, data, strategy)
        history = fit(model, recipe, data, strategy, verbose=0)
        states.append((history["loss"][0], [v.numpy() for v in model.trainable_variables]))
    assert states[0][0] == pytest.approx(states[1][0], rel=1e-5)
    for one, other in zip(states[0][1], states[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# Losses.


def test_ignored_pixels_are_those_of_pytorch():
    maps = GOLDEN["pixels/maps"]
    labels = tf.cast(tf.one_hot(maps, 5), tf.float64)
    loss = make_loss(
        Loss(label_smoothing=0.1, class_weights="balanced"), "pixels", GOLDEN["class_weights"]
    )
    logits = tf.constant(GOLDEN["pixels/logits"])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, tf.nn.softmax(logits))
        return value, tape.gradient(value, logits)

    value, slope = gradient()
    assert float(value) == pytest.approx(float(GOLDEN["pixels/loss"]), rel=1e-6)
    np.testing.assert_allclose(slope, GOLDEN["pixels/gradient"], rtol=1e-5, atol=1e-9)
    assert (slope.numpy()[maps == 255] == 0).all()
    nothing = loss(
        tf.zeros((1, 2, 2, 5), tf.float64), tf.fill((1, 2, 2, 5), tf.constant(0.2, tf.float64))
    )
    assert float(nothing) == 0


@pytest.mark.parametrize(
    ("target", "labels", "probabilities", "share"),
    [
        ("class", [[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]], 0.5),
        ("classes", [[1, 1], [0, 1]], [[0.9, 0.1], [0.1, 0.9]], 0.75),
        ("pixels", [[[1, 0], [0, 0], [0, 1]]], [[[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]], 0.5),
    ],
)
def test_accuracy(target, labels, probabilities, share):
    value = right_share(target)(tf.constant(labels, tf.float32), tf.constant(probabilities))
    assert float(value) == pytest.approx(share)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (np.array([0, 0, 0, 1]), [4 / (3 * 3), 4 / 3, 0]),
        (np.array([[1, 0, 1], [1, 0, 0]], "uint8"), [3 / (3 * 2), 0, 3 / 3]),
        (np.array([[[0, 255], [1, 1]]], "uint8"), [3 / 3, 3 / (3 * 2), 0]),
    ],
)
def test_balanced_weights(labels, weights):
    """As scikit-learn: labels / (classes * labels of the class); ignored pixels do not count."""
    split = TableSplit(np.zeros((len(labels), 2, 2, 3), "uint8"), labels)
    assert balanced_weights(split, 3) == pytest.approx(weights)


def test_the_plain_loss_has_neither_smoothing_nor_weights():
    items, labels = np.zeros((4, 8, 8, 3), "uint8"), np.array([0, 0, 0, 1])
    data = DataSet(name="x", class_names=("a", "b"), train=TableSplit(items, labels), test=None)
    recipe = get_recipe("smoke", {"loss.label_smoothing": 0.2, "loss.class_weights": "balanced"})
    training = Training.of(recipe, data)
    ones, probabilities = tf.constant([[1.0, 0.0], [0.0, 1.0]]), tf.constant([[0.8, 0.2]] * 2)
    logs = -np.log([0.8, 0.2])
    assert float(training.plain_loss(ones, probabilities)) == pytest.approx(logs.mean())
    weights = np.array([4 / 6, 2.0])
    smooth = np.array([[0.9, 0.1], [0.1, 0.9]])
    expected = (smooth * weights * logs).sum() / weights.sum()
    assert float(training.loss(ones, probabilities)) == pytest.approx(expected, rel=1e-5)
