"""A little of each part of the hostile suite: no fault.

It is slow. `test_fuzz.py`, `test_headers.py`, `test_runs.py` and `test_starting.py` stand for it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The content of `report.json`, of one process for all parts."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("tensorflow_serving")
    out = tmp_path_factory.mktemp("hostile")
    words = ["-m", "tests.hostile", "--scale", "0", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert (out / "report.json").exists(), done.stdout + done.stderr
    found = json.loads((out / "report.json").read_text())
    assert done.returncode == any(case["is_fault"] for case in found["cases"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("part", ["configurations", "damage", "bombs", "kills", "interrupts"])
def test_no_fault(part, report):
    cases = [case for case in report["cases"] if case["part"] == part]
    faults = [case for case in cases if case["is_fault"]]
    assert cases and not faults, json.dumps(faults, indent=1)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["damage", "bombs"])
def test_no_fault_among_many(part, tmp_path):
    words = [part, "--scale", "0.1", "--seed", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
