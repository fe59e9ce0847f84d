"""The benchmark runs and writes what it measured; how fast is no matter of a test."""

import json

import pytest

from regnet_tf import RegNetConfig, StageConfig
from training.benchmark.command import main
from training.benchmark.features import peak_memory
from training.benchmark.recipe import measure_training, table
from training.benchmark.speed import Setting, run_setting
from training.recipes import get_recipe


def test_table_and_json(tmp_path, capsys):
    out = tmp_path / "benchmark.json"
    options = "--variant RegNetX-200MF --batch-size 2 --image-size 32 --repeats 2 --mode forward"
    main([*options.split(), "--stock", "--out", str(out)])
    report = json.loads(out.read_text())
    result = report["results"][0]
    assert (result["variant"], result["batch_size"]) == ("regnetx_002", 2)
    ours, stock = result["contenders"]
    assert (ours["name"], stock["name"]) == ("regnet_tf", "stock keras")
    speed = ours["forward"]
    assert 0 < speed["min"] <= speed["images_per_second"] <= speed["max"]
    assert speed["regnet_tf_is_faster_by"] == 1
    assert "train" not in ours
    printed = capsys.readouterr().out
    assert "| regnetx_002 | 2 | 32 | float32 | stock keras |" in printed
    assert str(out) in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--variant", "resnet"], "`--variant` must be a known RegNet"),
        (["--data", "digitz"], "No data set is called 'digitz'"),
        (["--strategy", "mirror"], "`strategy` must be one of"),
    ],
)
def test_errors_end_with_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_training_on_data(tmp_path, capsys):
    out = tmp_path / "benchmark.json"
    options = "--data digits --recipe smoke --batch-size 4 --image-size 32 --repeats 1"
    main([*options.split(), "--variant", "regnetx_002", "--out", str(out)])
    result = json.loads(out.read_text())["results"][0]
    assert (result["data"], result["batch_size"], result["compute"]["replicas"]) == ("digits", 4, 1)
    assert all(result[part]["images_per_second"] > 0 for part in ("input", "step", "both"))
    assert "| input pipeline alone |" in capsys.readouterr().out


@pytest.mark.slow
def test_synthetic_training_on_two_devices(two_devices):
    recipe = get_recipe("smoke", {"data.name": "synthetic", "schedule.max_steps": None})
    result = measure_training(recipe, two_devices, repeats=1, steps=2)
    assert result["compute"]["replicas"] == 2 and "input" not in result
    assert "2 replicas" in table(result)


FEATURES = Setting(
    RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),) * 4, stem_width=8), 1, 64, "float32", 8
)


def test_feature_maps_with_and_without_remat():
    result = run_setting(FEATURES, ("train", "forward"), repeats=1)
    assert [row["name"] for row in result["contenders"]] == ["regnet_tf", "regnet_tf, remat"]
    assert all(row["train"]["images_per_second"] > 0 for row in result["contenders"])


@pytest.mark.slow
def test_memory_of_a_training_step():
    memory = peak_memory(FEATURES, remat=True)
    assert 50 < memory["step"] < memory["peak"] < 10_000


@pytest.mark.slow
def test_table_of_features(tmp_path, capsys):
    out = tmp_path / "features.json"
    options = "--features --variant regnetx_002 --batch-size 1 --image-size 64 --repeats 1"
    main([*options.split(), "--mode", "forward", "--output-stride", "16", "--out", str(out)])
    (result,) = json.loads(out.read_text())["results"]
    assert result["output_stride"] == 16
    assert "| regnetx_002, stride 16 | 1 | 64 | float32 | regnet_tf |" in capsys.readouterr().out
