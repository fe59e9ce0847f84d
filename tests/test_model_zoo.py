"""The page of networks: up to date, and right about weights and recorded speeds."""

import json

import pytest

from benchmarks.model_zoo import PAGE, RECORDS, main, read_records
from benchmarks.model_zoo_page import page
from regnet_tf import _cpu
from training.benchmark import command as benchmark


def test_page_is_up_to_date():
    assert PAGE.read_text() == page(read_records(RECORDS)), "run `python -m benchmarks.model_zoo`"


def speed(images, ratio):
    return {
        "images_per_second": images,
        "min": images - 1,
        "max": images + 2,
        "regnet_tf_is_faster_by": ratio,
    }


def result(variant, contenders, **changes):
    """As `run_setting` of the benchmark gives it; contenders: name -> speeds by mode."""
    setting = {"batch_size": 32, "image_size": 224, "precision": "float32", "output_stride": None}
    times = {"build_seconds": 1.0, "first_step_seconds": {"train": 2.0}}
    rows = [{"name": name, **times, **speeds} for name, speeds in contenders.items()]
    return {"variant": variant, **setting, **changes, "contenders": rows}


SMALL = result(
    "regnetx_002",
    {
        "regnet_tf": {"train": speed(50.0, 1.0), "forward": speed(200.0, 1.0)},
        "timm": {"train": speed(40.0, 1.25), "forward": speed(250.0, 0.8)},
    },
)
LARGE = result("regnety_032", {"regnet_tf": {"forward": speed(20.0, 1.0)}})
MAPS = result("regnety_004", {"regnet_tf": {"train": speed(3.0, 1.0)}}, output_stride=8)


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Writes results into a folder of records, as the benchmark itself writes them."""

    def write(name, *results):
        calls = iter(results)
        monkeypatch.setattr(benchmark, "run_setting", lambda *_: next(calls))
        variants = [one["variant"] for one in results]
        monkeypatch.setattr(_cpu, "processor", lambda: "A Processor 3000")
        benchmark.main(["--variant", *variants, "--out", str(tmp_path / name)])
        return tmp_path

    return write


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def test_without_records_there_are_no_speeds(tmp_path):
    text = page(read_records(tmp_path / "missing"))
    assert "images/s" not in text and "## Speed" not in text
    assert lines(text, "| RegNetX-400MF |")[0].startswith("| RegNetX-400MF | 5.2 | 0.40 | 3.1 |")


def test_speeds(records):
    text = page(read_records(records("2030-01-31_my_machine.json", SMALL, LARGE, MAPS)))
    assert "### my machine, 2030-01-31" in text
    assert "A Processor 3000" in text and "tensorflow 2." in text and "keras 3." in text
    network, _, detail = lines(text, "| RegNetX-200MF |")
    assert network.endswith("| `regnetx_002.pycls_in1k` | 50.0 | 200.0 |")
    assert detail.endswith("| 50.0 (49.0 to 52.0) | 1.25 | 200.0 (199.0 to 202.0) | 0.80 |")
    network, _, detail = lines(text, "| RegNetY-3.2GF |")
    assert network.endswith("|  | 20.0 |")  # not trained
    assert detail == "| RegNetY-3.2GF |  |  | 20.0 (19.0 to 22.0) |  |"
    speeds = "training, images/s | times timm | inference, images/s | times timm"
    assert f"| variant | {speeds} |" in text
    assert "Feature maps of levels 2 to 5, stride 8, float32, batches of 32 images" in text
    assert lines(text, "| RegNetY-400MF |")[-1] == "| RegNetY-400MF | 3.0 (2.0 to 5.0) |"


def test_the_newest_record_of_whole_networks_stands_beside_them(records):
    records("2030-01-31_old.json", SMALL)
    records("2030-02-01_new.json", LARGE)
    text = page(read_records(records("2030-02-02_maps.json", MAPS)))
    setting = "float32, batches of 32 images of 224 pixels"
    assert f'of the record "new, 2030-02-01", {setting}: see [speed]' in text
    assert lines(text, "| RegNetX-200MF |")[0].endswith("| `regnetx_002.pycls_in1k` |  |")
    assert lines(text, "### ")[-3:] == [
        "### maps, 2030-02-02",
        "### new, 2030-02-01",
        "### old, 2030-01-31",
    ]


def test_published_weights():
    text = page([])
    link = "[`regnety_032.ra_in1k`](https://huggingface.co/timm/regnety_032.ra_in1k)"
    assert f"| {link} | [timm](https://huggingface.co/timm) | apache-2.0 | yes | 1000 | 19.4 |" in (
        text
    )
    assert lines(text, "| [`regnety_320.seer`]")[0].endswith(
        "| seer-license | no | no head | 141.3 |"
    )
    assert "| `regnety_032.ra_in1k` | timm | 288 | 288 | bicubic | 82.724 | 96.426 |" in text
    assert "| `regnetx_002.pycls_in1k` | pycls | 256 | 224 | bilinear, no antialiasing |" in text
    accuracies = "88.949 | 74.460 | 40.000 | 50.317 | 36.973"
    assert f"| `regnetz_040_h.ra3_in1k` | timm, 320 | {accuracies} |" in text
    assert "| `regnetz_040_h.ra3_in1k` | timm | 320 | 320 | bicubic | 84.498 | 97.006 |" in text
    assert lines(text, "| RegNetZ-D8 | `regnetz_d8` |  |  |  |  |  | 64, 128, 256, 384 |")


def test_the_command_writes_the_page(tmp_path, capsys):
    out = tmp_path / "zoo.md"
    assert main(["--records", str(tmp_path), "--out", str(out)]) == 0
    assert out.read_text() == page([])
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("machine.json", {"results": []}, "is not named like 2030-01-31_machine.json"),
        ("2030-01-31_a.json", [], "is not a record of `regnet benchmark`"),
        ("2030-01-31_a.json", {"processor": ""}, "is not a record"),
        ("2030-01-31_a.json", {"results": 1}, "is not a record"),
        ("2030-01-31_a.json", {"results": [{"recipe": "paper"}]}, "the speed of a recipe"),
    ],
)
def test_errors_are_one_line(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_text(json.dumps(content))
    assert main(["--records", str(tmp_path), "--out", str(tmp_path / "zoo.md")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "zoo.md").exists()
