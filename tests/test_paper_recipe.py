"""The recipe `paper` against PyTorch and pycls: steps, schedule, statistics."""

import math
import pathlib
import types

import golden_weights
import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import outputs_of

import regnet_tf
from training.data import load
from training.loop.callbacks import Averaging
from training.loop.checkpoints import Progress
from training.loop.optimization import learning_rate, make_optimizer
from training.loop.precise_statistics import set_precise_statistics
from training.loop.strategies import make_strategy
from training.recipes import get_recipe
from training.recipes.parts import Optimizer

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "timm_regnetx_002_train.npz")


@pytest.fixture(scope="module", params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def trained(request):
    """Three steps from golden weights: the type, losses, first gradients, network, images."""
    model = regnet_tf.build_regnet("regnetx_002", classifier_activation=None, dtype=request.param)
    shapes = {name: value.shape for name, value in regnet_tf.to_state_dict(model).items()}
    weights = {name: golden_weights.fill(name, shape) for name, shape in shapes.items()}
    regnet_tf.load_state_dict(model, weights, source="timm")
    rng = np.random.Generator(np.random.PCG64(13))
    images = rng.standard_normal((8, 64, 64, 3)).astype("float32").astype(request.param)
    labels = rng.integers(0, 1000, 8)
    rate = float(GOLDEN["learning_rate"])
    optimizer = make_optimizer(get_recipe("paper").optimizer, rate)

    def loss_and_gradients():
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, model.trainable_variables)

    losses, first = [], None
    for _ in range(3):
        loss, gradients = loss_and_gradients()
        first = first or gradients
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(loss))
    return request.param, losses, first, model, images


def norms(state_dict, names):
    return np.array([np.linalg.norm(state_dict[str(n)].astype("float64")) for n in names])


def test_losses_of_three_steps(trained):
    """float32 leaves float64 as ReLUs flip: later losses about as far as PyTorch's float32."""
    kind, losses, *_ = trained
    if kind == "float64":
        np.testing.assert_allclose(losses, GOLDEN["losses"], rtol=1e-6)
    assert losses[0] == pytest.approx(GOLDEN["losses"][0], rel=1e-5)
    drift = np.abs(GOLDEN["f32_losses"] - GOLDEN["losses"])
    assert (np.abs(losses - GOLDEN["losses"]) <= 2 * drift + 0.02 * GOLDEN["losses"]).all()


def test_gradients_of_the_first_step(trained):
    """In float32 a flipped ReLU of the last stage changes all gradients before it a little."""
    kind, _, gradients, model, _ = trained
    kept = [variable.numpy() for variable in model.trainable_variables]
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign(gradient)
    ours = norms(regnet_tf.to_state_dict(model), GOLDEN["grad_names"])
    for variable, value in zip(model.trainable_variables, kept, strict=True):
        variable.assign(value)
    errors = np.abs(ours / GOLDEN["grad_norms"] - 1)
    if kind == "float64":
        assert errors.max() < 1e-6
    assert np.median(errors) < 1e-3 and errors.max() < 1e-2


def test_state_after_three_steps(trained):
    """Weights, and running statistics with PyTorch's unbiased variance."""
    kind, *_, model, _ = trained
    ours = norms(regnet_tf.to_state_dict(model), GOLDEN["after_names"])
    rtol, atol = (1e-6, 1e-9) if kind == "float64" else (0.02, 2e-3)
    np.testing.assert_allclose(ours, GOLDEN["after_norms"], rtol=rtol, atol=atol)


def test_logits_after_three_steps(trained):
    kind, *_, model, images = trained
    logits = outputs_of(model, images[:2])
    expected = GOLDEN["eval_logits_after"]
    if kind == "float64":
        np.testing.assert_allclose(logits, expected, atol=1e-5 * expected.std())
    drift = np.abs(GOLDEN["f32_eval_logits_after"] - expected).max()
    assert np.abs(logits - expected).max() <= 3 * drift + 0.02 * expected.std()


def test_learning_rate_of_every_epoch():
    """pycls: `lr_fun_cos` times the warm-up factor, at 0.1 for 128 images."""
    schedule = get_recipe("paper").schedule
    assert (schedule.epochs, schedule.batch_size, schedule.scaled_learning_rate) == (100, 1024, 0.8)
    for epoch in range(100):
        expected = 0.8 * 0.5 * (1 + math.cos(math.pi * epoch / 100))
        if epoch < 5:
            alpha = epoch / 5
            expected *= 0.1 * (1 - alpha) + alpha
        assert learning_rate(schedule, epoch) == pytest.approx(expected, rel=1e-12)


def test_learning_rate_scales_with_the_batch():
    recipe = get_recipe("paper", {"schedule.batch_size": 256})
    assert recipe.schedule.scaled_learning_rate == pytest.approx(0.2)


def test_learning_rate_of_torchvision():
    """`LinearLR(start_factor=0.01, total_iters=5)`, then `CosineAnnealingLR(T_max=595)`."""
    recipe = get_recipe("torchvision_v2")
    rates = [learning_rate(recipe.schedule, epoch) for epoch in range(600)]
    np.testing.assert_allclose(rates[:5], 0.5 * (0.01 + 0.99 * np.arange(5) / 5))
    expected = 0.5 * 0.5 * (1 + np.cos(np.pi * np.arange(595) / 595))
    np.testing.assert_allclose(rates[5:], expected)
    assert recipe.average.decay == pytest.approx(1 - 2e-5 * 8 * 128 * 32 / 600)


def test_learning_rate_in_steps():
    schedule = get_recipe("timm_ra").schedule
    for epoch in (3, 10, 24, 100, 449):
        assert learning_rate(schedule, epoch) == pytest.approx(0.016 * 0.97 ** (epoch // 2.4))
    assert learning_rate(schedule, 0) == pytest.approx(1e-6)


@pytest.mark.parametrize("devices", [1, 2])
def test_precise_statistics_are_means_over_batches(devices, two_devices):
    """As `compute_precise_bn_stats` of pycls: of batches' means and of their unbiased variances."""
    strategy = two_devices if devices == 2 else make_strategy("none")
    with strategy.scope():
        inputs = keras.Input((8, 8, 3))
        norm = regnet_tf.layers.BatchNorm(name="norm")
        model = keras.Model(inputs, norm(inputs))
    images = np.random.default_rng(0).normal(2, 3, (4, 10, 8, 8, 3)).astype("float32")
    images[1] *= 2
    batches = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices((images, np.zeros((4, 10))))
    )
    set_precise_statistics(model, iter(batches), 4, strategy)
    shares = images.reshape(4 * devices, 10 // devices, 8, 8, 3)
    np.testing.assert_allclose(norm.moving_mean.numpy(), shares.mean((1, 2, 3)).mean(0), rtol=1e-5)
    variances = shares.reshape(len(shares), -1, 3).var(1, ddof=1)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variances.mean(0), rtol=1e-5)
    assert norm.momentum == 0.9


def test_precise_statistics_in_a_run(tmp_path):
    from training.loop.run import Run

    models = []
    for precise_images in (0, 16):
        recipe = get_recipe("smoke", {"schedule.epochs": 1, "precise_images": precise_images})
        keras.utils.set_random_seed(recipe.seed)
        workdir = tmp_path / str(precise_images)
        workdir.mkdir()
        run = Run(recipe, load("digits"), workdir, make_strategy("none"), verbose=0)
        run.restore()
        run.train(checkpoint_steps=100)
        models.append(run.model)
    model, other = models
    for one, two in zip(model.variables, other.variables, strict=True):
        same = np.array_equal(one, two)
        assert same != ("moving_" in one.path), one.path


def test_undecayed_parameters():
    network = regnet_tf.build_regnet(get_recipe("smoke").network.config, input_shape=(32, 32, 3))
    variables = network.trainable_variables
    zeros = [tf.zeros(variable.shape) for variable in variables]
    for undecayed in ("none", "normalization", "vectors"):
        for optimizer_name in ("sgd", "rmsprop"):
            optimizer = Optimizer(name=optimizer_name, undecayed=undecayed, weight_decay=0.1)
            before = [variable.numpy() + 1 for variable in variables]
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            make_optimizer(optimizer, 0.05).apply(zeros, variables)
            for variable, value in zip(variables, before, strict=True):
                is_norm, is_vector = "/norm/" in variable.path, len(variable.shape) < 2
                exempt = {"none": False, "normalization": is_norm, "vectors": is_vector}[undecayed]
                assert np.array_equal(variable, value) == exempt, variable.path


def test_rmsprop_is_that_of_timm():
    """Mean squares start at 1; epsilon stands inside the root (`RMSpropTF`)."""
    recipe = get_recipe("timm_ra")
    variable = keras.Variable([1.0, -2.0])
    optimizer = make_optimizer(recipe.optimizer, recipe.schedule.learning_rate)
    weights, squares, velocity = np.array([1.0, -2.0]), np.ones(2), np.zeros(2)
    rng = np.random.default_rng(0)
    for _ in range(4):
        gradient = rng.standard_normal(2).astype("float32")
        optimizer.apply([tf.constant(gradient)], [variable])
        squares += 0.1 * (gradient**2 - squares)
        velocity = 0.9 * velocity + 0.016 * gradient / np.sqrt(squares + 1e-3)
        weights -= velocity
        np.testing.assert_allclose(variable.numpy(), weights, rtol=1e-5)


def test_the_average_of_a_run():
    from training.loop.averaging import ModelAverage

    model = regnet_tf.build_regnet(get_recipe("smoke").network.config, input_shape=(32, 32, 3))
    average = ModelAverage(model, 0.75, make_strategy("none"))
    start = model.get_weights()
    for variable in model.variables:
        variable.assign(variable + 1)
    now = model.get_weights()
    average.update()
    with average.swapped_in():
        for one, old, new in zip(model.get_weights(), start, now, strict=True):
            np.testing.assert_allclose(one, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-6)
    for one, new in zip(model.get_weights(), now, strict=True):
        np.testing.assert_array_equal(one, new)
    assert any("moving_mean" in name for name in average.variables)
    average.copy()
    with average.swapped_in():
        for one, new in zip(model.get_weights(), now, strict=True):
            np.testing.assert_array_equal(one, new)


def test_the_average_copies_in_the_warmup():
    """torchvision: an average of nothing but the last weights until the warm-up is over."""
    done = []
    average = types.SimpleNamespace(
        copy=lambda: done.append("copy"), update=lambda: done.append("update")
    )
    progress = Progress()
    averaging = Averaging(average, steps=2, first_step=4, progress=progress)
    for step in range(8):
        progress.step = step
        averaging.on_train_batch_end(step)
    assert done == ["copy", "copy", "update", "update"]


@pytest.mark.parametrize(
    "name",
    [
        "paper",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("torchvision_v2", "timm_ra")),
    ],
)
def test_recipes_of_imagenet_run(name, tmp_path):
    """On the digits, a few steps."""
    from training.loop.train import train_and_evaluate

    smoke = get_recipe("smoke")
    changes = {
        "data": smoke.data,
        "network": smoke.network,
        "images.size": 32,
        "images.test_size": 40,
        "schedule.epochs": 2,
        "schedule.batch_size": 8,
        "schedule.warmup_epochs": 0,
        "schedule.max_steps": 2,
        "precise_images": min(get_recipe(name).precise_images, 16),
    }
    recipe = get_recipe(name, changes)
    run = train_and_evaluate(recipe, tmp_path, verbose=0)
    assert run["results"]["test_images"] == 16
    assert load("digits").test.size > 16
