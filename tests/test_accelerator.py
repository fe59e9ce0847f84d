"""`python -m benchmarks.accelerator`: turns, ratios, failures, and the recorded runs."""

import importlib.util
import json
import pathlib

import pytest

from benchmarks.accelerator import main
from benchmarks.accelerators import turns
from benchmarks.accelerators.contenders import CONTENDERS
from benchmarks.accelerators.processes import Worker
from benchmarks.accelerators.report import markdown, table
from benchmarks.comparison.processes import Failure
from regnet_tf import complexity

DOCS = pathlib.Path(__file__).parents[1] / "docs"
RECORDED = sorted((DOCS / "accelerator").glob("*/comparison.json"))
NAMES = ["regnet_tf_torch", "timm", "timm_compiled"]


class FakeWorker:
    """Takes turns without a process: timm needs 2 s for a step, then 4 s, ..., others half."""

    def __init__(self, backend, timeout):
        self.factor = 2.0 if backend is None else 1.0
        self.turns = {"training": -1, "inference": -1}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def send(self, request):
        self.request = request

    def answer(self):
        if self.request["compiled"] and not self.request["keras"]:
            raise Failure("TypeError: it fails", "what it said")
        return {"device": "Fake 3000", "parameters": 7}

    def ask(self, request):
        self.turns[request["part"]] += 1
        seconds = self.factor * max(self.turns[request["part"]], 1)
        return {"first_seconds": 9.0, "calls": 1, "step_seconds": seconds, "memory": 2**21}


@pytest.fixture
def compare(monkeypatch, tmp_path, capsys):
    """Runs the command with words of a text and fake workers: status, report, what it printed."""
    monkeypatch.setattr(turns, "Worker", FakeWorker)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    def run(text):
        words = ["--variant", "RegNetX-200MF", "--batch-size", "24", "--repeats", "3"]
        status = main([*words, "--out", str(tmp_path), *text.split()])
        file = tmp_path / "comparison.json"
        report = json.loads(file.read_text()) if file.exists() else None
        return status, report, capsys.readouterr()

    return run


def test_ratios_of_turns_and_failures(compare, tmp_path):
    status, report, printed = compare(f"--precision float32 --contender {' '.join(NAMES)}")
    assert status == 0
    (result,) = report["results"]
    assert report["machine"]["device"] == result["device"] == "Fake 3000"
    ours, timm, compiled = result["rows"]
    assert ours["training"]["turns"] == [24, 12, 8]
    assert ours["training"]["images_per_second"] == 12
    assert ours["training"]["times"] == {"timm": 2}
    assert (timm["training"]["times"], timm["memory_mib"]) == ({}, 2)
    assert compiled == {
        "contender": "timm_compiled",
        "failed": "TypeError: it fails",
        "log": "what it said",
    }
    page = (tmp_path / "comparison.md").read_text()
    assert page in printed.out
    row = "| RegNetX-200MF | float32 | 24 | regnet_tf_torch | 12 (8 to 24) | 2.00 | - | 9.0 |"
    assert row in page
    assert "- RegNetX-200MF, float32, timm_compiled: TypeError: it fails" in page


def test_a_setting_is_measured_once(compare, monkeypatch, tmp_path):
    words = "--contender timm --precision"
    assert compare(f"{words} float32")[0] == 0
    assert len(compare(f"{words} float32 mixed_bfloat16")[1]["results"]) == 2
    monkeypatch.setattr(turns, "Worker", None)  # nothing is measured twice
    status, report, _ = compare(f"{words} float32 mixed_bfloat16")
    assert (status, len(report["results"])) == (0, 2)
    (tmp_path / "comparison.md").unlink()
    assert compare("--report-only")[0] == 0
    assert (tmp_path / "comparison.md").read_text() == markdown(report)


def test_a_contender_takes_part_where_it_can(compare):
    _, report, _ = compare("--precision float32 --contender regnet_tf_jax_jitted timm")
    jitted, timm = report["results"][0]["rows"]
    assert "training" not in jitted and "training" in timm
    assert jitted["inference"]["times"] == {"timm": 2}
    assert jitted["memory_mib"] is None


def test_refusals(compare, monkeypatch, tmp_path):
    assert compare("--batch-size 0")[0] == 2
    assert compare("--contender timm --precision float32")[0] == 0
    _, _, printed = compare("--contender timm --precision float32 --seconds 3")
    assert "comparison.json has other settings: choose another --out" in printed.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "timm needs packages: pip install torch" in compare("--contender timm")[2].err
    assert "No contender is installed" in compare("")[2].err
    (tmp_path / "comparison.json").write_text("{}")
    assert compare("--report-only")[0] == 2


@pytest.fixture
def worker(tmp_path):
    """Starts a script as a worker."""

    def start(text, timeout=1800):
        script = tmp_path / "script.py"
        script.write_text(f"import json, os, sys, time\nfor line in sys.stdin:\n    {text}\n")
        return Worker("jax", timeout, script)

    return start


def test_worker_answers_several_requests(worker):
    text = 'print(json.dumps({**json.loads(line), "backend": os.environ["KERAS_BACKEND"]}))'
    with worker(text) as one:
        for number in range(2):
            assert one.ask({"number": number}) == {"number": number, "backend": "jax"}


@pytest.mark.parametrize(
    ("text", "timeout", "reason"),
    [
        ("print(json.dumps({'error': 'ValueError: no'}))", 1800, "ValueError: no"),
        ("sys.exit('what it said')", 1800, "the process ended"),
        ("time.sleep(100)", 0.5, "took longer than 0.5 s"),
    ],
)
def test_worker_that_fails(worker, text, timeout, reason):
    with worker(text, timeout) as one, pytest.raises(Failure) as failure:
        one.ask({})
    assert failure.value.reason == reason
    assert ("what it said" in failure.value.log) == ("said" in text)


@pytest.mark.slow
@pytest.mark.torch
def test_workers_on_a_cpu(tmp_path):
    """Both kinds of worker, with the smallest network."""
    for module in ("torch", "timm"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    words = "--variant regnetx_002 --image-size 32 --batch-size 2 --repeats 1 --seconds 0"
    words += " --precision mixed_bfloat16 --contender regnet_tf_torch timm"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    (result,) = json.loads((tmp_path / "comparison.json").read_text())["results"]
    for row in result["rows"]:
        assert row["parameters"] == complexity("regnetx_002").parameters
        assert row["training"]["turns"][0] > 0 and row["inference"]["turns"][0] > 0


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_recorded_runs(path):
    """The page shows the numbers of the record, and the guide shows its table."""
    report = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == markdown(report)
    assert table(report["results"]) in (DOCS / "guides" / "speed.md").read_text()
    for result in report["results"]:
        counts = {row["parameters"] for row in result["rows"]}
        assert counts == {complexity(result["variant"]).parameters}
    assert {one["name"] for one in report["contenders"]} <= set(CONTENDERS)


def test_there_are_recorded_runs():
    assert [path.parent.name for path in RECORDED] == ["h100", "h100_inference"]
