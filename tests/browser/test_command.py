"""`python -m tests.browser`."""

import json

import pytest

from tests.browser import networks
from tests.browser.__main__ import main
from tests.browser.test_browser import SIZE, TINY

ARGUMENTS = ["--networks", "regnetx_002", "--image-size", str(SIZE), "--turns", "2"]


@pytest.mark.browser
def test_table(monkeypatch, tmp_path, capsys):
    classifier = networks.classifier
    monkeypatch.setattr(networks, "classifier", lambda variant, size: classifier(TINY, size))
    kinds = "TFLite float32", "TFLite float16"
    monkeypatch.setattr(networks, "WRITERS", {kind: networks.WRITERS[kind] for kind in kinds})
    report = tmp_path / "report.json"
    client = ["--clients", "LiteRT.js, wasm", "--seconds", "0.02", "--out", str(report)]
    if main([*ARGUMENTS, *client]) == 2:
        pytest.skip(capsys.readouterr().err)
    facts = json.loads(report.read_text())
    assert set(facts["versions"]) == {"Chromium", "@litertjs/core"}
    rows = {row["kind"]: row for row in facts["rows"]}
    assert tuple(rows) == kinds
    assert all(row["top1_agreement"] > 0.95 for row in rows.values())
    assert all(len(row["turns"]) == 2 and row["milliseconds"] > 0 for row in rows.values())
    assert rows["TFLite float32"]["ratio"] == 1 and rows["TFLite float32"]["max_difference"] < 1e-4
    table = capsys.readouterr().out
    assert all(f"| {row['file']} | LiteRT.js, wasm |" in table for row in rows.values())


def test_missing_browser(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROME", raising=False)
    assert main(ARGUMENTS) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
