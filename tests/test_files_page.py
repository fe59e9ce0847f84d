"""The guide's figures of exported files: they are those of the record."""

import json

import pytest

from benchmarks import files_page
from benchmarks.files_page import AIMS, PAGE, RECORD, figures, main, ratio, with_figures
from export.benchmark import report

FILES = (
    *("SavedModel", "TFLite float32", "ONNX float32", "ONNX int8"),
    *("OpenVINO int8", "timm's ONNX"),
)


def fake_result(group, regime, threads, scale=1):
    rows = []
    for place, name in enumerate(FILES):
        latency = [(6 - place) * scale, 2.0 * (6 - place) * scale, 99]
        turns = {"latency_ms": latency, "images_per_second": [100 * (place + 1)] * 3}
        row = {"name": name, "bytes": 1, "latency_ms": latency[1], "turns": turns}
        rows.append({**row, "images_per_second": 100 * (place + 1)})
    made = {"group": group, "regime": regime, "threads": threads, "rows": rows}
    return {**made, "onednn": "on", "left_out": {}}


def fake_report():
    results = [
        fake_result(group, regime, threads, 1 / threads)
        for group in ("RegNetX-400MF", "RegNetY-400MF")
        for regime in ("native", "off")
        for threads in (1, 2)
    ]
    machine = {"processor": "A processor", "cores": 2, "system": "Linux"}
    settings = {"repeats": 3, "seconds": 0.2, "batches": [1, 32], "untrained": True}
    versions = {"tensorflow": "2", "onnxruntime": "1"}
    return {"machine": machine, "versions": versions, "settings": settings, "results": results}


def test_figures():
    found = figures(fake_report())
    assert found["machine"].startswith("A processor, 2 cores; tensorflow 2, onnxruntime 1.")
    heading, _, first, *_ = found["latency"].splitlines()
    assert heading == (
        "| file | RegNetX-400MF, 1 thread | RegNetX-400MF, 2 threads"
        " | RegNetY-400MF, 1 thread | RegNetY-400MF, 2 threads |"
    )
    assert first == "| SavedModel | 12.0 | 6.0 | 12.0 | 6.0 |"
    assert "| timm's ONNX | 600 | 600 | 600 | 600 |" in found["throughput"]
    assert found["fastest"].splitlines()[1] == (
        "- RegNetX-400MF, 2 threads: one image OpenVINO int8 (2.0 ms), in float32 ONNX float32"
        " (4.0 ms); 32 images OpenVINO int8 (500/s), in float32 ONNX float32 (300/s)"
    )
    heading, *_, last = found["regimes"].splitlines()
    assert heading.startswith("| file | `native`: batch 1 (ms) | batch 32 (images/s) | `off`: ")
    assert last == "| timm's ONNX | 1.0 | 600 | 1.0 | 600 |"


def test_aims():
    first = fake_result("a", "native", 1)
    assert ratio(first, "ONNX int8", "ONNX float32") == pytest.approx(3 / 4)
    assert ratio(first, "ONNX float32", "OpenVINO float32") is None
    rows = figures(fake_report())["aims"].splitlines()[2:]
    assert rows[0] == "| ONNX float32 | timm's ONNX | 1.0 | 4.00 | 4.00 | 4.00 | 4.00 |"
    assert rows[3] == "| OpenVINO int8 | OpenVINO float32 | 0.6 | - | - | - | - |"
    assert len(rows) == len(AIMS)


def test_page_is_rewritten(tmp_path, capsys):
    page, record = tmp_path / "page.md", tmp_path / "benchmark.json"
    places = "\n".join(
        f"<!-- figures: {name} -->\nold\n<!-- end -->" for name in figures(fake_report())
    )
    page.write_text(f"before\n{places}\nafter\n")
    record.write_text(json.dumps(fake_report()))
    assert main(["--record", str(record), "--page", str(page)]) == 0
    text = page.read_text()
    assert "old" not in text and text.startswith("before\n") and text.endswith("after\n")
    assert with_figures(text, figures(fake_report())) == text
    page.write_text("nothing")
    assert main(["--record", str(record), "--page", str(page)]) == 2
    record.write_text("{}")
    assert main(["--record", str(record), "--page", str(page)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_guide_shows_the_record():
    content = json.loads(RECORD.read_text())
    assert with_figures(PAGE.read_text(), figures(content)) == PAGE.read_text()
    assert RECORD.with_name("benchmark.md").read_text() == report.markdown(content)
    groups = [one["group"] for one in content["results"]]
    assert {"RegNetX-400MF", "RegNetY-400MF", "RegNetY-1.6GF"} <= {*groups}


def test_names_of_files_are_those_of_the_benchmark():
    content = json.loads(RECORD.read_text())
    names = {row["name"] for row in content["results"][0]["rows"]}
    assert {name for pair in files_page.AIMS for name in pair[:2]} <= names
