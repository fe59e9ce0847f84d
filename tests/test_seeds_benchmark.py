"""`python -m benchmarks.seeds`."""

import json

import pytest

from benchmarks import seeds
from training.loop import train


@pytest.fixture
def asked(monkeypatch):
    """The recipes that are trained; nothing is."""
    asked = []

    def train_and_evaluate(recipe, folder, **_):
        asked.append((recipe, folder))
        accuracy = recipe.schedule.batch_size / 100 + recipe.seed / 10
        return {
            "results": {"accuracy": accuracy},
            "seconds": {"training": 90.0},
            "model": {"parameters": 12_345, "multiply_adds": 2_500_000},
            "source": None,
        }

    monkeypatch.setattr(train, "train_and_evaluate", train_and_evaluate)
    return asked


def test_each_way_has_the_same_seeds_and_its_own_changes(asked, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    ways = ["--way", "small: schedule.batch_size=10", "--way", "large: schedule.batch_size=50"]
    arguments = ["smoke", "--seeds", "2", "--set", "schedule.epochs=7", "--out", str(tmp_path)]
    assert seeds.main([*arguments, *ways]) == 0
    sizes = [(one.schedule.batch_size, one.seed, one.schedule.epochs) for one, _ in asked]
    assert sizes == [(10, 0, 7), (50, 0, 7), (10, 1, 7), (50, 1, 7)]
    assert len({folder for _, folder in asked}) == 4
    printed = capsys.readouterr().out
    assert "| small | 12,345 | 2.5 | 15.00 ± 7.07 | 10.00, 20.00 | 2 |" in printed
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["accuracy"] for row in rows] == pytest.approx([0.1, 0.5, 0.2, 0.6])
    assert (tmp_path / "comparison.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "`seeds` must be an integer of at least 1"),
        (["--way", "schedule.epochs=1"], "`--way` must be of the form NAME: FIELD=VALUE"),
        (["--way", "a: seed=1", "--way", "a: seed=2"], "`--way` must be ways with different names"),
        (["--way", "a: schedule.epoch=1"], "`schedule.epoch` is no field of a recipe"),
    ],
)
def test_refusals(asked, arguments, message, capsys):
    assert seeds.main(["smoke", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not asked
