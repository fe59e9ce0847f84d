"""Fine-tuning: choice of a recipe, initial weights, frozen layers, best epoch, more epochs."""

import csv
import errno
import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest
from PIL import Image

import regnet_tf
from regnet_tf._errors import UserError
from regnet_tf.weights import Checkpoint
from training.command import main
from training.data import CompleteDataSet, load
from training.loop import fitting, identity
from training.loop import train as loop
from training.loop.callbacks import Stopped
from training.loop.checkpoints import Checkpoints, Progress
from training.loop.freezing import set_frozen
from training.loop.initial import load_initial
from training.loop.train import train_and_evaluate
from training.recipes import RECIPES, Recipe, choosing, get_recipe
from training.recipes.parts import Network
from training.tasks import task_of

_TINY = {
    "images.size": 32,
    "schedule.batch_size": 8,
    "schedule.warmup_epochs": 0,
    "network.dropout": 0.0,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of two class folders: reddish and bluish noise."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for name, color in (("ant", (190, 60, 60)), ("bee", (60, 60, 190))):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.clip(color + rng.normal(0, 40, (24, 30, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def train(recipe, folder, **options):
    return train_and_evaluate(recipe, folder, verbose=0, **options)


@pytest.fixture(scope="module")
def source(photos, tmp_path_factory):
    """The directory of a run on the photographs."""
    folder = tmp_path_factory.mktemp("runs") / "source"
    changes = {"data.name": str(photos), "schedule.max_steps": None, "schedule.epochs": 4}
    run = train(get_recipe("smoke", {**changes, "images.mean": (0.5, 0.5, 0.4)}), folder)
    assert run["results"]["accuracy"] == 1
    return folder


# The choice of a recipe.


@pytest.mark.parametrize(
    ("data", "target", "weights", "name"),
    [
        (None, "class", None, "digits"),
        ("digits", "class", None, "digits"),
        ("digit_scenes", "pixels", None, "segmentation_digits"),
        ("photos", "class", None, "from_scratch"),
        ("photos", "class", "w", "finetune"),
        ("photos", "classes", "w", "finetune"),
        ("photos", "pixels", "w", "finetune_segmentation"),
        ("photos", "pixels", None, "from_scratch_segmentation"),
        ("photos", "boxes", None, "detection_scenes"),
    ],
)
def test_recipe_that_suits_the_data(data, target, weights, name):
    chosen, reason = choosing.choose(data, target, weights)
    assert chosen == name and chosen in RECIPES and name in reason
    assert ("--weights regnety" in reason) == name.startswith("from_scratch")


def test_several_classes_an_image_need_binary_cross_entropy():
    recipe = get_recipe("finetune")
    assert choosing.fitted_to_data(recipe, "classes", {}).loss.name == "binary_cross_entropy"
    assert choosing.fitted_to_data(recipe, "class", {}) == recipe
    asked = {"loss.name": "cross_entropy"}
    assert choosing.fitted_to_data(recipe, "classes", asked) == recipe


def test_network_and_normalization_are_those_of_the_weights(source):
    recipe = choosing.fitted_to_weights(get_recipe("finetune"), source, {"images.std": ()})
    assert recipe.network.config.name == "RegNetX-smoke"
    assert recipe.network.weights == str(source)
    assert recipe.images.mean == (0.5, 0.5, 0.4) and recipe.images.crop_fraction == 1
    assert recipe.images.std == get_recipe("finetune").images.std


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "finetune"], "The recipe finetune needs `--data`"),
        (
            ["--recipe", "linear_probe", "--data", "digits"],
            "freezes layers, so it needs `--weights`",
        ),
        (["--weights", "runs/none"], "`--weights` needs `--data`"),
        (["--data", "digits", "--weights", "runs/none"], "runs/none"),
    ],
)
def test_command_errors(arguments, message, capsys, tmp_path):
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_command_fine_tunes_and_says_what_it_does(photos, source, capsys, tmp_path):
    changes = [f"--set={name}={value}" for name, value in _TINY.items()]
    arguments = ["--data", str(photos), "--weights", str(source), "--out", str(tmp_path)]
    assert main([*arguments, *changes, "--set=schedule.epochs=2"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "Recipe finetune, as --weights is given.",
        f"weights={source}",
        "optimizer: name=adamw",
        "2 classes in this order: ant (8 + 2), bee (8 + 2)",
        "20 % of each class are held out",
        f"Initial weights: {source}.",
        "The best of 2 epochs is epoch 1: test accuracy 1.0000.",
    ):
        assert text in printed
    assert "New head" not in printed  # the same names
    assert json.loads((tmp_path / "run.json").read_text())["selection"] == {
        "epochs": 2,
        "epoch": 1,
        "metric": "accuracy",
        "value": 1.0,
    }


@pytest.mark.slow
def test_weights_are_read_once_and_not_by_a_run_that_resumes(
    photos, source, tmp_path, monkeypatch, capsys
):
    """A run whose first checkpoint was not written begins with them again."""
    read = []
    find = Checkpoint.find.__func__

    def reading(*arguments):
        read.append(arguments[1])
        return find(*arguments)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Checkpoint, "find", classmethod(reading))
    changes = {**_TINY, "schedule.epochs": 1}
    words = [f"--set={name}={value}" for name, value in changes.items()]
    words += ["--data", str(photos), "--weights", str(source), "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        assert main(words) == 2
    assert "npz could not be written: No space left" in capsys.readouterr().err
    assert len(read) == 1 and not list((tmp_path / "checkpoints").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        assert main(words) == 2
    printed = capsys.readouterr()
    assert f"Initial weights: {source}." in printed.out and len(read) == 2
    assert printed.err.endswith("examples.npz could not be written: No space left on device.\n")
    assert main(words) == 0 and len(read) == 2


def test_weights_of_another_network_are_refused_before_they_are_read():
    with pytest.raises(ValueError, match=r"cannot be regnety_032\.ra_in1k, which are weights of"):
        choosing.fitted_to_weights(
            get_recipe("finetune"), "regnety_032.ra_in1k", {"network.config": "regnetx_002"}
        )


@pytest.mark.slow
def test_head_is_new_for_other_classes(source, capsys, tmp_path):
    changes = {**_TINY, "data.name": "digits", "data.classes": ("0", "1"), "schedule.max_steps": 1}
    recipe = choosing.fitted_to_weights(get_recipe("finetune", changes), source, changes)
    recipe = recipe.replace({"schedule.epochs": 1, "optimizer.weight_decay": 0.0})
    train_and_evaluate(recipe, tmp_path, verbose=2)
    assert "New head: 2 classes of other names than the 2 of" in capsys.readouterr().out
    before, after = (
        regnet_tf.to_state_dict(keras.saving.load_model(folder / "model.keras"))
        for folder in (source, tmp_path)
    )
    for name in before:  # the trunk is frozen in the only epoch
        assert np.array_equal(before[name], after[name]) != name.startswith("head."), name


def test_decoder_of_another_segmentation_network_is_loaded(tmp_path):
    """The last layer by the names of the classes, in our order."""
    recipe = get_recipe("segmentation_digits", {"decoder.width": 8, "images.size": 32})
    task, fields = task_of(recipe), (recipe.network, recipe.images)
    source = task.build_network(*fields, ("ground", "cat", "dog"))
    source.save(tmp_path / "source.keras")
    weights = Checkpoint.find(tmp_path / "source.keras")
    for names, order in ((("dog", "ground", "cat"), [2, 0, 1]), (("ground", "tree", "cat"), None)):
        model = task.build_network(*fields, names)
        before = model.get_layer("classifier").get_weights()
        lines = load_initial(model, weights)
        for name in ("stem", "stage_1", "pyramid", "decoder"):
            layers = model.get_layer(name), source.get_layer(name)
            for ours, theirs in zip(*(layer.get_weights() for layer in layers), strict=True):
                np.testing.assert_array_equal(ours, theirs)
        ours, theirs = (one.get_layer("classifier").get_weights() for one in (model, source))
        expected = before if order is None else [value[..., order] for value in theirs]
        for value, wanted in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(value, wanted)
        assert ("New after the backbone: classifier." in lines) == (order is None)


# Frozen layers.


def test_frozen_layers_keep_weights_and_statistics_while_the_others_learn():
    recipe = get_recipe("smoke", {"network.freeze": "stage_1", "schedule.epochs": 1})
    data = CompleteDataSet.of(load("digits"))
    model = fitting.build(recipe, data)
    frozen = [layer for layer in model.layers if layer.name in ("stem", "stage_1")]
    kept = {id(variable) for layer in frozen for variable in layer.weights}
    values = [(variable, variable.numpy()) for variable in model.weights]
    assert any("moving" in variable.path for variable, _ in values if id(variable) in kept)
    fitting.fit(model, recipe, data, verbose=0)
    for variable, old in values:
        assert (variable.numpy() == old).all() == (id(variable) in kept), variable.path


def test_layers_are_frozen_and_released():
    recipe = get_recipe("smoke", {"network.freeze": "trunk", "network.frozen_epochs": 2})
    model = fitting.build(recipe, CompleteDataSet.of(load("digits")))
    everything = len(model.trainable_variables)
    restarts = []
    model.optimizer.restart = lambda: restarts.append(1)
    for epoch, step, trained, restarted in (
        (0, 0, 2, 0),
        (1, 2, 2, 0),
        (2, 0, everything, 1),
        (2, 1, everything, 1),
        (3, 0, everything, 1),
    ):
        set_frozen(model, recipe.network, epoch, step)
        assert (len(model.trainable_variables), len(restarts)) == (trained, restarted)


def test_frozen_epochs_need_frozen_layers():
    with pytest.raises(ValueError, match=r"`network\.frozen_epochs` must be None where"):
        Network(config=get_recipe("smoke").network.config, frozen_epochs=1)


_RELEASED = {
    "network.freeze": "stage_1",
    "network.frozen_epochs": 1,
    "schedule.epochs": 2,
    "optimizer.name": "adamw",
    "optimizer.layer_decay": 0.8,
    "schedule.learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "released"
    train(get_recipe("smoke", _RELEASED), folder)
    return folder


def network_of(folder):
    return keras.saving.load_model(folder / "model.keras").get_weights()


def rows_of(folder):
    columns = ("epoch", "loss", "accuracy", "cross_entropy", "val_loss")
    with (folder / "history.csv").open() as file:
        return [[float(row[column]) for column in columns] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "step", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)]
)
def test_run_stopped_around_the_release_ends_as_if_nothing_had_been(
    step, released, tmp_path, monkeypatch
):
    """Before, at and after the third step, which ends the first epoch."""
    save = Checkpoints.save

    def save_and_terminate(checkpoints, progress):
        path = save(checkpoints, progress)
        if progress.step == step:
            signal.raise_signal(signal.SIGTERM)
        return path

    recipe = get_recipe("smoke", _RELEASED)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_terminate)
        with pytest.raises(Stopped):
            train(recipe, tmp_path, checkpoint_steps=1)
    (tmp_path / "history.csv").unlink(missing_ok=True)  # as if killed before it was written
    train(recipe, tmp_path, checkpoint_steps=1)
    for ours, theirs in zip(network_of(tmp_path), network_of(released), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert rows_of(tmp_path) == rows_of(released)


# The best epoch.


@pytest.mark.parametrize(
    ("values", "lower", "best"),
    [
        ([0.5, 0.7, 0.7, 0.6], False, 2),
        ([0.5, 0.7, 0.7, 0.6], True, 1),
        ([float("nan"), 0.1, 0.2], False, 3),
    ],
)
def test_the_earliest_of_equal_epochs_is_best(values, lower, best):
    progress = Progress()
    for value in values:
        progress.step += 10
        progress.compare(value, lower)
    assert progress.best_step == best * 10
    waited = len(values) - best
    assert progress.is_stale(waited or 1, 10) == (waited > 0)
    assert not progress.is_stale(waited + 1, 10) and not progress.is_stale(None, 10)


def test_run_stops_early_and_keeps_the_best_epoch(tmp_path, capsys, monkeypatch):
    """The test's losses are drawn; the second epoch is best. A stop in between changes nothing."""
    from training.tasks import Classification

    scores = iter([2.0, 1.0, 1.5, 1.2, 1.9])
    named = Classification.named_metrics

    def drawn(task, means):
        return {**named(task, means), "loss": next(scores)}

    monkeypatch.setattr(Classification, "named_metrics", drawn)
    kept = []
    save = Checkpoints.save

    def saving(checkpoints, progress):
        path = save(checkpoints, progress)
        kept.append(checkpoints._variables()["network/head/kernel"].numpy())
        if progress.step == 9:
            signal.raise_signal(signal.SIGTERM)
        return path

    recipe = get_recipe(
        "smoke",
        {"selection.metric": "loss", "selection.patience": 2, "schedule.epochs": 9},
    )
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", saving)
        with pytest.raises(Stopped):
            train(recipe, tmp_path)
    run = train_and_evaluate(recipe, tmp_path, verbose=2)
    assert run["selection"] == {"epochs": 4, "epoch": 2, "metric": "loss", "value": 1.0}
    assert "The best of 4 epochs is epoch 2: test loss 1.0000." in capsys.readouterr().out
    model = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.get_layer("head").kernel.numpy(), kept[1])
    with pytest.raises(UserError, match=r"patience has ended. Give a larger `selection\.patience`"):
        train(recipe.replace({"schedule.epochs": 12}), tmp_path)


def test_metric_must_be_one_of_the_task(tmp_path):
    recipe = get_recipe("smoke", {"selection.metric": "mean_iou"})
    with pytest.raises(ValueError, match=r"`selection\.metric` must be one of None, 'loss', 'acc"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# More epochs, and other recipes in the same directory.


def test_a_finished_run_is_trained_further(source, tmp_path, capsys, monkeypatch):
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    before = rows_of(source)
    write_model, marked = loop.write_model, []

    def writing(*arguments):
        marked.append((tmp_path / "run.json").exists())
        write_model(*arguments)

    monkeypatch.setattr(loop, "write_model", writing)
    more = ["--out", str(tmp_path), "--set", "schedule.epochs=6"]
    assert main(more) == 0
    printed = capsys.readouterr().out
    assert "Resuming after step 8 of 12." in printed
    assert "The learning rate follows the schedule of 6 epochs: 0.0125 in epoch 5." in printed
    assert [row[0] for row in rows_of(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert rows_of(tmp_path)[:4] == before
    assert marked == [False]  # the old run.json does not fit the new model
    assert main(more) == 2
    assert "holds a finished run. To train it further" in capsys.readouterr().err
    recipe = Recipe.from_dict(json.loads((source / "run.json").read_text())["recipe"])
    with pytest.raises(UserError, match=r"schedule\.epochs is 6 there and 4 now"):
        train(recipe, tmp_path)


@pytest.fixture
def begun(photos, tmp_path):
    """The directory of a run that has begun, and its recipe."""
    recipe = get_recipe("smoke", {"data.name": str(photos)})
    data = load_data(recipe)
    identity.write(tmp_path, recipe, data)
    return tmp_path, recipe


def load_data(recipe):
    from training.loop.loading import load_for

    return load_for(recipe)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 4}, "seed is 0 there and 4 now"),
        ({"schedule.epochs": 5}, r"schedule\.epochs is 2 there and 5 now"),
        (
            {"schedule.learning_rate": 0.1, "schedule.batch_size": 4},
            r"batch_size is 8 there and 4 now; schedule\.learning_rate is 0\.05 there and 0\.1 now",
        ),
        (
            {"average.decay": 0.9},
            r"average is none there and decay=0\.9, steps=1, warmup_epochs=0 now",
        ),
        ({"network.config": "regnetx_002"}, "RegNetX-smoke there and RegNetX-200MF now"),
    ],
)
def test_another_recipe_is_refused(begun, changes, text):
    folder, recipe = begun
    with pytest.raises(UserError, match=f"holds a run of another recipe: .*{text}.*--overwrite"):
        train(recipe.replace(changes), folder)


def test_other_data_are_refused(begun, photos):
    folder, recipe = begun
    identity.check_data(folder, load_data(recipe))
    extra = photos / "ant" / "more.png"
    Image.new("RGB", (8, 8)).save(extra)
    try:
        with pytest.raises(UserError, match="train images are 16 there and 17 now"):
            train(recipe, folder)
    finally:
        extra.unlink()
    renamed = (photos / "ant" / "0.png").rename(photos / "ant" / "zero.png")
    try:
        with pytest.raises(UserError, match="other files or labels of the same number"):
            train(recipe, folder)
    finally:
        renamed.rename(photos / "ant" / "0.png")


def test_two_runs_in_one_directory(begun):
    from regnet_tf._locking import writing_to

    folder, recipe = begun
    holder = rf"Another process is writing to {folder}: process {os.getpid()} on "
    with writing_to(folder), pytest.raises(UserError, match=holder):
        train(recipe, folder)
    with writing_to(folder):  # it is free again
        pass


def test_the_same_figures_under_another_name_are_the_same_run(begun):
    folder, recipe = begun
    identity.check_recipe(folder, recipe.replace({"name": "other", "description": "other"}))
