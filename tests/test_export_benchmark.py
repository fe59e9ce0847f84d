"""The benchmark of exported files: each file gives the network's answers, the figures add up."""

import importlib.util
import json
import os
import sys
import types

import numpy as np
import pytest

from export.benchmark import networks, peers, report, turns
from export.benchmark.command import main
from export.benchmark.contenders import Contender, Group, groups_of
from export.benchmark.networks import make_model, randomize, write_files
from export.benchmark.peers import normalized, write_peers
from regnet_tf import RegNetConfig, StageConfig, build_regnet
from regnet_tf._cpu import processor
from regnet_tf._environment import environment_variables
from regnet_tf._errors import MissingPackageError, UserError
from regnet_tf._regimes import REGIMES

SIZE = 32
STAGES = (StageConfig(8, 1, 8), StageConfig(16, 1, 8))
CONFIG = RegNetConfig(explicit_stages=STAGES, stem_width=8, se_ratio=0.25)
FILES = [
    "SavedModel",
    *(f"TFLite {one}" for one in ("float32", "float16", "dynamic_range", "int8")),
]
UNFUSED = "SavedModel by model.export()"


def tiny(variant="regnetx_002", image_size=SIZE):
    shape = (image_size, image_size, 3)
    model = build_regnet(CONFIG, input_shape=shape, classes=5, classifier_activation=None)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """All files of a network, with the report that an export has."""
    folder = tmp_path_factory.mktemp("export")
    contenders, _ = write_files(model, folder)
    options = types.SimpleNamespace(unfused=True, timm=False, timm_onnx=False)
    contenders += write_peers("regnetx_002", model, folder, options)
    entries = {
        one.name: {"path": str(one.path.relative_to(folder)), "precision": "float32"}
        for one in contenders
        if one.name != UNFUSED
    }
    (folder / "report.json").write_text(json.dumps({"artefacts": entries}))
    return folder, contenders


def images(count=3):
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 3), dtype="uint8")


def logits(model):
    return np.asarray(model(normalized(images()), training=False))


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_every_file_gives_the_answers_of_the_network(model, files):
    _, contenders = files
    names = [one.name for one in contenders]
    assert names[: len(FILES)] == FILES and names[-1] == UNFUSED
    for one in contenders:
        found = one.open(one.path, None).bind(images())()
        if one.name == UNFUSED:
            np.testing.assert_allclose(found, logits(model), rtol=0, atol=1e-4)
        else:
            exact = "float32" in one.name or one.name == "SavedModel"
            np.testing.assert_allclose(
                found, softmax(logits(model)), rtol=0, atol=1e-5 if exact else 0.05
            )
        assert one.bytes > 1000


@pytest.mark.torch
def test_peers_give_the_answers_of_the_network(tmp_path):
    for package in ("torch", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    model = make_model("regnetx_002", SIZE)
    options = types.SimpleNamespace(unfused=False, timm=True, timm_onnx=True)
    contenders = write_peers("regnetx_002", model, tmp_path, options)
    names = [one.name for one in contenders]
    assert names == ["timm's ONNX", "timm's ONNX, normalizing", "timm, eager"]
    expected = logits(model)
    for one in contenders:
        found = one.open(one.path, 1).bind(images())()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.std())


@pytest.mark.program
def test_untrained_networks(files, monkeypatch, tmp_path, capfd):
    _, contenders = files
    monkeypatch.setattr(networks, "make_model", tiny)
    monkeypatch.setattr(networks, "write_files", lambda *_: (contenders[:-1], ["X is left out."]))
    monkeypatch.setattr(peers, "write_peers", lambda *_: contenders[-1:])
    words = "--variant RegNetX-200MF --threads 1 --repeats 2 --seconds 0 --unfused"
    assert main([*words.split(), "--image-size", str(SIZE), "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "benchmark.json").read_text())
    assert content["machine"]["processor"] == processor() and content["versions"]["tensorflow"]
    (result,) = content["results"]
    assert (result["group"], result["regime"], result["threads"]) == ("RegNetX-200MF", "native", 1)
    names = [row["name"] for row in result["rows"]]
    assert names[: len(FILES)] == FILES and names[-1] == UNFUSED
    assert all(len(turns) == 2 for row in result["rows"] for turns in row["turns"].values())
    assert all(row["latency_ms"] > 0 and row["images_per_second"] > 0 for row in result["rows"])
    printed = capfd.readouterr()
    page = (tmp_path / "benchmark.md").read_text()
    assert report.tables(content) in page and report.tables(content) in printed.out
    assert "RegNetX-200MF: export ...\nX is left out.\n[1/1]" in printed.err
    assert "[1/1] RegNetX-200MF, native, 1 thread: batch 32, turn 2 of 2" in printed.err
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
    assert str(tmp_path / "benchmark.png") in printed.out
    check_report_only(tmp_path, page)


def check_report_only(folder, page):
    (folder / "benchmark.md").unlink()
    assert main(["--report-only", "--out", str(folder)]) == 0
    assert (folder / "benchmark.md").read_text() == page


@pytest.mark.program
def test_files_of_the_user(files, tmp_path, monkeypatch):
    """In a regime, which must not outlive its process."""
    folder, _ = files
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    words = ["--regime", "off", "--threads", "2", "--repeats", "1", "--seconds", "0"]
    assert main([str(folder), *words, "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "benchmark.json").read_text())
    (result,) = content["results"]
    assert (result["group"], result["regime"], result["threads"]) == (str(folder), "off", 2)
    assert [row["name"] for row in result["rows"]][: len(FILES)] == FILES
    assert result["onednn"] == "off"
    assert "Weights are random" not in (tmp_path / "benchmark.md").read_text()


def test_exports_and_single_files(files):
    folder, contenders = files
    alone = contenders[0].path, contenders[1].path
    export, single = groups_of([*alone, folder, alone[0]])
    assert export.name == str(folder) and [one.name for one in export.contenders][:5] == FILES
    assert single == Group("files", [Contender(str(path), path) for path in alone])


def test_variables_of_a_regime_are_set_and_reset(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    environ = os.environ
    before = dict(environ)
    with environment_variables(REGIMES["avx2"]):
        assert {name: environ[name] for name in REGIMES["avx2"]} == REGIMES["avx2"]
    assert dict(environ) == before


def seconds(*batch_1, batch_32):
    return [list(batch_1), list(batch_32)]


MEASURED = {
    "onednn": "avx512",
    "left_out": {"c": "This needs the package `openvino`"},
    "seconds": {
        "a": seconds(0.001, 0.002, 0.009, batch_32=(0.8, 0.4, 0.4)),
        "b": seconds(0.0005, 0.002, 0.003, batch_32=(0.4, 0.4, 0.1)),
    },
}


def fake_result(tmp_path, threads=2, regime="native"):
    for name in "abc":
        (tmp_path / name).write_bytes(bytes(2**19))
    group = Group("mine", [Contender(name, tmp_path / name) for name in "abc"])
    return report.result(group, regime, threads, MEASURED)


def test_ratios_are_medians_turn_by_turn(tmp_path):
    first, second = fake_result(tmp_path)["rows"]
    assert (first["latency_ms"], first["images_per_second"]) == (2, 80)
    assert first["times_first"] == {"latency_ms": 1, "images_per_second": 1}
    assert (second["latency_ms"], second["images_per_second"]) == (2, 80)
    assert second["times_first"] == {"latency_ms": 2, "images_per_second": 2}
    assert second["turns"]["latency_ms"] == [0.5, 2, 3]


def fake_report(tmp_path):
    results = [
        fake_result(tmp_path, threads, regime) for regime in ("native", "off") for threads in (1, 2)
    ]
    settings = {"repeats": 3, "seconds": 0.2, "batches": [1, 32], "untrained": True}
    machine = {"processor": "A $processor$", "cores": 2, "system": "Linux"}
    return {
        "machine": machine,
        "versions": {"python": "3"},
        "settings": settings,
        "results": results,
    }


def test_page(tmp_path):
    page = report.markdown(fake_report(tmp_path))
    assert page.count("## mine, ") == 2
    assert (
        "| file | MiB | 1 thread: batch 1 (ms) | times | 1 thread: batch 32 (images/s) | times"
        " | 2 threads: batch 1 (ms) | times | 2 threads: batch 32 (images/s) | times |"
    ) in page
    assert "| b | 0.5 | 2.00 | 2.00 | 80.0 | 2.00 | 2.00 | 2.00 | 80.0 | 2.00 |" in page
    assert "- c is left out. This needs the package `openvino`" in page
    assert "| off | TF_ENABLE_ONEDNN_OPTS=0 | avx512 |" in page and "Weights are random" in page


def test_figure(tmp_path):
    figure = report.draw(fake_report(tmp_path))
    (block,) = figure.subfigs
    assert len(block.axes) == 4  # a metric for a number of threads
    for axes, expected in zip(block.axes, [2, 80, 2, 80], strict=True):
        assert axes.get_xscale() == "log"
        native, off = axes.collections[1::2]
        for dots in (native, off):
            assert dots.get_offsets()[:, 0].tolist() == [expected] * 2
        assert (native.get_offsets()[:, 1] < off.get_offsets()[:, 1]).all()
    assert [label.get_text() for label in block.axes[0].get_yticklabels()] == ["a", "b"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["native", "off"]


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([0.9, 0.1, 0.8, 0.1, 0.1], 0.1),  # the first call does not count ...
        ([5, 0.1], 5),  # ... unless it fills the turn
    ],
)
def test_turns(monkeypatch, durations, expected):
    durations = iter(durations)
    monkeypatch.setattr(turns, "_timed", lambda call: next(durations))
    assert turns.seconds_of_call(None, 1) == expected


def test_files_without_their_runtime_are_left_out(monkeypatch, tmp_path):
    def open_nothing(path, threads):
        raise MissingPackageError("This needs the package `openvino`")

    def open_sum(path, threads):
        return types.SimpleNamespace(bind=lambda x: x.sum, image_size=8, channels=1)

    monkeypatch.setattr(turns, "limit_tensorflow", lambda threads: None)
    contenders = [Contender("a", tmp_path, open_sum), Contender("b", tmp_path, open_nothing)]
    found = turns.take_turns(contenders, 1, 2, 0, 224, "title")
    assert found["left_out"] == {"b": "This needs the package `openvino`"}
    assert [[len(batch) for batch in one] for one in found["seconds"].values()] == [[2, 2]]
    with pytest.raises(MissingPackageError, match="openvino"):
        turns.take_turns(contenders[1:], 1, 2, 0, 224, "title")


def test_exports_that_are_incomplete(tmp_path):
    entry = {"path": "serving/a/1", "precision": "float32"}
    text = json.dumps({"artefacts": {"SavedModel": entry}})
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UserError, match="serving/a/1 is missing"):
        groups_of([tmp_path])
    (tmp_path / "report.json").write_text(json.dumps({"artefacts": []}))
    with pytest.raises(UserError, match=r"report\.json"):
        groups_of([tmp_path])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "resnet"], "`--variant` must be a known RegNet"),
        (["--repeats", "0"], "`repeats` must be an integer of at least 1"),
        (["--threads", "0"], "`threads` must be an integer of at least 1"),
        (["nowhere"], "nowhere does not exist"),
        (["nowhere", "--timm-onnx"], "--timm-onnx is for untrained networks"),
        (["--timm"], "PyTorch and timm: pip install torch timm"),
        (["--report-only"], "benchmark.json is missing"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    for package in ("torch", "timm"):
        monkeypatch.setitem(sys.modules, package, None)
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_damaged_file(monkeypatch, tmp_path):
    monkeypatch.setattr(turns, "limit_tensorflow", lambda threads: None)
    damaged = tmp_path / "mine.tflite"
    damaged.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"mine\.tflite"):
        turns.take_turns([Contender("mine", damaged)], 1, 1, 0, SIZE, "title")
