"""Networks that learn from a teacher."""

import json
import pathlib
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import outputs_of
from regnet_command import Stopped

import regnet_tf
from regnet_tf._errors import UserError
from regnet_tf.layers import Head
from training.command import main
from training.data import CompleteDataSet, load
from training.data.table import TableSplit
from training.loop.checkpoints import Checkpoints
from training.loop.distillation import Teacher
from training.loop.fitting import FittedModel, Training, build, fit
from training.loop.losses import make_loss, right_share
from training.loop.run import Run
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe, parse_change
from training.recipes.parts import Loss

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "torch_distillation.npz")
SMOKE = get_recipe("smoke")


def save_teacher(folder, classes=None, activation="softmax", seed=7, **images):
    """Writes a network of the recipe's kind with random weights; returns its path."""
    keras.utils.set_random_seed(seed)
    recipe = SMOKE.replace({f"images.{field}": value for field, value in images.items()})
    names = [str(number) for number in range(10)] if classes is None else classes
    model = regnet_tf.build_regnet(
        SMOKE.network.config,
        input_shape=recipe.images.input_shape,
        class_names=names,
        classifier_activation=activation,
        preprocessing=recipe.images.preprocessing,
    )
    head = model.layers[-1]  # a new one says nothing, all classes alike
    head.kernel.assign(np.random.default_rng(seed).normal(size=head.kernel.shape))
    path = folder / f"teacher_{seed}.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def data():
    return CompleteDataSet.of(load("digits"))


@pytest.fixture(scope="module")
def teacher_file(data, tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teachers"), data.class_names)


def recipe_with(teacher, **changes):
    return SMOKE.replace(
        {"distillation.teacher": str(teacher)}
        | {name.replace("__", "."): value for name, value in changes.items()}
    )


def linear(who, activation):
    """The golden file's layer on the means of images, in float64."""
    images = keras.Input((4, 4, 3), dtype="float64")
    means = keras.layers.GlobalAveragePooling2D(dtype="float64")(images)
    outputs = Head(5, activation, dtype="float64")(means)
    model = FittedModel(images, outputs)
    model.layers[-1].kernel.assign(GOLDEN[f"{who}/kernel"])
    model.layers[-1].bias.assign(GOLDEN[f"{who}/bias"])
    return model


# What is learned.


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("case", ["softmax", "alone", "sigmoid"])
def test_a_step_is_that_of_pytorch(case, parts):
    independent = case == "sigmoid"
    labels = GOLDEN["labels"] if independent else np.eye(5)[GOLDEN["label"]]
    loss = make_loss(
        Loss(name="binary_cross_entropy" if independent else "cross_entropy"),
        "classes" if independent else "class",
    )
    model = linear("student", "sigmoid" if independent else "softmax")
    teacher = Teacher(
        linear("teacher", None),
        np.ones(3),
        np.zeros(3),
        tuple(range(5)),
        float(GOLDEN[f"{case}/temperature"]),
        float(GOLDEN[f"{case}/weight"]),
        independent,
    )
    model.training = Training(loss, loss, right_share("class"), parts, teacher)
    model.means = [keras.metrics.Mean(name) for name in ("loss", "accuracy", "cross_entropy")]
    model.compile(keras.optimizers.SGD(1.0))
    step = tf.function(model.train_step, autograph=False)
    found = step((tf.constant(GOLDEN["images"]), tf.constant(labels, tf.float64)))
    for name in ("loss", "cross_entropy"):
        assert float(found[name]) == pytest.approx(float(GOLDEN[f"{case}/{name}"]), rel=1e-6)
    for name in ("kernel", "bias"):
        gradient = GOLDEN[f"student/{name}"] - getattr(model.layers[-1], name).numpy()
        np.testing.assert_allclose(gradient, GOLDEN[f"{case}/{name}"], rtol=1e-6, atol=1e-7)


def test_confident_networks_have_gradients():
    """The probabilities of some classes are 0 in float32."""
    model = linear("teacher", None)
    teacher = Teacher(model, np.ones(3), np.zeros(3), tuple(range(3)))
    logits = tf.constant([[0.0, 300.0, -300.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = teacher.loss(tf.constant([[300.0, 0.0, 0.0]]), keras.activations.softmax(logits))
    assert float(loss) == pytest.approx(300, rel=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, logits), [[-1, 1, 0]], atol=1e-6)


def test_the_best_student_is_the_teacher(teacher_file, data):
    """Its divergence is 0, and without labels it learns nothing."""
    teacher = Teacher.of(recipe_with(teacher_file, distillation__temperature=4), data)
    images = tf.random.stateless_normal((5, 32, 32, 3), seed=(0, 1))
    logits = teacher.logits(images)
    assert float(tf.math.reduce_std(logits)) > 0.1
    assert abs(float(teacher.loss(logits, keras.activations.softmax(logits)))) < 1e-6
    assert float(teacher.loss(logits, keras.activations.softmax(-logits))) > 0.1


# What the teacher sees.


@pytest.fixture
def seen(monkeypatch):
    """What teachers and networks in training get, step by step."""
    batches = {"teacher": [], "network": []}
    logits, call = Teacher.logits, FittedModel.call

    def keep(who, images):
        tf.py_function(lambda one: batches[who].append(one.numpy()), [images], [])

    def teachers(self, images):
        keep("teacher", images)
        return logits(self, images)

    def networks(self, images, training=None, mask=None):
        if training:
            keep("network", images)
        return call(self, images, training=training, mask=mask)

    monkeypatch.setattr(Teacher, "logits", teachers)
    monkeypatch.setattr(FittedModel, "call", networks)
    return batches


@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_views_are_consistent(teacher_file, data, seen, parts):
    recipe = recipe_with(
        teacher_file,
        augmentation__mixup=0.4,
        augmentation__crop="random_resized",
        augmentation__rotation=10.0,
        augmentation__erasing=0.3,
        schedule__accumulation=parts,
    )
    model = build(recipe, data, teacher=Teacher.of(recipe, data))
    fit(model, recipe, data, verbose=0)
    assert len(seen["teacher"]) == 6 * parts
    for ours, theirs in zip(seen["network"], seen["teacher"], strict=True):
        assert ours.shape == (8 // parts, 32, 32, 3)
        np.testing.assert_array_equal(ours, theirs)


def test_other_normalization_and_order_of_classes(data, tmp_path):
    """The truth is the teacher's own answer to images as it normalizes them."""
    names = list(reversed(data.class_names))
    path = save_teacher(tmp_path, names, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    recipe = recipe_with(path)
    teacher = Teacher.of(recipe, data)
    levels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    model = keras.saving.load_model(path)
    theirs = regnet_tf.facts_of(model).preprocessing.normalize(levels)
    expected = outputs_of(model, theirs)[:, ::-1]
    found = teacher.logits(recipe.images.preprocessing.normalize(levels))
    np.testing.assert_allclose(tf.nn.softmax(found), expected, rtol=1e-3, atol=1e-5)


# Runs.


def test_a_run_goes_on_to_the_last_bit(teacher_file, data, tmp_path, monkeypatch):
    recipe = recipe_with(
        teacher_file,
        distillation__temperature=2.0,
        distillation__weight=0.5,
        augmentation__mixup=0.3,
        average__decay=0.5,
    )

    def trained(folder):
        teacher = Teacher.of(recipe, data)
        keras.utils.set_random_seed(0)
        run = Run(recipe, data, tmp_path / folder, tf.distribute.get_strategy(), 0, teacher)
        run.restore()
        run.train(checkpoint_steps=1)
        return run

    save = Checkpoints.save

    def save_and_terminate(checkpoints, progress):
        path = save(checkpoints, progress)
        if progress.step == 4:
            signal.raise_signal(signal.SIGTERM)
        return path

    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = trained("whole")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_terminate)
        with pytest.raises(Stopped):
            trained("stopped")
    resumed = trained("stopped")
    assert whole.progress.step == resumed.progress.step == 6
    for ours, theirs in zip(whole.model.variables, resumed.model.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for name, values in whole.average.variables.items():
        np.testing.assert_array_equal(values, resumed.average.variables[name])


def test_a_run_with_a_teacher(teacher_file, data, tmp_path):
    """The teacher remains as it is, and the run's files hold the small network alone."""
    content, out = teacher_file.read_bytes(), tmp_path / "run"
    arguments = ["--recipe", "smoke", "--teacher", str(teacher_file), "--out", str(out)]
    assert main([*arguments, "--set", "distillation.weight=0.5"]) == 0
    assert teacher_file.read_bytes() == content
    recipe = recipe_with(teacher_file, distillation__weight=0.5)
    assert json.loads((out / "run.json").read_text())["recipe"] == recipe.to_dict()
    model, plain = keras.saving.load_model(out / "model.keras"), build(SMOKE, data)
    assert [one.shape for one in model.weights] == [one.shape for one in plain.weights]

    def refused(changes, message):
        with pytest.raises(UserError, match=message):
            train_and_evaluate(recipe.replace(changes), out, verbose=0)

    refused({"distillation.weight": 1.0}, r"distillation.weight is 0.5 there and 1.0 now")
    other = save_teacher(tmp_path, data.class_names, seed=8)
    teacher_file.write_bytes(other.read_bytes())
    try:
        refused({"schedule.epochs": 3}, r"holds a run with another teacher: its weights have")
    finally:
        teacher_file.write_bytes(content)


@pytest.mark.slow
def test_two_devices_do_what_two_parts_do(teacher_file, data, two_devices):
    states, changed = [], []
    for parts, strategy in ((2, None), (1, two_devices)):
        recipe = recipe_with(teacher_file, schedule__accumulation=parts, schedule__epochs=1)
        teacher = Teacher.of(recipe, data, strategy)
        before = teacher.fingerprint
        keras.utils.set_random_seed(0)
        model = build(recipe, data, strategy, teacher)
        history = fit(model, recipe, data, strategy, verbose=0)
        changed.append(before != teacher.fingerprint)
        states.append((history["loss"][0], [v.numpy() for v in model.trainable_variables], before))
    assert changed == [False, False] and states[0][2] == states[1][2]
    assert states[0][0] == pytest.approx(states[1][0], rel=1e-5)
    for one, other in zip(states[0][1], states[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.short_floats
def test_mixed_precision(teacher_file, data):
    losses = []
    for precision in ("float32", "mixed_bfloat16"):
        recipe = recipe_with(teacher_file, network__precision=precision)
        teacher = Teacher.of(recipe, data)
        keras.utils.set_random_seed(0)
        history = fit(build(recipe, data, teacher=teacher), recipe, data, verbose=0)
        losses.append(history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]


# Errors.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distillation.weight=0.5", r"`distillation.teacher` must be given"),
        (
            "distillation.temperature=0",
            r"`distillation.temperature` must be a finite number above 0",
        ),
        (
            "distillation.weight=1.5",
            r"`distillation.weight` must be a finite number above 0 and at most 1",
        ),
    ],
)
def test_fields_out_of_range(change, message):
    changes = dict([parse_change(change)])
    if "teacher" not in message:
        changes["distillation.teacher"] = "runs/large"
    with pytest.raises(ValueError, match=message):
        SMOKE.replace(changes)


def test_maps_have_no_teacher():
    with pytest.raises(ValueError, match=r"`distillation` must be None where `decoder` is given"):
        get_recipe("segmentation_digits", {"distillation.teacher": "runs/large"})


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (
            {"classes": [*"0123456789", "10"]},
            {},
            r"of the 10 classes of digits.*not in both are 10",
        ),
        ({"activation": "sigmoid"}, {}, r"with softmax where loss.name=cross_entropy.* sigmoid"),
        ({}, {"loss__name": "binary_cross_entropy"}, r"with sigmoid where loss.name=binary_cross"),
        ({"channels": 1}, {}, r"a network for images.channels=3\. Received: .*one for 1 channels"),
        ({}, {"images__size": 40}, r"images.size=40\. Received: .*32 x 32 pixels only"),
    ],
)
def test_a_teacher_must_fit(options, changes, message, tmp_path):
    recipe = recipe_with(save_teacher(tmp_path, **options), **changes)
    with pytest.raises(UserError, match=message):
        train_and_evaluate(recipe, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_a_teacher_must_be_known(data, tmp_path):
    for model, message in (
        (regnet_tf.backbone(SMOKE.network.config, outputs=[2]), r"a RegNet that ends in its head"),
        (regnet_tf.build_regnet(SMOKE.network.config, classes=10), r"that names its classes"),
        (
            regnet_tf.build_regnet(SMOKE.network.config, class_names=list(data.class_names)),
            r"that knows its preprocessing",
        ),
    ):
        path = tmp_path / "teacher.keras"
        model.save(path)
        with pytest.raises(UserError, match=message):
            Teacher.of(recipe_with(path), data)
    with pytest.raises(FileNotFoundError, match=r"There is no file runs/none"):
        Teacher.of(recipe_with("runs/none"), data)


def test_several_classes_of_an_image(data, tmp_path):
    train = TableSplit(data.train.items, np.eye(10, dtype="uint8")[data.train.labels])
    several = CompleteDataSet(
        name="several", class_names=data.class_names, train=train, test=train.kept(np.arange(20))
    )
    path = save_teacher(tmp_path, data.class_names, "sigmoid")
    recipe = recipe_with(path, loss__name="binary_cross_entropy", distillation__weight=0.5)
    teacher = Teacher.of(recipe, several)
    history = fit(build(recipe, several, teacher=teacher), recipe, several, verbose=0)
    assert teacher.independent and np.isfinite(history["loss"]).all()
