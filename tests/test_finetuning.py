"""Frozen layers in training, and whole runs of fine-tuning."""

import json

import keras
import numpy as np
import pytest

import regnet_tf
from regnet_tf._errors import UserError
from training import figures
from training.__main__ import main
from training.loop import finetuning, fitting, train
from training.loop.finetuning import FILES, finetune
from training.loop.loading import load_for
from training.recipes import get_recipe, parse_change

_TINY = {
    "network": get_recipe("smoke").network,
    "schedule.epochs": 1,
    "schedule.batch_size": 5,
    "data.images_per_class": 1,
    "schedule.max_steps": 2,
    "images.size": 32,
    "schedule.learning_rate": 0.05,
}


def tiny(changes=None):
    return get_recipe("digits_finetuning", {**_TINY, **(changes or {})})


# Recipes.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.classes": ("5",)}, "`data.classes` must be None or two or more names"),
        ({"data.classes": ("5", "5")}, "`data.classes` must be"),
        ({"data.classes": "56"}, "`data.classes` must be"),
        ({"data.classes": (5, 6)}, "`data.classes` must be"),
        ({"data.images_per_class": 0}, "`data.images_per_class` must be"),
        (
            {"pretraining.freeze": "stage_9"},
            "`pretraining.freeze` must be one of None, 'stem', 'stage_1'",
        ),
        ({"pretraining": 1}, "`pretraining` must be of type Pretraining, or None"),
        ({"pretraining.recipe": 1}, "`pretraining.recipe` must be the name of a recipe"),
        (
            {"pretraining": None, "pretraining.freeze": "stem"},
            "`pretraining.recipe` must be given. Received: freeze",
        ),
    ],
)
def test_recipe_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        get_recipe("digits_finetuning", changes)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("data.classes=5,6", ("data.classes", ("5", "6"))),
        ("data.classes=none", ("data.classes", None)),
        ("pretraining.freeze=stem", ("pretraining.freeze", "stem")),
        ("pretraining.freeze=None", ("pretraining.freeze", None)),
        ("pretraining=none", ("pretraining", None)),
        ("data.images_per_class=5", ("data.images_per_class", 5)),
    ],
)
def test_parse_change(text, change):
    assert parse_change(text) == change


# Training.


def test_frozen_layers_keep_weights_and_statistics_while_the_others_learn():
    recipe = tiny({"pretraining.freeze": "stage_1", "data.images_per_class": 5})
    data = load_for(recipe)
    first = fitting.build(recipe, data)
    for variable in first.weights:  # as no initializer leaves them
        variable.assign(variable + 0.1)
    expected = regnet_tf.to_state_dict(first)

    model = fitting.build(recipe, data, expected)
    before = regnet_tf.to_state_dict(model)
    assert (before["head.fc.weight"] != expected["head.fc.weight"]).any()
    assert all((before[name] == expected[name]).all() for name in before if "head" not in name)
    frozen = [layer for layer in model.layers if layer.name in ("stem", "stage_1")]
    assert len(frozen) == 2 and all(layer.weights for layer in frozen)
    kept = {id(variable) for layer in frozen for variable in layer.weights}
    values = [(variable, variable.numpy()) for variable in model.weights]
    assert any("moving" in variable.path for variable, _ in values if id(variable) in kept)

    fitting.fit(model, recipe, data, verbose=0)
    for variable, old in values:
        is_same = (variable.numpy() == old).all()
        assert is_same == (id(variable) in kept), variable.path


def test_restarted_network_is_a_new_one():
    recipe = tiny({"data.images_per_class": 5, "pretraining": None})
    data = load_for(recipe)
    results = []
    model = fitting.build(recipe, data)
    start = model.get_weights()
    for _ in range(2):
        new = fitting.build(recipe, data)
        new.set_weights(start)
        finetuning._restart(model, new)
        fitting.fit(model, recipe, data, verbose=0)
        results.append(model.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# Whole runs.


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "new" / "tuned"
    return workdir, finetune(tiny({"seed": 3}), workdir, verbose=0, choices=2)


def test_run_writes_its_numbers(finished):
    workdir, run = finished
    assert {path.name for path in workdir.iterdir()} == set(FILES)
    written = json.loads((workdir / "run.json").read_text())
    assert written == json.loads(json.dumps(run))
    assert written["data"] == {
        "name": "digits",
        "class_names": list("56789"),
        "train_images": 5,
        "test_images": 224,
    }
    with np.load(workdir / "examples.npz") as examples:
        shapes = {name: examples[name].shape for name in examples}
    assert shapes == {
        "images": (5, 32, 32, 3),
        "labels": (5,),
        "test_images": (224, 32, 32, 3),
        "test_labels": (224,),
    }
    assert written["pretraining"]["data"]["train_images"] == 675
    assert written["pretraining"]["recipe"]["data"]["classes"] == list("01234")
    assert written["pretraining"]["recipe"]["network"] == written["recipe"]["network"]
    choices = written["results"]["choices"]
    assert [choice["seed"] for choice in choices] == [3, 4]
    assert [choice["test_images"] for choice in choices] == [10, 10]
    for way in ("fine_tuned", "from_scratch"):
        mean = np.mean([choice[way] for choice in choices])
        assert written["results"][way] == pytest.approx(mean)


def test_written_network_has_the_frozen_weights_of_the_first(finished):
    workdir, _ = finished
    first = regnet_tf.read_state_dict(workdir / "pretrained.npz")
    tuned = regnet_tf.to_state_dict(keras.saving.load_model(workdir / "model.keras"))
    same = {name for name in tuned if (tuned[name] == first[name]).all()}
    assert {name for name in tuned if name.startswith(("stem.", "s1."))} <= same
    assert not any(name.startswith("head.") for name in same)


def test_comparison_shows_every_choice():
    choices = [{"seed": 3, "one": 0.5, "two": 0.25}, {"seed": 4, "one": 0.75, "two": 0.5}]
    axes = figures.comparison(choices, ("one", "two"), "title").axes[0]
    assert sorted(bar.get_height() for bar in axes.patches) == [25, 50, 50, 75]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["seed 3", "seed 4"]
    assert "one, 62.5 % on average" in {text.get_text() for text in axes.get_legend().texts}


def test_summary(finished):
    _, run = finished
    printed = finetuning.summary(run)
    assert printed.startswith("Test accuracy with 1 image a class: fine-tuned ")
    assert f"{run['results']['from_scratch']:.2%} (mean of 2, 10 test images)" in printed


def test_command_runs_fine_tuning(finished, monkeypatch, capsys, tmp_path):
    told = []
    monkeypatch.setattr(finetuning, "finetune", lambda *given: told.extend(given) or finished[1])
    assert main(["--recipe", "digits_finetuning", "--out", str(tmp_path)]) == 0
    assert told[:3] == [get_recipe("digits_finetuning"), tmp_path, False]
    printed = capsys.readouterr().out
    assert finetuning.summary(finished[1]) in printed
    assert all(str(tmp_path / name) in printed for name in FILES)


def test_errors_come_before_anything_is_written(finished, tmp_path):
    workdir = tmp_path / "run"
    for recipe, message in (
        (get_recipe("smoke"), "`pretraining` must be given"),
        (
            tiny({"pretraining.recipe": "digits_finetuning"}),
            "`pretraining.recipe` must be a recipe without",
        ),
        (tiny({"pretraining.recipe": "digitz"}), "No recipe is called 'digitz'"),
        (tiny({"schedule.batch_size": 6}), "`schedule.batch_size` must be at most 5"),
        (get_recipe("segmentation_digits"), "`decoder` must be None for fine-tuning"),
    ):
        with pytest.raises(ValueError, match=message):
            finetune(recipe, workdir, verbose=0)
    with pytest.raises(ValueError, match="`choices` must be"):
        finetune(tiny(), workdir, verbose=0, choices=0)
    with pytest.raises(ValueError, match="`pretraining` must be None without a decoder"):
        train.train_and_evaluate(tiny(), workdir, verbose=0)
    assert not workdir.exists()
    with pytest.raises(UserError, match="holds a finished run"):
        finetune(tiny(), finished[0], verbose=0)
