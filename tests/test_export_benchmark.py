"""The benchmark of exported forms: what it compares is the same network, its figures add up."""

import argparse
import importlib.util
import json
import sys

import numpy as np
import pytest

from export import benchmark, contenders
from export.benchmark import main
from export.contenders import FUSED, KERAS, ONNX, TIMM, UNFUSED
from export.graph import read_graph
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet

SIZE = 64


@pytest.fixture
def hasty(monkeypatch):
    """The benchmark of a network of two blocks, each measured for a moment."""
    config = RegNetConfig(explicit_stages=(StageConfig(16, 2, 8),), stem_width=8)

    def make_model(variant, image_size):
        shape = (image_size, image_size, 3)
        model = build_regnet(config, input_shape=shape, classes=5, classifier_activation=None)
        contenders.randomize(model)
        return model

    monkeypatch.setattr(benchmark, "make_model", make_model)
    monkeypatch.setattr(benchmark, "_SECONDS", 0.01)


def test_report(hasty, tmp_path, capsys):
    options = f"--variant RegNetX-200MF --image-size {SIZE} --repeats 1 --profile"
    assert main([*options.split(), "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    (result,) = report["results"]
    assert (result["variant"], result["image_size"]) == ("regnetx_002", SIZE)
    names = [KERAS, UNFUSED, FUSED, "TFLite float32", "TFLite int8"]
    assert [row["name"] for row in result["rows"]] == names
    assert report["settings"]["repeats"] == 1 and report["versions"]["tensorflow"]
    check_figures(result["rows"])
    check_profile(result["profile"])
    printed = capsys.readouterr()
    page = (tmp_path / "benchmark.md").read_text()
    assert benchmark.table([result]) in printed.out and benchmark.table([result]) in page
    assert benchmark.profile_table(result) in printed.out and str(tmp_path) in printed.out
    assert "regnetx_002: batch 32, turn 1 of 1" in printed.err


def check_figures(rows):
    reference = rows[0]
    assert reference["latency_ratio"] == reference["throughput_ratio"] == 1
    for row in rows:
        ratio = reference["latency_ms"] / row["latency_ms"]
        assert row["latency_ratio"] == pytest.approx(ratio) and ratio > 0
        if row["name"].startswith("TFLite"):
            assert row["images_per_second"] is row["throughput_ratio"] is None
        else:
            ratio = row["images_per_second"] / reference["images_per_second"]
            assert row["throughput_ratio"] == pytest.approx(ratio) and ratio > 0


def check_profile(profile):
    assert sum(profile.values()) == pytest.approx(100)
    assert list(profile.values()) == sorted(profile.values(), reverse=True)
    assert any("Conv2D" in kernel for kernel in profile)


def test_ratios_are_medians_turn_by_turn():
    seconds = {
        KERAS: {1: [1.0, 2.0, 9.0], 32: [8.0, 4.0, 4.0]},
        "other": {1: [0.5, 2.0, 3.0], 32: [4.0, 4.0, 1.0]},
        "single": {1: [2.0, 2.0, 2.0]},
    }
    _, other, single = benchmark.rows(seconds)
    assert (other["latency_ms"], other["latency_ratio"]) == (2000, 2)
    assert (other["images_per_second"], other["throughput_ratio"]) == (8, 2)
    assert (single["latency_ratio"], single["throughput_ratio"]) == (1, None)
    assert benchmark.table([{"variant": "x", "image_size": 1, "rows": [single]}]).endswith(
        "| x | 1 | single | 2000.00 | 1.00 |  |  |"
    )


def images():
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype="uint8")


def answers(contenders):
    return {one.name: one.run(one.prepare(images())) for one in contenders}


def answer(model):
    normalized = Preprocessing(image_size=SIZE).normalize(images())
    return np.asarray(model(normalized, training=False))


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.std())


def test_saved_models_are_one_network_in_three_forms(tmp_path):
    config = RegNetConfig(explicit_stages=(StageConfig(16, 2, 8),), stem_width=8, se_ratio=0.25)
    model = build_regnet(config, input_shape=(SIZE, SIZE, 3), classes=5, classifier_activation=None)
    contenders.randomize(model)
    logits = answers(contenders.saved_models(model, tmp_path))
    assert list(logits) == [KERAS, UNFUSED, FUSED]
    for found in logits.values():
        assert_same(found, answer(model))
    normalizations = {name: kernels(tmp_path / name) for name in logits}
    assert not any("FusedBatchNormV3" in kinds for kinds in normalizations.values())
    assert all("Rsqrt" in normalizations[name] for name in (KERAS, UNFUSED))
    assert "Rsqrt" not in normalizations[FUSED]
    biases = {name: kinds.count("BiasAdd") for name, kinds in normalizations.items()}
    assert biases[UNFUSED] > biases[KERAS]


def kernels(path):
    """Names of the operations in a SavedModel's functions."""
    (meta_graph,) = read_graph(path).meta_graphs
    functions = meta_graph.graph_def.library.function
    return [node.op for function in functions for node in function.node_def]


@pytest.mark.torch
def test_peers_give_the_same_logits(tmp_path):
    for package in ("torch", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    model = contenders.make_model("regnetx_002", SIZE)
    options = argparse.Namespace(timm=True, onnxruntime=True, threads=2)
    found = answers(contenders.peers("regnetx_002", model, tmp_path, options))
    assert_same(found[ONNX], found[TIMM])
    assert_same(answer(model), found[TIMM])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "resnet"], "must be a known RegNet"),
        (["--repeats", "0"], "`repeats` must be an integer of at least 1"),
        (["--timm"], "PyTorch and timm: pip install torch timm"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    for package in ("torch", "timm"):
        monkeypatch.setitem(sys.modules, package, None)
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
