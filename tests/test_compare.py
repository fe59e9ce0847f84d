"""A comparison measures in processes, goes on where it was, and says what failed."""

import collections
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import zipfile

import matplotlib.figure
import matplotlib.image
import pytest
from regnet_command import starting

from benchmarks.compare import main
from benchmarks.comparison import contenders, running
from benchmarks.comparison import report as pages
from benchmarks.comparison.contenders import PEERS, PROJECT, Contender, Exporter, install, locate
from benchmarks.comparison.parts import LIBRARY, PARTS
from benchmarks.comparison.processes import Failure, run_worker
from benchmarks.comparison.report import draw
from benchmarks.comparison.running import Measurement, Settings, network
from benchmarks.comparison.summary import metrics_of, summarize
from regnet_tf import _cpu, complexity
from regnet_tf._errors import UserError
from regnet_tf._regimes import REGIMES

TINY = "--variant RegNetX-200MF --image-size 32 --batch-size 2 --threads 1 --seconds 0"
FAKE = pathlib.Path(__file__).parent / "fake_peer.py"
RECORDED = pathlib.Path(__file__).parents[1] / "docs" / "comparison"
MACHINES = ("epyc", "xeon_amx", "xeon_amx_training")
#: The one whose ratios README shows.
IN_README = "xeon_amx_training"
PARAMETERS = complexity("regnetx_002").parameters


def fake(name, **changes):
    made = Contender(name, FAKE, ("json",), ("numpy",), (), "not at all", LIBRARY)
    return dataclasses.replace(made, **changes)


@pytest.fixture
def fakes(monkeypatch):
    """Peers that compute nothing take everyone's place, and the picture is left empty."""
    names = ("other", "failing", "sleeping", "dying")
    monkeypatch.setattr(contenders, "PROJECT", fake("same"))
    monkeypatch.setattr(contenders, "PEERS", {name: fake(name) for name in names})
    monkeypatch.setattr(pages, "draw", lambda _: matplotlib.figure.Figure((1, 1)))


@pytest.fixture
def compare(tmp_path, capsys):
    """Runs the command with words of a text: status, report, and what it printed."""

    def run(text):
        out = tmp_path / "out"
        places = ["--out", str(out), "--environments", str(tmp_path / "environments")]
        status = main([*TINY.split(), *text.split(), *places])
        file = out / "comparison.json"
        report = json.loads(file.read_text()) if file.exists() else None
        return status, report, capsys.readouterr()

    run.out = tmp_path / "out"
    return run


@pytest.fixture
def shell(monkeypatch):
    """No variables of oneDNN; the command sets one for itself when it starts."""
    for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(starting, "start_tensorflow", lambda: os.environ.update(REGIMES["avx2"]))
    yield monkeypatch
    for name in REGIMES["avx2"]:
        os.environ.pop(name, None)  # before monkeypatch puts back what there was


def results_of(compare):
    return [json.loads(line) for line in (compare.out / "results.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_this_project_in_real_processes(compare, monkeypatch):
    status, report, printed = compare("--peers litert --repeats 1")
    assert status == 0, printed.err
    assert report["settings"]["parts"] == list(PARTS)
    (result,) = report["results"]
    row, litert = result["rows"]
    assert (row["contender"], row["failed"]) == ("regnet_tf", {})
    assert row["parameters"] == result["parameters"] == PARAMETERS
    values = {key: value["median"] for key, value in row["values"].items()}
    assert all(value > 0 for value in values.values())
    assert set(values) == {
        *("import_seconds", "build_seconds", "first_step_seconds", "training", "inference"),
        *("latency_ms", "memory_mib", "saved_model_ms", "tflite_ms"),
        *("import_memory_mib", "saved_model_mib", "tflite_mib"),
    }
    assert 200 < values["import_memory_mib"] < values["memory_mib"] < 5000  # TensorFlow's library
    assert set(row["regnet_tf_is_faster_by"].values()) == {1}
    (regime,) = report["regimes"]
    assert regime["name"] == "native"
    assert regime["onednn"] == _cpu.onednn() or _cpu.onednn() == "off"  # its programs switch it on
    assert (litert["failed"], litert["parameters"]) == ({}, PARAMETERS)
    assert set(litert["regnet_tf_is_faster_by"]) == {"inference", "latency_ms"}
    assert litert["values"]["latency_ms"]["median"] < 2 * values["tflite_ms"]  # the same file
    folder, file = compare.out / "exported", "tflite/*_float32.tflite"
    assert len(list(folder.glob(f"litert-*/{file}"))) == 2  # of each batch
    (file,) = folder.glob(f"regnet_tf-regnetx_002-tflite-*/{file}")
    assert file.stat().st_size > 0.98 * 4 * PARAMETERS  # normalization is folded into kernels
    assert values["tflite_mib"] == litert["values"]["file_mib"]["median"]
    assert values["tflite_mib"] == file.stat().st_size / 2**20 < values["saved_model_mib"]

    monkeypatch.setattr(running, "run_worker", None)  # nothing is measured twice
    assert compare("--peers litert --repeats 1")[:2] == (status, report)


def test_files_for_people(compare, fakes, shell, monkeypatch):
    monkeypatch.setattr(pages, "draw", draw)
    status, report, printed = compare("--repeats 2 --peers other")
    assert status == 0
    page = (compare.out / "comparison.md").read_text()
    assert page in printed.out and str(compare.out / "comparison.png") in printed.out
    row = (
        "| RegNetX-200MF | native | same | 2,684,792 | 1.0 | 50 | 2.0 | 3.0 | 4.0 | 8.0 | 125.0"
        " | 100 |"
    )
    assert row in page
    report["results"][0]["rows"][0]["values"]["training"].update(median=4.26, min=4.2, max=4.34)
    assert "| 3.0 | 4.3 (4.2 to 4.3) | 8.0 |" in pages.markdown(report)
    assert "| other | 1,234 [1] |" in page
    assert "- [1] not the same network: RegNetX-200MF has 2,684,792" in page
    assert "| RegNetX-200MF | native | other | 1.00 | 1.00 | 1.00 |" in page
    assert "| native | none | on |" in page
    assert report["machine"]["processor"] in page
    assert f"1 threads of {report['machine']['cores']} cores" in page
    picture = matplotlib.image.imread(compare.out / "comparison.png")
    assert picture.ndim == 3 and picture.shape[1] > picture.shape[0] > 100
    assert picture[..., :3].std() > 0.05


def test_pages_are_written_anew(compare, fakes, monkeypatch):
    compare("--peers --part training --repeats 1")
    files = [compare.out / name for name in ("comparison.md", "comparison.png")]
    written = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    monkeypatch.setattr(running, "run_worker", None)
    status, _, printed = compare("--report-only")
    assert status == 0 and str(files[0]) in printed.out
    assert [file.read_bytes() for file in files] == written


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": {}}'])
def test_pages_of_another_file(tmp_path, capsys, content):
    words = ["--report-only", "--out", str(tmp_path)]
    assert main(words) == 2
    assert "is missing; --report-only writes the pages from it" in capsys.readouterr().err
    file = tmp_path / "comparison.json"
    file.write_text(content)
    assert main(words) == 2
    assert "is not what this version of the command writes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


def test_contenders_take_turns(compare, fakes):
    compare("--repeats 2 --peers other --part inference training --regime native off native")
    order = [(r["turn"], r["regime"], r["part"], r["contender"]) for r in results_of(compare)]
    assert order == [
        (turn, regime, part, name)
        for turn in (1, 2)
        for regime in ("native", "off")
        for part in ("training", "inference")
        for name in ("same", "other")
    ]


def test_parts_that_a_contender_has(compare, fakes, monkeypatch):
    only = fake("other", parts=("latency",))
    monkeypatch.setattr(contenders, "PEERS", {"other": only})
    status, report, printed = compare("--repeats 1 --part training latency")
    assert status == 0
    row = report["results"][0]["rows"][1]
    assert (set(row["regnet_tf_is_faster_by"]), row["failed"]) == ({"latency_ms"}, {})
    assert "| other | 1,234 [1] | 1.0 | 50 | 2.0 | - | - | 125.0 | - |" in printed.out


def test_one_image_where_a_part_takes_no_batch(compare, fakes):
    words = "--peers --repeats 1 --part training inference latency --batch-size"
    compare(f"{words} 2")
    sizes = {r["part"]: r["facts"]["batch_size"] for r in results_of(compare)}
    assert sizes == {"training": 2, "inference": 2, "latency": 1}
    compare(f"{words} 3")
    assert len(results_of(compare)) == 5  # the latency is the same


def variables_of(compare, contender):
    return {
        r["regime"]: r["facts"]["variables"]
        for r in results_of(compare)
        if r["contender"] == contender
    }


def test_regimes_set_variables(compare, fakes, shell):
    shell.setattr(contenders, "PROJECT", fake("same", variables=PROJECT.variables))
    words = "--peers other --part latency --repeats 1 --regime native avx2 off off_avx2"
    status, report, printed = compare(words)
    assert status == 0
    assert variables_of(compare, "other") == REGIMES
    on = {"TF_ENABLE_ONEDNN_OPTS": "1"}
    assert variables_of(compare, "same") == {**REGIMES, "native": on}
    assert [(r["name"], r["onednn"]) for r in report["regimes"]] == [
        ("native", "avx2"),  # as the fake says it
        ("avx2", "avx2"),
        ("off", "off"),
        ("off_avx2", "off"),
    ]
    assert [result["regime"] for result in report["results"]] == list(REGIMES)
    variables = "TF_ENABLE_ONEDNN_OPTS=1 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2"
    assert f"| avx2 | {variables} | avx2 |" in printed.out
    assert "| RegNetX-200MF | off | other | 1.00 |" in printed.out


def test_variables_of_the_user_are_native(compare, fakes, shell):
    shell.setattr(contenders, "PROJECT", fake("same", variables=PROJECT.variables))
    set_before = {"TF_ENABLE_ONEDNN_OPTS": "0", "DNNL_MAX_CPU_ISA": "SSE41"}
    for name, value in set_before.items():
        shell.setenv(name, value)
    compare("--peers other --part latency --repeats 1 --regime native avx2")
    for name in ("same", "other"):
        found = variables_of(compare, name)
        assert found == {"native": set_before, "avx2": {**set_before, **REGIMES["avx2"]}}


def test_a_runtime_runs_what_another_exports(compare, fakes, monkeypatch):
    runtime = fake(
        "runtime", parts=("inference", "latency"), source=Exporter(FAKE, "other", "fake")
    )
    failing = fake("broken", parts=("latency",), source=Exporter(FAKE, "other", "nothing"))
    monkeypatch.setattr(contenders, "PEERS", {"runtime": runtime, "broken": failing})
    words = "--repeats 2 --regime native off"
    status, report, printed = compare(words)
    assert status == 0
    found = [r for r in results_of(compare) if r["contender"] == "runtime"]
    exports = [r for r in found if r["part"] == "export"]
    assert [r["settings"]["batch_size"] for r in exports] == [2, 1]  # once in all turns and regimes
    ran = {(r["part"], *r["facts"]["ran"]) for r in found if r["part"] != "export"}
    assert ran == {("inference", "of_other", "2"), ("latency", "of_other", "1")}
    for result in report["results"]:
        _, row, broken = result["rows"]
        assert (row["parameters"], row["failed"]) == (7, {})
        assert len(row["values"]["latency_ms"]["turns"]) == 2
        assert (broken["failed"], broken["values"]) == ({"latency": "no such form"}, {})
    assert printed.err.count("no such form") == 1

    shutil.rmtree(compare.out / "exported")
    compare(f"{words} --repeats 3")
    exports = [r for r in results_of(compare) if r["part"] == "export"]
    assert len(exports) == 5  # both files again, as they are needed


def test_what_fails_is_noted_and_left(compare, fakes):
    words = "--part training --repeats 2 --peers other failing dying"
    status, report, _ = compare(words)
    assert status == 0
    rows = {row["contender"]: row for row in report["results"][0]["rows"]}
    assert rows["failing"]["failed"] == {"training": "ValueError: it fails"}
    assert rows["dying"]["failed"] == {"training": "ended with status 3"}
    assert len(rows["same"]["values"]["training"]["turns"]) == 2
    results = results_of(compare)
    assert [r["contender"] for r in results if r["turn"] == 2] == ["same", "other"]
    assert [r["log"] for r in results if r["contender"] == "failing"] == ["what it said\n"]

    compare(words)
    assert len(results_of(compare)) == len(results)
    compare(f"{words} --retry-failed --peers failing")
    assert len(results_of(compare)) == len(results) + 1

    status, report, printed = compare("--part training --repeats 1 --peers sleeping --timeout 1")
    row = report["results"][0]["rows"][1]
    assert (status, row["failed"]) == (0, {"training": "took longer than 1 s"})
    assert "sleeping, training: took longer than 1 s" in printed.out


def test_other_settings_are_measured_beside(compare, fakes):
    for size in (32, 64, 32):
        report = compare(f"--peers --part training --repeats 1 --image-size {size}")[1]
        assert report["settings"]["image_size"] == size
    assert len(results_of(compare)) == 2


def test_an_export_that_fails(compare, fakes, monkeypatch):
    peer = fake("other", parts=PARTS)
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
        ("--variant resnet", "`--variant` must be a known RegNet"),
        ("--peers other", "other is not installed; python -m benchmarks.compare --install"),
        ("--peers extra", "extra is not installed; pip install 'regnet_tf[export]' installs it"),
    ],
)
def test_errors_come_before_any_work(compare, fakes, monkeypatch, arguments, message):
    extra = fake("extra", modules=("no_such",))
    other = dataclasses.replace(extra, name="other", requirements=("no-such",))
    monkeypatch.setattr(contenders, "PEERS", {"other": other, "extra": extra})
    status, report, printed = compare(arguments)
    assert (status, report) == (2, None)
    assert message in printed.err
    assert not compare.out.exists()


@pytest.mark.parametrize(
    "arguments",
    ["--peers nobody", "--install nobody", "--install litert", "--part nothing", "--regime none"],
)
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


@pytest.mark.program
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
    assert locate(good, tmp_path / "elsewhere", os.environ) is None

    (tmp_path / "environments" / "other").rename(tmp_path / "environments" / "failing")
    with pytest.raises(UserError, match=r"failing could not be installed: ERROR: .*none\.whl"):
        install(bad, tmp_path / "environments", os.environ)


@pytest.mark.slow
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
                "import_memory_mib": 0.0,
                "step_seconds": seconds[one.contender.name][turn - 1],
            },
        }
        for turn in (1, 2, 3)
        for one in installed
    ]
    (result,) = summarize(results, ["regnetx_002"], ["native"], installed)
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
        dataclasses.replace(one, regime="off"),
        dataclasses.replace(one, installed=newer),
        dataclasses.replace(one, settings=dataclasses.replace(settings, threads=2)),
    ]
    assert len({one.identity, *(other.identity for other in others)}) == 5


def recorded_run(machine):
    return json.loads((RECORDED / machine / "comparison.json").read_text())


@pytest.mark.parametrize("machine", MACHINES)
def test_recorded_runs(machine):
    recorded = recorded_run(machine)
    variants = {result["variant"]: None for result in recorded["results"]}
    assert {"regnetx_004", "regnety_016"} <= variants.keys()
    assert (RECORDED / machine / "comparison.md").read_text() == pages.markdown(recorded)
    assert set(recorded["settings"]["parts"]) <= set(PARTS)
    regimes = [regime["name"] for regime in recorded["regimes"]]
    assert [(one["variant"], one["regime"]) for one in recorded["results"]] == [
        (variant, regime) for variant in variants for regime in regimes
    ]


def test_the_readme_shows_a_recorded_run():
    """How many times as fast as tuned PyTorch, by network and regime."""
    readme = (RECORDED.parents[1] / "README.md").read_text()
    cells = collections.defaultdict(list)
    for result in recorded_run(IN_README)["results"]:
        (row,) = [row for row in result["rows"] if row["contender"] == "timm_tuned"]
        faster = row["regnet_tf_is_faster_by"]
        cells[result["name"]] += [f"{faster[part]:.2f}" for part in ("training", "inference")]
    assert len(cells) == 4
    for name, ratios in cells.items():
        assert len(ratios) == 6 and f"| {name} | {' | '.join(ratios)} |" in readme


def _run(worker, peer, part, variant="regnety_002", **more):
    """A measurement in the running Python, as the command asks for it."""
    request = {
        "peer": peer,
        "part": part,
        "network": network(variant),
        **dataclasses.asdict(Settings(batch_size=2, image_size=32, threads=1, seconds=0)),
        **more,
    }
    variables = contenders.environment(os.environ, own=False)
    return run_worker(sys.executable, worker, request, 300, variables)


def _run_peer(name, part, **more):
    return _run(PEERS[name].worker, name, part, **more)


def _skip_without(modules):
    for module in modules:  # not imported: torchvision may be there, and not fit
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.mark.parametrize("name", ["timm", "timm_tuned", "torchvision", "transformers"])
def test_peers_in_torch_have_the_same_network(name):
    _skip_without(PEERS[name].modules)
    facts = _run_peer(name, "training")
    assert facts["parameters"] == complexity("regnety_002").parameters
    assert facts["step_seconds"] > 0 and facts["memory_mib"] > 50


@pytest.mark.slow
def test_a_peer_that_compiles(monkeypatch):
    _skip_without(PEERS["timm_compiled"].modules)
    monkeypatch.setenv("CXX", "no_such_compiler")
    with pytest.raises(Failure, match="No working C\\+\\+ compiler found"):
        _run_peer("timm_compiled", "latency")
    monkeypatch.delenv("CXX")
    if shutil.which("g++") is None:
        pytest.skip("there is no compiler")
    facts = _run_peer("timm_compiled", "latency")
    assert facts["parameters"] == complexity("regnety_002").parameters
    assert facts["first_seconds"] > facts["step_seconds"]


def test_a_network_that_a_peer_does_not_have():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    with pytest.raises(Failure, match="transformers has no regnety_040_sgn"):
        _run_peer("transformers", "training", variant="regnety_040_sgn")


@pytest.mark.parametrize("name", ["kimm", "tf_keras"])
def test_peers_in_keras_have_the_same_network(name):
    pytest.importorskip(name)
    facts = _run_peer(name, "inference")
    assert facts["parameters"] == complexity("regnety_002").parameters


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_of_onnx(name, tmp_path):
    helper = pytest.importorskip("onnx").helper
    _skip_without([name])
    path = tmp_path / "network.onnx"
    shapes = {"images": ["batch", 3, 32, 32], "means": ["batch", 3, 1, 1]}
    source, target = (helper.make_tensor_value_info(key, 1, shape) for key, shape in shapes.items())
    node = helper.make_node("GlobalAveragePool", ["images"], ["means"])
    graph = helper.make_graph([node], "network", [source], [target])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    path.write_bytes(model.SerializeToString())
    for part, batch_size in (("inference", 2), ("latency", 1)):
        facts = _run_peer(name, part, batch_size=batch_size, file=str(path), signature=None)
        assert facts["step_seconds"] > 0 and "parameters" not in facts


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_network_as_an_onnx_file(name, tmp_path):
    _skip_without(PEERS[name].modules)
    exporter = PEERS[name].exporter("inference")
    more = {"form": exporter.form, "folder": str(tmp_path)}
    exported = _run(exporter.worker, exporter.peer, "export", **more)
    assert exported["parameters"] == complexity("regnety_002").parameters
    more = {key: exported[key] for key in ("file", "signature")}
    assert _run_peer(name, "inference", batch_size=3, **more)["step_seconds"] > 0


def test_every_worker_is_there():
    assert all(one.worker.is_file() for one in (PROJECT, *PEERS.values()))


@pytest.mark.parametrize("machine", MACHINES)
def test_picture_has_every_number(machine):
    report = recorded_run(machine)
    regimes = [regime["name"] for regime in report["regimes"]]
    rows = {(result["name"], result["regime"]): result["rows"] for result in report["results"]}
    blocks = draw(report).subfigs
    assert [block.get_suptitle() for block in blocks] == list(dict.fromkeys(n for n, _ in rows))
    for block in blocks:
        assert [text.get_text() for text in block.legends[0].get_texts()] == regimes
        for metric, axes in zip(metrics_of(report["results"]), block.axes, strict=False):
            assert axes.get_title().startswith(metric.heading)
            for line, regime in zip(axes.lines, regimes, strict=True):
                values = [
                    row["values"].get(metric.key) for row in rows[block.get_suptitle(), regime]
                ]
                expected = {row: value["median"] for row, value in enumerate(values) if value}
                drawn = zip(map(round, line.get_ydata()), line.get_xdata(), strict=True)
                assert dict(drawn) == expected
                low, high = axes.get_xlim()
                assert all(low < value < high for value in expected.values())
