"""Recipes, data, optimizer, schedule, whole runs and the command line of `training`."""

import csv
import json
import pathlib
import re
import types
import zipfile

import keras
import numpy as np
import pytest

from regnet_tf import Preprocessing, _locking, facts_of, get_config
from regnet_tf._errors import UserError
from regnet_tf._files import replacing
from training.command import main
from training.data import load
from training.data.batches import limited_test_batches
from training.loop import callbacks, train
from training.loop.directory import FILES
from training.loop.optimization import learning_rate, learning_rate_callback, make_optimizer
from training.loop.train import train_and_evaluate
from training.recipes import RECIPES, Recipe, get_recipe, parse_change
from training.recipes.changes import PARSERS
from training.recipes.parts import OPTIMIZERS, Average, Loss, Optimizer, Schedule
from training.recipes.recipe import FIELD_TYPES, PARTS
from training.tasks import Classification, Segmentation, Task, classification, task_of

# Recipes.


def test_recipes_are_listed_by_their_names():
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert all("regnet train" in recipe.description for recipe in RECIPES.values())


def test_the_guide_lists_all_fields_of_parts():
    guide = (pathlib.Path(__file__).parents[1] / "docs" / "guides" / "training.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (`.*`) \|$", guide, flags=re.MULTILINE)
    listed = [
        f"{part}.{field}" for part, fields in rows for field in re.findall(r"`(\w+)`", fields)
    ]
    assert listed == [name for name in FIELD_TYPES if "." in name]


def test_get_recipe_changes_fields():
    recipe = get_recipe(
        "digits", {"schedule.epochs": 3, "network.config": "RegNetY-400MF", "images.size": 64}
    )
    assert (recipe.schedule.epochs, recipe.network.config) == (3, get_config("regnety_004"))
    assert get_recipe("digits").schedule.epochs != 3
    assert recipe.optimizer == get_recipe("digits").optimizer


def test_replace_takes_whole_parts_before_fields_of_parts():
    digits = get_recipe("digits")
    changes = {"loss.label_smoothing": 0.2, "loss": Loss(), "optimizer": Optimizer(name="rmsprop")}
    recipe = digits.replace(changes)
    assert recipe.loss == Loss(label_smoothing=0.2)
    assert recipe.optimizer == Optimizer(name="rmsprop")
    assert recipe.schedule == digits.schedule and digits.loss != recipe.loss


def test_fields_of_a_part_that_is_none_make_the_part():
    recipe = get_recipe("digits", {"average.decay": 0.9, "average.steps": 2})
    assert recipe.average == Average(decay=0.9, steps=2)
    assert recipe.replace({"average": None}) == get_recipe("digits")
    with pytest.raises(ValueError, match=r"`average\.decay` must be given. Received: steps"):
        get_recipe("digits", {"average.steps": 2})


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_as_json(name):
    recipe = get_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_preprocessing_of_a_recipe():
    recipe = get_recipe(
        "smoke", {"images.size": 32, "images.test_size": 48, "images.crop_fraction": 0.5}
    )
    assert recipe.images.preprocessing == Preprocessing(image_size=48, crop_fraction=0.5)
    assert recipe.images.input_shape == (None, None, 3)
    assert get_recipe("smoke").images.input_shape == (32, 32, 3)


def test_every_field_can_be_set_from_text():
    assert {"seed", "data.name", "schedule.epochs", "average.decay"} <= set(FIELD_TYPES)
    assert not set(FIELD_TYPES) & set(PARTS)
    for name, kind in FIELD_TYPES.items():
        assert kind in PARSERS, name


@pytest.mark.parametrize("fields", ["of a recipe", "of a part"])
def test_recipes_with_flat_fields_are_refused(fields):
    """As they were written before recipes had parts."""
    recipe = get_recipe("smoke").to_dict()
    if fields == "of a part":
        recipe["images"]["image_size"] = 32
        message = r"`images\.image_size` is no field of a recipe. Known: images\.size, "
    else:
        recipe = {"name": "smoke", "description": "", "image_size": 32, "epochs": 2, **recipe}
        message = r"`image_size` is no field of a recipe. Nearest: images\.size\."
    with pytest.raises(ValueError, match=message):
        Recipe.from_dict(recipe)


@pytest.mark.parametrize("missing", ["schedule", "optimizer"])
def test_recipes_without_a_part_are_refused(missing):
    recipe = get_recipe("smoke").to_dict()
    del recipe[missing]
    with pytest.raises(ValueError, match=f"`{missing}` must be given"):
        Recipe.from_dict(recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schedule.epochs": 0},
            "`schedule.epochs` must be an integer of at least 1 and at most 1,000,000. Received: "
            "schedule.epochs=0",
        ),
        ({"schedule.batch_size": 2.5}, "`schedule.batch_size` must be"),
        ({"schedule.learning_rate": 0}, "`schedule.learning_rate` must be"),
        ({"schedule.learning_rate": float("nan")}, "`schedule.learning_rate` must be"),
        ({"optimizer.momentum": 1}, "`optimizer.momentum` must be"),
        ({"optimizer.momentum": 0}, "`optimizer.nesterov` must be False where"),
        ({"optimizer.nesterov": 1}, "`optimizer.nesterov` must be True or False"),
        ({"optimizer.weight_decay": -1}, "`optimizer.weight_decay` must be"),
        ({"schedule.warmup_epochs": -1}, "`schedule.warmup_epochs` must be"),
        ({"schedule.warmup_factor": 0}, "`schedule.warmup_factor` must be"),
        ({"loss.label_smoothing": 1}, "`loss.label_smoothing` must be"),
        ({"augmentation.zoom": 1}, "`augmentation.zoom` must be"),
        (
            {"network.precision": "float8"},
            "`network.precision` must be one of 'float32', 'mixed_bfloat16'",
        ),
        ({"schedule.max_steps": 0}, "`schedule.max_steps` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"images.size": 4}, "`images.size` must be at least 8 pixels"),
        ({"images.test_size": 4}, "`images.test_size` must be at least 8 pixels"),
        ({"images.crop_fraction": 33}, "`images.crop_fraction` must be at most 32"),
        ({"images.std": (1.0, 1.0, 0.0)}, "`images.std` must be"),
        ({"augmentation.crop_area": (0.5,)}, "`augmentation.crop_area` must be"),
        ({"schedule.kind": "steps"}, "`schedule.decay_epochs` must be given where"),
        ({"schedule.decay_rate": 0.9}, "`schedule.decay_rate` must be None unless"),
        ({"average.decay": 1}, "`average.decay` must be"),
        ({"precise_images": -1}, "`precise_images` must be"),
        ({"images.crop_fraction": 0}, "`images.crop_fraction` must be"),
        ({"images.interpolation": "nearest"}, "`images.interpolation` must be one of"),
        ({"images.mean": (1.0,)}, "`images.mean` and `images.std` must have three numbers"),
        (
            {"images.channels": 2, "images.mean": (0.5,), "images.std": (0.25,)},
            "R, G and B, or 2, one for each channel. Received: images.channels=2, images.mean=.0.5",
        ),
        (
            {"network.config": "RegNetZ-400MF"},
            "`network.config` must be a known RegNet.*Nearest: RegNet",
        ),
        ({"network.config": 7}, "`network.config` must be"),
        (
            {"network": "regnety_004"},
            "`network` must be of type Network. Received: network='regnety",
        ),
        ({"average": 0.9}, "`average` must be of type Average, or None"),
        ({"loss": 3, "loss.label_smoothing": 0.1}, "`loss` must be of type Loss"),
        ({"colour": 1}, "`colour` is no field of a recipe. Known: name, .*pretraining.recipe."),
        ({"loss.colour": 1}, "`loss.colour` is no field of a recipe. Known: loss.name, loss.label"),
        ({"epochs": 1}, "`epochs` is no field of a recipe. Nearest: schedule.epochs."),
        (
            {"optimizer.momentun": 1},
            "`optimizer.momentun` is no field of a recipe. Nearest: optimizer.momentum.",
        ),
        ({"optimizer.lr": 1}, "`optimizer.lr` is no field .* Nearest: schedule.learning_rate.$"),
        ({"wd": 1}, "`wd` is no field of a recipe. Nearest: optimizer.weight_decay.$"),
        ({"optimizer.epoch": 1}, "Nearest: schedule.epochs.$"),
    ],
)
def test_recipe_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        get_recipe("digits", changes)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"No recipe is called 'digit'. Nearest: digits, digit_crops."
    ):
        get_recipe("digit")


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("schedule.epochs=10", ("schedule.epochs", 10)),
        ("schedule.learning_rate=1e-3", ("schedule.learning_rate", 0.001)),
        ("optimizer.nesterov=False", ("optimizer.nesterov", False)),
        ("schedule.max_steps=7", ("schedule.max_steps", 7)),
        ("schedule.max_steps=none", ("schedule.max_steps", None)),
        ("network.config=regnetx_004", ("network.config", "regnetx_004")),
        ("average=none", ("average", None)),
        ("average.decay=0.9", ("average.decay", 0.9)),
        ("images.mean=0.5,0.5,0.25", ("images.mean", (0.5, 0.5, 0.25))),
        ("description=a=b", ("description", "a=b")),
    ],
)
def test_parse_change(text, change):
    assert parse_change(text) == change


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedule.epochs", "of the form field=value"),
        (
            "schedule.epochs=1.5",
            "`schedule.epochs` must be an integer. Received: schedule.epochs='1.5'",
        ),
        (f"schedule.epochs={'9' * 5000}", r"`schedule.epochs` must be an integer. .{1,400}$"),
        ("schedule.learning_rate=fast", "`schedule.learning_rate` must be a number"),
        ("optimizer.nesterov=2", "`optimizer.nesterov` must be true or false"),
        ("schedule.max_steps=all", "`schedule.max_steps` must be an integer or none"),
        ("schedule.epoch=1", "`schedule.epoch` is no field of a recipe. Nearest: schedule.epochs"),
        ("loss=none", "`loss` must be set by its fields: loss.name, .*. Received: loss="),
        ("average=0.9", "`average` must be set by its fields or be none: average.decay, .*steps"),
    ],
)
def test_parse_change_errors(text, message):
    with pytest.raises(ValueError, match=message):
        parse_change(text)


# Tasks.


@pytest.mark.parametrize(
    ("name", "task"), [("digits", Classification), ("segmentation_digits", Segmentation)]
)
def test_tasks_have_the_interface(name, task):
    made = task_of(get_recipe(name))
    assert type(made) is task and isinstance(made, Task)
    assert made == task_of(get_recipe(name)) and not task.__abstractmethods__
    with pytest.raises(AttributeError):
        made.score = "loss"


@pytest.mark.parametrize("name", ["smoke", "segmentation_digits"])
def test_tasks_name_their_metrics(name):
    """From a new network to the metrics of a batch and their names."""
    recipe = get_recipe(name, {"images.size": 32})
    task = task_of(recipe)
    model = task.build_network(recipe.network, recipe.images, tuple("0123456789"))
    images = np.random.default_rng(0).random((4, 32, 32, 3), "float32")
    probabilities = model(images)
    labels = np.zeros(probabilities.shape[:-1], "int64")
    metrics = task.measure(labels, probabilities)
    assert metrics.shape[1] == 4
    named = task.named_metrics(metrics.numpy().mean(1))
    assert {"loss", "accuracy", task.score} <= set(named)
    assert task.cost(model, recipe.network.config, 32)["parameters"] == sum(
        variable.shape.num_elements() for variable in model.trainable_variables
    )


# Optimization.


def test_learning_rate_of_every_epoch_of_the_paper():
    schedule = Schedule(
        epochs=100, batch_size=8, learning_rate=0.8, warmup_epochs=5, warmup_factor=0.1
    )
    epochs = np.arange(100)
    expected = 0.8 * 0.5 * (1 + np.cos(np.pi * epochs / 100))
    expected[:5] *= [0.1, 0.28, 0.46, 0.64, 0.82]
    np.testing.assert_allclose([learning_rate(schedule, epoch) for epoch in epochs], expected)


def test_learning_rate_without_warmup():
    schedule = Schedule(epochs=4, batch_size=8, learning_rate=0.8, warmup_epochs=0)
    rates = [learning_rate(schedule, epoch) for epoch in range(4)]
    np.testing.assert_allclose(rates, [0.8, 0.4 + 0.4 * 0.5**0.5, 0.4, 0.4 - 0.4 * 0.5**0.5])


def test_learning_rate_callback_sets_and_logs():
    schedule = Schedule(epochs=3, batch_size=8, learning_rate=0.05, warmup_epochs=2)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=make_optimizer(Optimizer(name="sgd"), 0.01), loss="mse")
    data = np.ones((4, 2)), np.ones((4, 1))
    history = model.fit(*data, epochs=3, verbose=0, callbacks=[learning_rate_callback(schedule)])
    expected = [learning_rate(schedule, epoch) for epoch in range(3)]
    np.testing.assert_allclose(history.history["learning_rate"], expected, rtol=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_variables_of_optimizers_have_the_same_names_each_time(optimizer):
    """Or a process that begins a run and goes on with it could not read its own checkpoint."""
    paths = []
    for _ in range(2):
        made = make_optimizer(Optimizer(name=optimizer, nesterov=False), 0.1)
        made.build([keras.Variable([1.0], name="x")])
        paths.append([variable.path for variable in made.variables])
    assert paths[0] == paths[1] and len(set(paths[0])) == len(paths[0]) > 2


# Files and pictures.


def test_replacing_leaves_the_old_file_if_writing_fails(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


# Whole runs.


def smoke(workdir, changes=None, **options):
    return train_and_evaluate(get_recipe("smoke", changes), workdir, verbose=0, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished smoke run: its directory, what was returned, labels and probabilities.

    It has replaced another one, as it was told.
    """
    workdir = tmp_path_factory.mktemp("runs") / "new" / "smoke"
    (workdir / "checkpoints").mkdir(parents=True)
    (workdir / "run.json").write_text("{}")
    (workdir / "checkpoints" / "step-00000001.npz").write_text("of another run")
    predicted = []

    def recording(*arguments):
        predicted.append(arguments[:2])
        return results(*arguments)

    results = classification.results
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification, "results", recording)
        run = smoke(workdir, overwrite=True)
    return workdir, run, *predicted[0]


def test_run_writes_everything_and_nothing_else(finished):
    workdir, *_ = finished
    assert {path.name for path in workdir.iterdir()} == {*FILES, _locking.FILE}
    assert not (workdir / "checkpoints" / "step-00000001.npz").exists()
    for picture in (name for name in FILES if name.endswith(".png")):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")


def test_the_model_that_was_written_knows_what_it_is(finished):
    workdir, run, *_ = finished
    model = keras.saving.load_model(workdir / "model.keras")
    recipe = Recipe.from_dict(run["recipe"])
    names = tuple(run["data"]["class_names"])
    assert facts_of(model)[:3] == (recipe.network.config, recipe.images.preprocessing, names)


def test_run_json(finished):
    workdir, run, labels, probabilities = finished
    assert json.loads((workdir / "run.json").read_text()) == run
    assert run["recipe"]["network"]["config"]["name"] == run["model"]["name"] == "RegNetX-smoke"
    counts = {"train_images": 1347, "test_images": 450}
    named = {"name": "digits", "target": "class", "class_names": list("0123456789")}
    assert run["data"] == named | counts
    correct = int((probabilities.argmax(-1) == labels).sum())
    expected = {"accuracy": correct / 24, "correct": correct, "test_images": 24}
    assert run["results"] | expected == run["results"]


def history(workdir):
    """The rows of `history.csv` as numbers."""
    with (workdir / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_history_has_a_line_for_each_epoch(finished):
    workdir, run, *_ = finished
    rows = history(workdir)
    assert [row["epoch"] for row in rows] == [1, 2]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], [0.05, 0.025], rtol=1e-6)
    assert rows[-1]["val_accuracy"] == pytest.approx(run["results"]["accuracy"])
    assert all(row["images_per_second"] > 0 and 0 <= row["input_wait"] <= 1 for row in rows)


def test_the_remaining_time_counts_whole_epochs_after_a_resumed_part(monkeypatch):
    clock = iter((10.0, 10.0, 11.0, 12.0, 12.0))
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(clock))
    said = []
    speed = callbacks.Speed(
        batch_size=8,
        epochs=5,
        steps_per_epoch=100,
        test=types.SimpleNamespace(tracing_seconds=0.0),
        say=lambda _, logs, left: said.append((logs["images_per_second"], left)),
    )
    speed.set_model(types.SimpleNamespace(wait_seconds=0.0))
    speed.on_epoch_begin(2)
    for step in range(3):
        speed.on_train_batch_end(step)
    speed.on_epoch_end(2, {})
    assert said == [(8, 200)]  # two epochs of 100 steps are left


def test_saved_model_predicts_the_same_and_needs_no_training_code(finished):
    workdir, run, labels, probabilities = finished
    with zipfile.ZipFile(workdir / "model.keras") as archive:
        assert b"training" not in archive.read("config.json").replace(b'"training":', b"")
    model = keras.saving.load_model(workdir / "model.keras")
    assert (
        sum(variable.shape.num_elements() for variable in model.trainable_variables)
        == (run["model"]["parameters"])
    )
    recipe = get_recipe("smoke")
    split = load("digits").test
    batches = limited_test_batches(split, recipe.images, recipe.schedule)
    pairs = [(batch_labels, model.predict_on_batch(images)) for images, batch_labels in batches]
    again_labels, again = (np.concatenate(one) for one in zip(*pairs, strict=True))
    np.testing.assert_array_equal(again_labels, labels)
    np.testing.assert_allclose(again, probabilities, rtol=1e-5, atol=1e-7)


def test_finished_run_is_not_replaced_unless_told(finished, tmp_path):
    workdir, *_ = finished
    before = (workdir / "run.json").read_bytes()
    with pytest.raises(UserError, match=r"holds a finished run. .* give more than 2 epochs"):
        smoke(workdir)
    assert (workdir / "run.json").read_bytes() == before


@pytest.mark.slow
def test_run_repeats_with_the_seed(finished, tmp_path):
    """As those of `test_runs.py` do, with stops in between."""
    workdir, run, *_ = finished
    again = smoke(tmp_path)
    assert again["results"] == run["results"]
    for one, other in zip(history(tmp_path), history(workdir), strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert one[name] == other[name]


def test_tests_after_some_epochs_only(tmp_path):
    """Of three epochs, the second and the last one; the best of these two is kept."""
    changes = {"schedule.epochs": 3, "schedule.test_epochs": 2, "selection.metric": "loss"}
    run = smoke(tmp_path, {**changes, "data.held_out": 0.5})
    with (tmp_path / "history.csv").open(newline="") as file:
        losses = [row["val_loss"] for row in csv.DictReader(file)]
    assert losses[0] == "" and run["selection"]["epoch"] in (2, 3)
    assert run["selection"]["value"] == min(map(float, losses[1:]))
    assert run["data"]["test_images"] == load("digits", held_out=0.5).test.size


@pytest.mark.short_floats
@pytest.mark.slow
def test_run_in_bfloat16(tmp_path):
    changes = {"network.precision": "mixed_bfloat16", "augmentation.rotation": 10.0}
    run = smoke(tmp_path, {**changes, "schedule.epochs": 1})
    assert run["recipe"]["network"]["precision"] == "mixed_bfloat16"
    assert len(history(tmp_path)) == 1


def test_run_that_diverges_is_not_finished(tmp_path):
    with pytest.raises(
        UserError, match=r"no longer a number after step 2.*`schedule\.learning_rate`"
    ):
        smoke(tmp_path, {"schedule.learning_rate": 1e30})
    assert not (tmp_path / "run.json").exists()


def test_batch_must_not_exceed_the_training_images_where_the_rest_is_dropped(tmp_path):
    changes = {"schedule.batch_size": 2000, "schedule.last_batch": "drop"}
    with pytest.raises(
        UserError, match=r"`schedule\.batch_size` must be at most 1347.*batch_size=2000"
    ):
        smoke(tmp_path / "run", changes)
    assert not (tmp_path / "run").exists()


def test_workdir_must_be_a_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write to the directory .*file: "):
        smoke(tmp_path / "file")


# Command line.


def test_command_trains_as_told_and_prints_accuracy_and_paths(
    finished, monkeypatch, capsys, tmp_path
):
    _, run, *_ = finished
    told = []

    def recording(*arguments):
        told.extend(arguments)
        return run

    monkeypatch.setattr(train, "train_and_evaluate", recording)
    arguments = ["--recipe", "smoke", "--variant", "RegNetX-200MF", "--seed", "5", "--overwrite"]
    changes = ["--set", "schedule.epochs=1", "--set", "schedule.max_steps=1", "--set", "seed=6"]
    assert main([*arguments, *changes, "--out", str(tmp_path)]) == 0
    recipe = get_recipe(
        "smoke",
        {
            "network.config": "RegNetX-200MF",
            "seed": 5,
            "schedule.epochs": 1,
            "schedule.max_steps": 1,
        },
    )
    assert told[:3] == [recipe, tmp_path, True]
    printed = capsys.readouterr().out
    accuracy, correct = run["results"]["accuracy"], run["results"]["correct"]
    assert f"Test accuracy {accuracy:.2%} ({correct} of 24 images)" in printed
    assert all(str(tmp_path / name) in printed for name in FILES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "digitz"], "No recipe is called 'digitz'. Nearest: digits, digit_crops."),
        (["--set", "schedule.epochs=many"], "`schedule.epochs` must be an integer."),
        (["--set", "epochs=3"], "`epochs` is no field of a recipe. Nearest: schedule.epochs."),
        (["--variant", "RegNetX-401MF"], "Received: --variant='RegNetX-401MF'. Nearest: RegNetX-4"),
        (["--data", "letters"], "No data set is called 'letters'"),
    ],
)
def test_command_errors_are_one_line(arguments, message, capsys, tmp_path):
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_command_lists_the_recipes(capsys):
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert "digits\n  Trains a small RegNetY" in printed
    assert "\n  optimizer: name=sgd, weight_decay=0.0005\n" in printed
    assert "\n  network: config=RegNetY-400MF\n" in printed
    assert "\n  pretraining: recipe=digit_crops\n" in printed
    assert max(map(len, printed.split("\n"))) <= 100


def test_interrupted_command(monkeypatch, capsys, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_and_evaluate", interrupted)
    assert main(["--out", str(tmp_path)]) == 130
    assert "Stopped. Run the same command again to resume" in capsys.readouterr().err


def test_help(run_python):
    printed = run_python("-m", "training", "--help")
    assert all(f"--{option}" in printed for option in ("recipe", "set", "out", "overwrite"))


def test_variant_of_a_file(tmp_path):
    path = tmp_path / "net.json"
    config = get_config("regnetx_002", stem_width=16)
    path.write_text(json.dumps(config.to_dict()))
    assert get_recipe("digits").replace({"network.config": str(path)}).network.config == config
