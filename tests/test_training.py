"""Recipes, data, optimizer, schedule, whole runs and the command line of `training`."""

import csv
import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from regnet_tf import Preprocessing, facts_of, get_config
from regnet_tf._errors import UserError
from regnet_tf._files import replacing
from training import figures
from training.__main__ import main
from training.data import load
from training.data.batches import test_batches as batches_to_test
from training.loop import run as train
from training.loop.directory import FILES
from training.loop.optimization import learning_rate, learning_rate_callback, make_optimizer
from training.loop.run import train_and_evaluate
from training.recipes import RECIPES, Recipe, get_recipe, parse_change
from training.recipes.recipe import OPTIMIZERS
from training.tasks import classification

# Recipes.


def test_recipes_are_listed_by_their_names():
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert all("regnet train" in recipe.description for recipe in RECIPES.values())


def test_get_recipe_changes_fields():
    recipe = get_recipe("digits", epochs=3, network="RegNetY-400MF", image_size=64)
    assert (recipe.epochs, recipe.config) == (3, get_config("regnety_004"))
    assert get_recipe("digits").epochs != 3
    assert recipe.momentum == get_recipe("digits").momentum


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_as_json(name):
    recipe = get_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_preprocessing_of_a_recipe():
    recipe = get_recipe("smoke", image_size=32, test_image_size=48, crop_fraction=0.5)
    assert recipe.preprocessing == Preprocessing(image_size=48, crop_fraction=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1. Received: epochs=0"),
        ({"batch_size": 2.5}, "`batch_size` must be"),
        ({"learning_rate": 0}, "`learning_rate` must be"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be"),
        ({"momentum": 1}, "`momentum` must be"),
        ({"momentum": 0}, "`nesterov` must be False where"),
        ({"nesterov": 1}, "`nesterov` must be True or False"),
        ({"weight_decay": -1}, "`weight_decay` must be"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be"),
        ({"warmup_factor": 0}, "`warmup_factor` must be"),
        ({"label_smoothing": 1}, "`label_smoothing` must be"),
        ({"zoom": 1}, "`zoom` must be"),
        ({"precision": "float8"}, "`precision` must be one of 'float32', 'mixed_bfloat16'"),
        ({"max_steps": 0}, "`max_steps` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"image_size": 4}, "`image_size` must be at least 8 pixels"),
        ({"test_image_size": 4}, "`test_image_size` must be at least 8 pixels"),
        ({"crop_fraction": 0}, "`crop_fraction` must be"),
        ({"interpolation": "nearest"}, "`interpolation` must be one of"),
        ({"mean": (1.0,)}, "`mean` must be three numbers"),
        ({"network": "RegNetZ-400MF"}, "`name` must be a known RegNet.*Nearest: RegNet"),
        ({"network": 7}, "`network` must be"),
        ({"rate": 1}, "A recipe has the fields name, .*seed. Received: rate"),
    ],
)
def test_recipe_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        get_recipe("digits", **changes)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"No recipe is called 'digit'. Nearest: digits, digit_crops."
    ):
        get_recipe("digit")


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("epochs=10", ("epochs", 10)),
        ("learning_rate=1e-3", ("learning_rate", 0.001)),
        ("nesterov=False", ("nesterov", False)),
        ("max_steps=7", ("max_steps", 7)),
        ("max_steps=none", ("max_steps", None)),
        ("network=regnetx_004", ("network", "regnetx_004")),
        ("mean=0.5,0.5,0.25", ("mean", (0.5, 0.5, 0.25))),
        ("description=a=b", ("description", "a=b")),
    ],
)
def test_parse_change(text, change):
    assert parse_change(text) == change


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "of the form field=value"),
        ("epochs=1.5", "`epochs` must be an integer. Received: epochs='1.5'"),
        ("learning_rate=fast", "`learning_rate` must be a number"),
        ("nesterov=2", "`nesterov` must be true or false"),
        ("max_steps=all", "`max_steps` must be an integer or none"),
        ("epoch=1", "A recipe has the fields name.*epochs.*Received: epoch"),
    ],
)
def test_parse_change_errors(text, message):
    with pytest.raises(ValueError, match=message):
        parse_change(text)


# Optimization.


def test_learning_rate_of_every_epoch_of_the_paper():
    recipe = get_recipe("smoke", epochs=100, learning_rate=0.8, warmup_epochs=5, warmup_factor=0.1)
    epochs = np.arange(100)
    expected = 0.8 * 0.5 * (1 + np.cos(np.pi * epochs / 100))
    expected[:5] *= [0.1, 0.28, 0.46, 0.64, 0.82]
    np.testing.assert_allclose([learning_rate(recipe, epoch) for epoch in epochs], expected)


def test_learning_rate_without_warmup():
    recipe = get_recipe("smoke", epochs=4, learning_rate=0.8, warmup_epochs=0)
    rates = [learning_rate(recipe, epoch) for epoch in range(4)]
    np.testing.assert_allclose(rates, [0.8, 0.4 + 0.4 * 0.5**0.5, 0.4, 0.4 - 0.4 * 0.5**0.5])


def test_learning_rate_callback_sets_and_logs():
    recipe = get_recipe("smoke", epochs=3, warmup_epochs=2)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=make_optimizer(recipe), loss="mse")
    data = np.ones((4, 2)), np.ones((4, 1))
    history = model.fit(*data, epochs=3, verbose=0, callbacks=[learning_rate_callback(recipe)])
    expected = [learning_rate(recipe, epoch) for epoch in range(3)]
    np.testing.assert_allclose(history.history["learning_rate"], expected, rtol=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_variables_of_optimizers_have_the_same_names_each_time(optimizer):
    """Or a process that begins a run and goes on with it could not read its own checkpoint."""
    paths = []
    for _ in range(2):
        made = make_optimizer(get_recipe("digits", optimizer=optimizer, nesterov=False))
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


def test_confusion_counts_and_names():
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    axes = figures.confusion(labels, predicted, ("ant", "bee", "cat"), "insects").axes[0]
    texts = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert texts == {((0, 0), "1"), ((1, 0), "1"), ((1, 1), "1"), ((2, 2), "2"), ((0, 2), "1")}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cat"]


def test_confusion_of_many_classes_is_not_written_over():
    labels = np.arange(100)
    figure = figures.confusion(labels, labels, [str(label) for label in labels], "many")
    assert not figure.axes[0].texts


def test_select_examples_shows_errors_first():
    probabilities = np.eye(4)[np.arange(40) % 4]
    labels = np.arange(40) % 4
    labels[[7, 20]] = (labels[[7, 20]] + 1) % 4
    shown = figures.select_examples(labels, probabilities, most=10)
    assert shown[:2] == [7, 20] and len(set(shown)) == 10
    assert (min(shown[2:]), max(shown[2:])) == (0, 39)
    labels = (labels + 2) % 4
    assert len(figures.select_examples(labels, probabilities, most=10)) == 5


def test_predictions_marks_errors():
    images = np.random.default_rng(0).random((3, 8, 8, 3))
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    figure = figures.predictions(images, [0, 0, 0], probabilities, ("ant", "bee"), "insects")
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["ant  90%", "bee, is ant  80%", "ant  60%"]
    widths = [axes.spines["top"].get_linewidth() for axes in figure.axes[:3]]
    assert widths[1] > widths[0] == widths[2]


# Whole runs.


def smoke(workdir, **changes):
    return train_and_evaluate(get_recipe("smoke", **changes), workdir, verbose=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished smoke run: its directory, what was returned, labels and probabilities."""
    workdir = tmp_path_factory.mktemp("runs") / "new" / "smoke"
    predicted = []

    def recording(*arguments):
        predicted.append(predict(*arguments))
        return predicted[-1]

    predict = classification.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification, "predict", recording)
        run = smoke(workdir)
    return workdir, run, *predicted[0]


def test_run_writes_everything_and_nothing_else(finished):
    workdir, *_ = finished
    assert {path.name for path in workdir.iterdir()} == set(FILES)
    for picture in ("curves.png", "confusion.png", "predictions.png"):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")


def test_the_model_that_was_written_knows_what_it_is(finished):
    workdir, run, *_ = finished
    model = keras.saving.load_model(workdir / "model.keras")
    recipe = Recipe.from_dict(run["recipe"])
    names = tuple(run["data"]["class_names"])
    assert facts_of(model) == (recipe.config, recipe.preprocessing, names)


def test_run_json(finished):
    workdir, run, labels, probabilities = finished
    assert json.loads((workdir / "run.json").read_text()) == run
    assert run["recipe"]["network"]["name"] == run["model"]["name"] == "RegNetX-smoke"
    counts = {"train_images": 1347, "test_images": 450}
    assert run["data"] == {"name": "digits", "class_names": list("0123456789"), **counts}
    correct = int((probabilities.argmax(-1) == labels).sum())
    assert run["results"] == {"accuracy": correct / 24, "correct": correct, "test_images": 24}


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
    batches = batches_to_test(load("digits").test, recipe.preprocessing, recipe.batch_size)
    batches = batches.take(recipe.max_steps)
    again_labels, again = classification.predict(model, batches)
    np.testing.assert_array_equal(again_labels, labels)
    np.testing.assert_allclose(again, probabilities, rtol=1e-5, atol=1e-7)


def test_finished_run_is_not_replaced_unless_told(finished, tmp_path):
    workdir, *_ = finished
    before = (workdir / "run.json").read_bytes()
    with pytest.raises(UserError, match=r"holds a finished run. Give another --workdir"):
        smoke(workdir)
    assert (workdir / "run.json").read_bytes() == before


def test_run_repeats_with_the_seed_and_is_replaced_if_told(finished, tmp_path):
    workdir, run, *_ = finished
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000001.npz").write_text("of another run")
    again = train_and_evaluate(get_recipe("smoke"), tmp_path, overwrite=True, verbose=0)
    assert again["results"] == run["results"]
    for one, other in zip(history(tmp_path), history(workdir), strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert one[name] == other[name]


@pytest.mark.short_floats
@pytest.mark.slow
def test_run_in_bfloat16(tmp_path):
    run = smoke(tmp_path, precision="mixed_bfloat16", epochs=1, rotation=10.0)
    assert run["recipe"]["precision"] == "mixed_bfloat16"
    assert len(history(tmp_path)) == 1


def test_run_that_diverges_is_not_finished(tmp_path):
    with pytest.raises(UserError, match=r"no longer a number after step 2.*`learning_rate`"):
        smoke(tmp_path, learning_rate=1e30)
    assert not (tmp_path / "run.json").exists()


def test_batch_must_not_exceed_the_training_images(tmp_path):
    with pytest.raises(UserError, match=r"`batch_size` must be at most 1347.*batch_size=2000"):
        smoke(tmp_path / "run", batch_size=2000)
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
    changes = ["--set", "epochs=1", "--set", "max_steps=1", "--set", "seed=6"]
    assert main([*arguments, *changes, "--workdir", str(tmp_path)]) == 0
    recipe = get_recipe("smoke", network="RegNetX-200MF", seed=5, epochs=1, max_steps=1)
    assert told[:3] == [recipe, tmp_path, True]
    printed = capsys.readouterr().out
    accuracy, correct = run["results"]["accuracy"], run["results"]["correct"]
    assert f"Test accuracy {accuracy:.2%} ({correct} of 24 images)" in printed
    assert all(str(tmp_path / name) in printed for name in FILES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "digitz"], "No recipe is called 'digitz'. Nearest: digits, digit_crops."),
        (["--set", "epochs=many"], "`epochs` must be an integer."),
        (["--variant", "RegNetX-401MF"], "Nearest: RegNetX-400MF"),
        (["--data", "letters"], "No data set is called 'letters'"),
    ],
)
def test_command_errors_are_one_line(arguments, message, capsys, tmp_path):
    assert main([*arguments, "--workdir", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_command_lists_the_recipes(capsys):
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert "digits\n  Learns handwritten digits" in printed
    assert "image_size=32" in printed and max(map(len, printed.split("\n"))) <= 100


def test_interrupted_command(monkeypatch, capsys, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_and_evaluate", interrupted)
    assert main(["--workdir", str(tmp_path)]) == 130
    assert "Stopped. Run the same command again to resume" in capsys.readouterr().err


def test_help(run_python):
    printed = run_python("-m", "training", "--help")
    assert all(f"--{option}" in printed for option in ("recipe", "set", "workdir", "overwrite"))


def test_exit_status_of_an_error_without_tensorflows_messages(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    command = [sys.executable, "-m", "training", "--recipe", "digitz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    expected = "regnet train: error: No recipe is called 'digitz'. Nearest: digits, digit_crops.\n"
    assert (done.stdout, done.stderr) == ("", expected)
