"""Populations: what is asked for, killed and resumed runs, workers that die."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import dying_worker
import numpy as np
import pytest
from populations import TINY
from regnet_command.workers import Worker
from waiting import wait_for

from regnet_tf import RegNetConfig, complexity
from regnet_tf._errors import UserError
from regnet_tf._locking import FILE, writing_to
from training.sweep import built_in, executors, running
from training.sweep.command import main
from training.sweep.network import result_of, train_network
from training.sweep.results import claim, population_results
from training.sweep.running import run, tasks_of
from training.sweep.specification import Specification, load_specification

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def tiny():
    return Specification.from_dict(TINY)


@pytest.fixture
def tiny_file(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


def pretended(tasks, workers, address):
    """An executor that trains nothing; every second network fails."""
    for number, task in enumerate(tasks):
        yield result_of(task, [0.5, 0.25], "ValueError: no" if number % 2 else None, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count"),
        ({"count": 10**19}, "`count` must be an integer of at least 1 and at most 100,000."),
        ({"count": 10**400}, "`count` must be an integer of at least 1 and at most 100,000."),
        ({"count": 1e31}, "`count` must be an integer"),
        ({"seed": 10**31}, "`seed` must be an integer"),
        ({"window": {"flops": [0, 10**400]}}, "`flops` must be a finite number"),
        ({"window": {"flops": [0, float("nan")]}}, "`flops` must be a finite number"),
        ({"space": {**TINY["space"], "stages": 10**9}}, "`stages` must be an integer"),
        ({"space": {**TINY["space"], "width_multipliers": [2, 1e9]}}, "at most 100."),
        ({"space": {"name": "RegNetX", "name\n": 1}}, "'name\\n'"),
        (
            {"recipe": {"name": "digits", "schedule.learning_rate": 10**400}},
            "`schedule.learning_rate` must be a finite number above 0. Received: "
            "schedule.learning_rate=an integer of 1,329 bits",
        ),
        ({"colour": 1}, "colour"),
        ({"window": {"flop": [1, 2]}}, "window"),
        ({"space": {"name": "RegNetZ"}}, "space.name"),
        ({"space": {"name": "RegNetX", "depth": 3}}, "Received: depth. Nearest: depths"),
        ({"space": {**TINY["space"], "depths": [20]}}, "for a single value, give it twice"),
        ({"recipe": {"name": "digit"}}, "recipe.name"),
        (
            {"recipe": {"name": "digits", "schedule.epoch": 3}},
            "`schedule.epoch` is no field of a recipe. Nearest: schedule.epochs",
        ),
        (  # as before recipes had parts
            {"recipe": {"name": "digits", "epochs": 3}},
            "`epochs` is no field of a recipe. Nearest: schedule.epochs.",
        ),
        ({"recipe": {"name": "digits", "schedule.epochs": 0}}, "`schedule.epochs` must be"),
        ({"recipe": {"name": "digits", "augmentation.crop_area": 1}}, "`augmentation.crop_area`"),
        ({"recipe": {"name": "digits", "seed": 3}}, "seed"),
        ({"recipe": {"name": "digits", "network.config": "regnetx_002"}}, "network.config"),
        ({"recipe": {"name": "digits", "average.decay": 0.9}}, "`average` must be None"),
        ({"recipe": {"name": "segmentation_digits"}}, "decoder"),
        ({"recipe": {"name": "digits", "pretraining.recipe": "digit_crops"}}, "pretraining"),
        ({"recipe": {"name": "digits", "network.freeze": "stem"}}, "network.freeze"),
        ({"recipe": {"name": "digits", "selection.patience": 3}}, "selection"),
    ],
)
def test_wrong_specifications(changes, message, tmp_path, capsys):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(TINY | changes))
    assert main(["run", str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert message in error and "wrong.json" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "a"}', "\xff", "[" * 200_000, '{"name": 1, "name": 2}']
)
def test_files_that_are_no_specification(text, tmp_path, capsys):
    path = tmp_path / "wrong.json"
    path.write_text(text, encoding="latin-1")
    assert main(["run", str(path), "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["run", str(tmp_path / "none.json"), "--dry-run"]) == 2
    assert "digits_regnetx" in capsys.readouterr().err


def test_window_without_networks(tmp_path, capsys):
    path = tmp_path / "narrow.json"
    path.write_text(json.dumps(TINY | {"window": {"flops": [1, 2]}}))
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "Found 0 of 3" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_dry_run(tiny_file, tmp_path, capsys):
    assert main(["run", str(tiny_file), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    for task in tasks_of(Specification.from_dict(TINY)):
        assert task["identity"] in text and f"{task['complexity']['flops']:,}" in text
    assert "3 networks of RegNetX" in text and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", built_in())
def test_built_in(name):
    specification = load_specification(name)
    configs = specification.sample(10)
    low, high = specification.window["flops"]
    costs = [specification.complexity(config, 10)["flops"] for config in configs]
    assert len({config.identity for config in configs}) == specification.count >= 32
    assert all(low <= cost <= high for cost in costs)
    size, channels = (28, 1) if name.startswith("fashion") else (32, 3)
    assert costs[0] == complexity(configs[0], size, classes=10, channels=channels).flops
    assert all(config in specification.design_space for config in configs)


def test_seeds_follow_from_network_and_population(tiny):
    seeds = [task["recipe"]["seed"] for task in tasks_of(tiny)]
    assert len(set(seeds)) == 3 and seeds == [task["recipe"]["seed"] for task in tasks_of(tiny)]
    config = tiny.sample(10)[0]
    other = Specification.from_dict(TINY | {"seed": 1})
    assert tiny.recipe_of(config).seed == seeds[0] != other.recipe_of(config).seed


def test_training_of_a_network(tiny):
    task = tasks_of(tiny)[0]
    result = json.loads(json.dumps(train_network(task)))
    assert result["status"] == "trained" and result["error"] is None
    # 16 test images: two batches of 8.
    assert len(result["test_errors"]) == 2
    assert all(16 * error == round(16 * error) for error in result["test_errors"])
    assert result["final_error"] == result["test_errors"][-1]
    assert result["least_error"] == min(result["test_errors"])
    assert RegNetConfig.from_dict(result["config"]).identity == task["identity"]


def test_failing_network(tiny):
    task = tasks_of(tiny)[0]
    task["recipe"]["schedule"]["learning_rate"] = 1e30
    task["recipe"]["optimizer"]["nesterov"] = False
    result = train_network(task)
    assert result["status"] == "failed" and "no longer a number" in result["error"]
    assert result["final_error"] is None and result["test_errors"] == []


def test_run_and_retry(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(running.EXECUTORS, "inline", pretended)
    said, folder = [], tmp_path / "out"
    results = run(tiny, folder, executor="inline", say=said.append)
    assert [one["status"] for one in results.values()] == ["trained", "failed", "trained"]
    assert len(said) == 3 and "3/3" in said[-1] and "best 25.00%" in said[-1]
    run(tiny, folder, executor="inline", say=said.append)
    assert len(said) == 3  # nothing was missing
    again = run(tiny, folder, executor="inline", retry_failed=True, say=said.append)
    assert [one["status"] for one in again.values()] == ["trained"] * 3 and len(said) == 5


def test_another_population_is_refused(tiny, tmp_path):
    claim(tmp_path, tiny)
    claim(tmp_path, tiny)
    with pytest.raises(ValueError, match="another population: count, seed"):
        claim(tmp_path, Specification.from_dict(TINY | {"count": 4, "seed": 9}))
    with pytest.raises(ValueError, match=r"holds 3 networks .* Received: 2"):
        claim(tmp_path, Specification.from_dict(TINY | {"count": 2}))


def test_folder_of_a_training_run_is_refused(tiny, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds a run of `regnet train`\. Give another --out\."):
        claim(tmp_path, tiny)
    assert not (tmp_path / "spec.json").exists()


def test_population_grows(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(running.EXECUTORS, "inline", pretended)
    said, folder = [], tmp_path / "out"
    few = run(tiny, folder, executor="inline", say=said.append)
    more = Specification.from_dict(TINY | {"count": 5})
    many = run(more, folder, executor="inline", say=said.append)
    assert len(few) == 3 and len(many) == 5 and list(many)[:3] == list(few)
    assert said[3] == "Resuming after 3 of 5 networks."
    assert json.loads((folder / "spec.json").read_text())["count"] == 5


def test_cut_line_and_foreign_line(tiny, tmp_path):
    results, tasks = population_results(tmp_path), tasks_of(tiny)
    with results.writing() as append:
        append(result_of(tasks[0], [0.5], None))
    whole = results.path.read_bytes()
    for end in (whole[:40], b"{", whole[:-1]):  # the last one lacks its line break alone
        results.path.write_bytes(whole + end)
        assert list(results.read()) == [tasks[0]["identity"]]
    assert list(results.read()) == [tasks[0]["identity"]]
    with results.writing() as append:
        append(result_of(tasks[1], [0.5], None))
    assert list(results.read()) == [task["identity"] for task in tasks[:2]]
    results.path.write_bytes(whole + b"[1]\n" + whole)
    with pytest.raises(ValueError, match=r"line 2, is damaged: it holds no JSON object\. Delete"):
        results.read()


def test_a_damaged_result_is_told_with_its_line(tiny, tmp_path):
    results, tasks = population_results(tmp_path), tasks_of(tiny)
    with results.writing() as append:
        for task in tasks[:2]:
            append(result_of(task, [0.5, 0.25], None, 1.0))
    whole = results.path.read_bytes()
    for old, new in (
        (b"0.25]", b"0.35]"),
        (b'"seconds"', b'"seconds\\u0000"'),
        (b'"check": "', b'"check": "0'),
    ):
        results.path.write_bytes(new.join(whole.rsplit(old, 1)))
        with pytest.raises(UserError, match=r"jsonl, line 2, is damaged: its check does not fit\."):
            results.read()
        with pytest.raises(UserError, match="line 2"), results.writing():
            pass
    results.path.write_bytes(whole)
    assert len(results.read()) == 2 and "check" not in results.read()[tasks[0]["identity"]]


def test_a_second_sweep_touches_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(running.EXECUTORS, "inline", pretended)
    with writing_to(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()} on "):
        run(tiny, tmp_path, executor="inline")
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("name", ["spec.json", "results.jsonl"])
def test_a_full_disk_is_told_and_the_sweep_goes_on_later(name, tiny, tmp_path, monkeypatch):
    """The second result is written in part."""
    monkeypatch.setitem(running.EXECUTORS, "inline", pretended)
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == {"spec.json": 1, "results.jsonl": 3}[name]:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = f"{tmp_path / name} could not be written: No space left on device."
        with pytest.raises(UserError, match=f"^{message}$"):
            run(tiny, tmp_path, executor="inline", say=lambda _: None)
    results = run(tiny, tmp_path, executor="inline", say=lambda _: None)
    assert len(results) == len(lines_of(tmp_path)) == 3


def test_results_that_are_written_in_part(tiny, tmp_path):
    """By a real limit of the system."""
    resource = pytest.importorskip("resource")
    results, tasks = population_results(tmp_path), tasks_of(tiny)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with results.writing() as append:
        append(result_of(tasks[0], [0.5], None))
        resource.setrlimit(resource.RLIMIT_FSIZE, (results.path.stat().st_size + 9, before[1]))
        try:
            with pytest.raises(UserError, match="jsonl could not be written: No space"):
                append(result_of(tasks[1], [0.5], None))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(results.read()) == [tasks[0]["identity"]]
    with results.writing() as append:
        append(result_of(tasks[1], [0.5], None))
    assert len(results.read()) == len(lines_of(tmp_path)) == 2


@pytest.mark.program
def test_workers_that_die(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "train_network", dying_worker.train)
    tasks = tasks_of(tiny)
    for task, deaths in zip(tasks, (0, 1, 2), strict=True):
        task |= {"deaths": deaths, "attempts": str(tmp_path / task["identity"])}
    results = {one["identity"]: one for one in executors.processes(tasks, 2, None)}
    assert [results[task["identity"]]["status"] for task in tasks] == ["trained"] * 2 + ["failed"]
    attempts = [len((tmp_path / task["identity"]).read_text()) for task in tasks]
    assert attempts == [1, 2, 2] and "died" in results[tasks[2]["identity"]]["error"]


def start(*arguments, **environment):
    command = [sys.executable, "-m", "training.sweep", "run", *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def lines_of(folder):
    path = folder / "results.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def check_complete(folder, tiny):
    identities = [json.loads(line)["identity"] for line in lines_of(folder)]
    assert sorted(identities) == sorted(task["identity"] for task in tasks_of(tiny))
    assert all(json.loads(line)["status"] == "trained" for line in lines_of(folder))


def descendants(pid):
    """Process id -> command of all processes under a process."""
    found, commands = {pid}, {}
    processes = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            processes.append((int(path.name), parent, (path / "cmdline").read_bytes()))
        except OSError:  # it has ended
            continue
    for _ in range(8):
        for one, parent, command in processes:
            if parent in found:
                found.add(one)
                commands[one] = command.decode(errors="replace")
    return commands


@pytest.mark.program
@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="looks for processes in /proc")
def test_kill_and_resume(tmp_path):
    pair = Specification.from_dict(TINY | {"count": 2})
    tiny_file, folder = tmp_path / "pair.json", tmp_path / "out"
    tiny_file.write_text(json.dumps(pair.to_dict()))
    process = start(tiny_file, "--out", folder, "--threads", 1)
    wait_for(lambda: lines_of(folder) or process.poll() is not None)
    workers = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert lines_of(folder)
    wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in workers))
    with open(folder / "results.jsonl", "ab") as file:
        file.write(b'{"identity": "cut')
    said = []
    run(pair, folder, executor="inline", say=said.append)
    assert "Resuming after" in said[0]
    check_complete(folder, pair)


@pytest.mark.ray
def test_on_ray_with_a_killed_worker(tiny, tiny_file, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'regnet_tf[sweep]'")
    folder = tmp_path / "out"
    options = ("--executor", "ray", "--threads", 1, "--workers", 1)
    # Ray gives its workers the lowest priority: on a busy machine they would take minutes.
    process = start(tiny_file, "--out", folder, *options, RAY_worker_niceness="0")

    def training():
        """The worker amid a network, when another one is done."""
        assert process.poll() is None, process.communicate()[0].decode()
        commands = descendants(process.pid).items()
        return lines_of(folder) and [pid for pid, name in commands if "train_network" in name]

    os.kill(wait_for(training)[0], signal.SIGKILL)
    output = process.communicate(timeout=1800)[0].decode()
    assert process.returncode == 0, output
    check_complete(folder, tiny)


def test_stopped_while_a_worker_trains(tiny_file, tmp_path, capsys, monkeypatch):
    """The signal comes when the first network has been given to a worker."""
    submit, workers = Worker.submit, set()

    def submit_and_interrupt(worker, *arguments):
        submit(worker, *arguments)
        workers.update(worker._processes)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Worker, "submit", submit_and_interrupt)
    folder = tmp_path / "out"
    assert main(["run", str(tiny_file), "--out", str(folder)]) == 130
    assert "Run the same command again to resume" in capsys.readouterr().err
    (worker,) = workers
    wait_for(lambda: not worker.is_alive())
    assert (folder / "spec.json").exists() and not lines_of(folder)


@pytest.mark.program
def test_terminated(tmp_path):
    """In a process of its own, whose networks would train for hours."""
    recipe = TINY["recipe"] | {"schedule.epochs": 100_000}
    path, folder = tmp_path / "long.json", tmp_path / "out"
    path.write_text(json.dumps(TINY | {"recipe": recipe}))
    process = start(path, "--out", folder, "--threads", 1)
    wait_for(lambda: (folder / "spec.json").exists() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=1800)[0].decode()
    assert process.returncode == 130 and "Run the same command again to resume" in output, output


def test_help(capsys):
    for arguments in (["--help"], ["run", "--help"], ["analyze", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    text = capsys.readouterr().out
    assert "digits_anynetx_a" in text and np.all([word in text for word in ("ray", "--best")])
