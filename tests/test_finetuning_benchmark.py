"""`python -m benchmarks.finetuning`."""

import json

import pytest

from benchmarks import finetuning

ACCURACIES = {"pretrained": 0.9, "fine-tuned": {0: 0.8, 1: 0.6}, "from_scratch": {0: 0.5, 1: 0.5}}


@pytest.fixture
def asked(monkeypatch):
    """The recipes and folders that are trained; nothing is."""
    asked = []

    def accuracy(recipe, folder, data_dir):
        asked.append((recipe, folder, data_dir))
        if folder.name == "pretrained":
            return ACCURACIES["pretrained"]
        return ACCURACIES[folder.name.rpartition(f"seed_{recipe.seed}_")[2]][recipe.seed]

    monkeypatch.setattr(finetuning, "_accuracy", accuracy)
    return asked


def test_both_ways_differ_in_their_weights_alone(asked, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["--images", "3", "--seeds", "2", "--data-dir", "there", "--out", str(tmp_path)]
    assert finetuning.main(arguments) == 0
    (first, folder, _), *others = asked
    assert first.data.classes == tuple("01234") and folder == tmp_path / "pretrained"
    for seed in (0, 1):
        (tuned, one, data_dir), (scratch, other, _) = others[2 * seed : 2 * seed + 2]
        assert tuned.network.weights == str(folder) and data_dir == "there"
        assert tuned.replace({"network.weights": None}) == scratch
        assert scratch.data.classes == tuple("56789")
        assert (scratch.data.images_per_class, scratch.seed) == (3, seed)
        assert one != other
    printed = capsys.readouterr().out
    assert "| 3 | 70.0 ± 14.1 % | 50.0 ± 0.0 % |" in printed  # 14.1: both are 10 from the mean
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["fine-tuned"] for row in rows] == [0.8, 0.6]
    assert (tmp_path / "comparison.png").stat().st_size > 1000


@pytest.mark.parametrize("option", ["--images", "--seeds"])
def test_refusals(asked, option, capsys):
    assert finetuning.main([option, "0"]) == 2
    assert f"`{option[2:]}` must be an integer of at least 1" in capsys.readouterr().err
    assert not asked
