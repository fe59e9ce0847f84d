"""A comparison measures in processes, goes on where it was, and says what failed."""

import dataclasses
import importlib.util
import json
import pathlib
import sys
import zipfile

import matplotlib.image
import pytest

from regnet_tf import complexity
from regnet_tf._errors import UserError
from training.benchmark import main
from training.comparison import contenders, running
from training.comparison.contenders import PEERS, PROJECT, Contender, install, locate
from training.comparison.processes import Failure, run_worker
from training.comparison.report import markdown, ratios
from training.comparison.running import Measurement, Settings, network
from training.comparison.summary import summarize

TINY = "--variant RegNetX-200MF --image-size 32 --batch-size 2 --threads 1 --seconds 0"
FAKE = pathlib.Path(__file__).parent / "fake_peer.py"
RECORDED = pathlib.Path(__file__).parents[1] / "docs" / "comparison"
PARAMETERS = complexity("regnetx_002").parameters


def fake(name, **changes):
    made = Contender(name, FAKE, ("json",), ("numpy",), (), "not at all", "it has none")
    return dataclasses.replace(made, **changes)


@pytest.fixture
def fakes(monkeypatch):
    """Peers that compute nothing take everyone's place."""
    names = ("other", "failing", "sleeping", "dying")
    monkeypatch.setattr(contenders, "PROJECT", fake("same"))
    monkeypatch.setattr(contenders, "PEERS", {name: fake(name) for name in names})


@pytest.fixture
def compare(tmp_path, capsys):
    """Runs the command with words of a text: status, report, and what it printed."""

    def run(text):
        out = tmp_path / "out"
        places = ["--out", str(out), "--environments", str(tmp_path / "environments")]
        status = main(["compare", *TINY.split(), *text.split(), *places])
        file = out / "comparison.json"
        report = json.loads(file.read_text()) if file.exists() else None
        return status, report, capsys.readouterr()

    run.out = tmp_path / "out"
    return run


@pytest.mark.slow
def test_this_project_in_real_processes(compare, monkeypatch):
    command = "--peers --part tflite training --repeats 1"
    status, report, printed = compare(command)
    assert status == 0, printed.err
    assert report["settings"]["parts"] == ["training", "tflite"]
    (result,) = report["results"]
    (row,) = result["rows"]
    assert (row["contender"], row["failed"], row["no_export"]) == ("regnet_tf", {}, None)
    assert row["parameters"] == result["parameters"] == PARAMETERS
    values = {key: value["median"] for key, value in row["values"].items()}
    assert all(value > 0 for value in values.values())
    assert set(values) == {
        *("import_seconds", "build_seconds", "first_step_seconds", "training"),
        *("memory_mib", "tflite_ms"),
    }
    assert 200 < values["memory_mib"] < 5000  # TensorFlow alone is above that
    assert row["regnet_tf_is_faster_by"] == {"training": 1, "tflite_ms": 1}
    (file,) = compare.out.glob("exported/regnet_tf-regnetx_002-tflite-*/tflite/*.tflite")
    assert file.stat().st_size > 0.98 * 4 * PARAMETERS  # normalization is folded into kernels

    monkeypatch.setattr(running, "run_worker", None)  # nothing is measured twice
    assert compare(command)[:2] == (status, report)


def test_files_for_people(compare, fakes):
    status, report, printed = compare("--repeats 2 --peers other")
    assert status == 0
    page = (compare.out / "comparison.md").read_text()
    assert page in printed.out and str(compare.out / "comparison.png") in printed.out
    row = (
        "| RegNetX-200MF | same | 2,684,792 | 1.0 (1.0 to 1.0) | 2.0 (2.0 to 2.0)"
        " | 3.0 (3.0 to 3.0) | 4.0 (4.0 to 4.0) | 8.0 (8.0 to 8.0) | 100 (100 to 100)"
        " | - [1] | - [1] |"
    )
    assert row in page
    assert "| other | 1,234 [2] |" in page
    assert "- [1] it has none\n" in page
    assert "- [2] not the same network: RegNetX-200MF has 2,684,792" in page
    assert "| RegNetX-200MF | other | 1.00 | 1.00 | - | - |" in page
    assert report["machine"]["processor"] in page
    assert f"1 threads of {report['machine']['cores']} cores" in page
    picture = matplotlib.image.imread(compare.out / "comparison.png")
    assert picture.ndim == 3 and picture.shape[1] > picture.shape[0] > 100
    assert picture[..., :3].std() > 0.05


def test_contenders_take_turns(compare, fakes):
    compare("--repeats 2 --peers other --part inference training")
    lines = (compare.out / "results.jsonl").read_text().splitlines()
    order = [(r["turn"], r["part"], r["contender"]) for r in map(json.loads, lines)]
    assert order == [
        (turn, part, name)
        for turn in (1, 2)
        for part in ("training", "inference")
        for name in ("same", "other")
    ]


def test_what_fails_is_noted_and_left(compare, fakes):
    command = "--part training --repeats 2 --timeout 5"
    status, report, printed = compare(command)
    assert status == 0
    rows = {row["contender"]: row for row in report["results"][0]["rows"]}
    assert rows["failing"]["failed"] == {"training": "ValueError: it fails"}
    assert rows["sleeping"]["failed"] == {"training": "took longer than 5 s"}
    assert rows["dying"]["failed"] == {"training": "ended with status 3"}
    assert len(rows["same"]["values"]["training"]["turns"]) == 2
    assert "sleeping, training: took longer than 5 s" in printed.out
    results = [
        json.loads(line) for line in (compare.out / "results.jsonl").read_text().splitlines()
    ]
    assert [r["contender"] for r in results if r["turn"] == 2] == ["same", "other"]
    assert [r["log"] for r in results if r["contender"] == "failing"] == ["what it said\n"]

    compare(command)
    assert len((compare.out / "results.jsonl").read_text().splitlines()) == len(results)
    compare(f"{command} --retry-failed --peers failing")
    assert len((compare.out / "results.jsonl").read_text().splitlines()) == len(results) + 1


def test_other_settings_are_measured_beside(compare, fakes):
    for size in (32, 64, 32):
        report = compare(f"--peers --part training --repeats 1 --image-size {size}")[1]
        assert report["settings"]["image_size"] == size
    assert len((compare.out / "results.jsonl").read_text().splitlines()) == 2


def test_an_export_that_fails(compare, fakes, monkeypatch):
    peer = fake("other", no_export=None)
    monkeypatch.setattr(contenders, "PEERS", {"other": peer})
    status, report, printed = compare("--part tflite --repeats 2")
    assert status == 0
    assert report["results"][0]["rows"][1]["failed"] == {"tflite": "no such form"}
    assert printed.err.count("no such form") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--repeats 0", "`repeats` must be an integer of at least 1"),
        ("--threads 0", "`threads` must be"),
        ("--image-size 16", "`image_size` must be an integer of at least 32"),
        ("--timeout 0", "`timeout` must be"),
        ("--seconds nan", "`seconds` must be"),
        ("--variant resnet", "must be a known RegNet"),
        ("--peers other", "other is not installed; python -m training.benchmark compare --install"),
    ],
)
def test_errors_come_before_any_work(compare, fakes, monkeypatch, arguments, message):
    monkeypatch.setattr(contenders, "PEERS", {"other": fake("other", modules=("no_such",))})
    status, report, printed = compare(arguments)
    assert (status, report) == (2, None)
    assert message in printed.err
    assert not compare.out.exists()


@pytest.mark.parametrize("arguments", ["--peers nobody", "--install nobody", "--part nothing"])
def test_unknown_names(compare, arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        compare(arguments)
    assert exit_.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_dry_run_says_who_takes_part(compare, fakes, monkeypatch):
    absent = fake("absent", modules=("no_such",))
    monkeypatch.setattr(contenders, "PEERS", {"other": fake("other"), "absent": absent})
    status, report, printed = compare("--dry-run")
    assert (status, report) == (0, None)
    assert "other         numpy" in printed.err and "(the running Python)" in printed.err
    assert "absent        not installed" in printed.err


def test_an_environment_of_its_own(tmp_path, compare, fakes, monkeypatch):
    wheel = tmp_path / "some_peer-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some_peer.py", "")
        info = "some_peer-1.2.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-peer\nVersion: 1.2")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        archive.writestr(f"{info}/RECORD", "")
    good = fake("other", modules=("some_peer",), packages=("some-peer",))
    good = dataclasses.replace(good, requirements=(str(wheel),))
    bad = dataclasses.replace(good, name="failing", requirements=(str(tmp_path / "none.whl"),))
    monkeypatch.setattr(contenders, "PEERS", {"other": good})
    status, report, printed = compare("--install other --part training --repeats 1")
    assert status == 0, printed.err
    one = report["contenders"][1]
    assert (one["own_environment"], one["versions"]) == (True, {"some-peer": "1.2"})
    assert report["results"][0]["rows"][1]["values"]["training"]["median"] == 4
    assert locate(good, tmp_path / "elsewhere") is None

    (tmp_path / "environments" / "other").rename(tmp_path / "environments" / "failing")
    with pytest.raises(UserError, match=r"failing could not be installed: ERROR: .*none\.whl"):
        install(bad, tmp_path / "environments")


def test_the_same_library_with_other_variables(tmp_path, compare, fakes, monkeypatch):
    other = fake("other", packages=("pip",), requirements=("pip",))
    changes = {"variables": (("FAKE_MEMORY", "7"),), "same_as": "other"}
    tuned = dataclasses.replace(other, name="other_tuned", **changes)
    monkeypatch.setattr(contenders, "PEERS", {"other": other, "other_tuned": tuned})
    report = compare("--install other_tuned --part training --repeats 1")[1]
    memory = [row["values"]["memory_mib"]["median"] for row in report["results"][0]["rows"]]
    assert memory == [100, 100, 7]
    assert [one["own_environment"] for one in report["contenders"]] == [False, True, True]
    assert [folder.name for folder in (tmp_path / "environments").iterdir()] == ["other"]


def test_medians_and_ratios():
    installed = [
        contenders.Installed(fake(name), sys.executable, "3", {}, False)
        for name in ("same", "other")
    ]
    settings = Settings(batch_size=8, image_size=32, threads=1, seconds=1)
    seconds = {"same": (1.0, 2.0, 8.0), "other": (4.0, 4.0, 4.0)}
    results = [
        {
            **Measurement("regnetx_002", turn, "inference", one, settings).to_dict(),
            "status": "measured",
            "facts": {
                "parameters": PARAMETERS,
                "import_seconds": 0.0,
                "build_seconds": 0.0,
                "step_seconds": seconds[one.contender.name][turn - 1],
            },
        }
        for turn in (1, 2, 3)
        for one in installed
    ]
    (result,) = summarize(results, ["regnetx_002"], installed)
    ours, theirs = result["rows"]
    speed = ours["values"]["inference"]
    assert (speed["median"], speed["min"], speed["max"]) == (4, 1, 8)
    assert speed["turns"] == {1: 8, 2: 4, 3: 1}
    assert theirs["regnet_tf_is_faster_by"] == {"inference": 2}  # of 4, 2 and 1/2


def test_one_measurement_is_like_another_of_the_same_settings():
    settings = Settings(batch_size=8, image_size=32, threads=1, seconds=1)
    here = contenders.Installed(fake("same"), sys.executable, "3", {"numpy": "2"}, False)
    one = Measurement("regnetx_002", 1, "training", here, settings)
    elsewhere = dataclasses.replace(here, python="elsewhere", own_environment=True)
    newer = dataclasses.replace(here, versions={"numpy": "3"})
    assert one.identity == dataclasses.replace(one, installed=elsewhere).identity
    others = [
        dataclasses.replace(one, turn=2),
        dataclasses.replace(one, installed=newer),
        dataclasses.replace(one, settings=dataclasses.replace(settings, threads=2)),
    ]
    assert len({one.identity, *(other.identity for other in others)}) == 4


def recorded_run(machine):
    return json.loads((RECORDED / machine / "comparison.json").read_text())


@pytest.mark.parametrize("machine", ["epyc", "xeon"])
def test_recorded_runs(machine):
    recorded = recorded_run(machine)
    assert (RECORDED / machine / "comparison.md").read_text() == markdown(recorded)
    assert recorded["settings"]["parts"] == list(running.PARTS)
    assert {one["variant"] for one in recorded["results"]} == {"regnetx_004", "regnety_016"}


def test_the_readme_shows_a_recorded_run():
    recorded = recorded_run("epyc")
    table = ratios(recorded["results"], recorded["settings"]["parts"]).split("\n\n")[1]
    assert table in (RECORDED.parents[1] / "README.md").read_text()


def _run(contender, part, variant="regnety_002"):
    """A measurement of a peer of the running Python, as the command asks for it."""
    request = {
        "peer": contender.library,
        "part": part,
        "network": network(variant),
        **dataclasses.asdict(Settings(batch_size=2, image_size=32, threads=1, seconds=0)),
    }
    variables = contenders.environment(own=False)
    return run_worker(sys.executable, contender.worker, request, 300, variables)


@pytest.mark.parametrize("name", ["timm", "timm_tuned", "torchvision", "transformers"])
def test_peers_in_torch_have_the_same_network(name):
    for module in PEERS[name].modules:  # not imported: torchvision may be there, and not fit
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    facts = _run(PEERS[name], "training")
    assert facts["parameters"] == complexity("regnety_002").parameters
    assert facts["step_seconds"] > 0 and facts["memory_mib"] > 50


def test_a_network_that_a_peer_does_not_have():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    with pytest.raises(Failure, match="transformers has no regnety_040_sgn"):
        _run(PEERS["transformers"], "training", "regnety_040_sgn")


@pytest.mark.parametrize("name", ["kimm", "tf_keras"])
def test_peers_in_keras_have_the_same_network(name):
    pytest.importorskip(name)
    facts = _run(PEERS[name], "inference")
    assert facts["parameters"] == complexity("regnety_002").parameters


def test_every_worker_is_there():
    assert all(one.worker.is_file() for one in (PROJECT, *PEERS.values()))
