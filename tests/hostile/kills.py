"""`kill -9`, then the same command again: nothing may be lost, doubled or changed."""

import csv
import functools
import io
import json
import shutil
import signal
import zipfile

import h5py
import numpy as np

from .originals import TINY_EXPORT, TINY_RUN
from .processes import Process, forked, program

_SHORT = ("--set=schedule.epochs=3", "--set=schedule.max_steps=4", "--checkpoint-steps=2")
#: Arguments of `regnet train`, by the name of the run.
RUNS = {
    "digits": ("--recipe", "digits", *_SHORT),
    "averages": (
        *("--recipe", "digits", *_SHORT, "--set=average.decay=0.9", "--set=average.steps=2"),
        *("--set=augmentation.mixup=0.4", "--set=augmentation.cutmix=1.0"),
    ),
    "segmentation": (
        *("--recipe", "segmentation_digits", "--set=schedule.epochs=2"),
        *("--set=schedule.max_steps=2", "--checkpoint-steps=1"),
    ),
}
#: Columns of `history.csv` that depend on time.
_TIMES = {"images_per_second", "input_wait"}


def scenarios(suite):
    """Yields the scenarios of this part."""
    runs = {"smoke": TINY_RUN} if suite.is_quick else RUNS
    for name, arguments in runs.items():
        yield _runs(suite, name, arguments)
    yield _sweeps(suite)
    for overwrite in (True,) if suite.is_quick else (False, True):
        yield _exports(suite, overwrite)


def _runs(suite, name, arguments):
    """Kills runs, resumes them, and compares them with an undisturbed one."""
    command = functools.partial(_command, suite, "train", *arguments, "--out")
    whole, usual = suite.originals.run, suite.originals.ended["run"]
    if not suite.is_quick:
        whole = suite.scratch(name) / "run"
        process = Process(command(whole, fork=True), whole.parent)
        usual = yield process
        if usual.outcome != "worked":
            yield suite.case(f"run {name}, undisturbed", process, usual)
            return
    facts = run_facts(whole)
    for _ in range(suite.count(2)):
        folder = suite.scratch(name)
        kills = suite.count(7)
        for number in range(kills):
            if (folder / "run" / "run.json").exists():
                break
            is_early = number < kills - 2  # a run that is resumed is shorter
            process = _killed(suite, command, folder, folder / "run", usual, is_early)
            ended = yield process
            yield _case_of_kill(suite, f"kill of run {name}", process, ended)
        yield from _again(suite, f"run {name}", command, folder)
        process = Process(command(folder / "run"), folder)
        different = differences(facts, run_facts(folder / "run"))
        outcome = "differs from an undisturbed run" if different else "ends bit for bit"
        yield suite.case(
            f"run {name}, resumed", process, usual, outcome, different, detail="\n".join(different)
        )
        shutil.rmtree(folder)


def _command(suite, *words, fork=False):
    return (forked if fork or suite.is_quick else program)(*words)


def _killed(suite, command, folder, target, usual, is_early=False):
    """Returns a process to be killed: half of them at a moment, half at a change on disk.

    Early ones are killed in the first half.
    """
    part = 0.5 if is_early else 1.0
    if suite.is_quick or suite.random.random() < 0.5:
        # The last files are written quickly, and a kill there is the worst.
        last = not is_early and suite.random.random() < 0.6
        least = max(0, usual.changes - 25) if last else 0
        at = suite.random.randrange(least, max(int(part * usual.changes), 1))
        return Process(command(target, fork=True), folder, dies_at=at)
    after = suite.random.uniform(0, part * (usual.seconds + 3))
    return Process(command(target), folder, signal=signal.SIGKILL, after=after)


def _case_of_kill(suite, what, process, ended, is_fault=False):
    """Returns the case of a kill; a fault if the process did something bad before."""
    moment = f"at {process.after:.2f} s" if process.dies_at is None else f"change {process.dies_at}"
    if ended.status == -signal.SIGKILL and not ended.trouble and not ended.left:
        return suite.case(what, process, ended, "killed", is_fault, f"kill -9 {moment}")
    early = ended.outcome == "worked"
    outcome = "ended before the kill" if early else None
    return suite.case(what, process, ended, outcome, None, f"kill -9 {moment}")


def _again(suite, what, command, folder):
    """Starts the command again, unless it had finished; a fault if it does not work at once."""
    if (folder / "run" / "run.json").exists():
        return
    process = Process(command(folder / "run"), folder)
    ended = yield process
    yield suite.case(f"{what}, the same command again", process, ended, None, ended.status != 0)


def run_facts(folder):
    """Returns what must be the same in two runs, by name: arrays, or values that compare."""
    facts = {"files": sorted(one.name for one in folder.iterdir() if one.name[0] != ".")}
    with zipfile.ZipFile(folder / "model.keras") as archive:
        facts["model.keras config"] = _config(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(
                lambda name, one: (
                    facts.update({f"model.keras {name}": one[()]})
                    if isinstance(one, h5py.Dataset)
                    else None
                )
            )
    for path in (folder / "examples.npz", *sorted(folder.glob("checkpoints/*.npz"))):
        with np.load(path) as file:
            facts |= {f"{path.name} {name}": file[name] for name in file.files if name != "about"}
    with (folder / "history.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in _TIMES} for row in csv.DictReader(file)]
        facts["history.csv"] = rows
    for path in folder.glob("*.csv"):
        if path.name != "history.csv":
            facts[path.name] = path.read_text()
    run = json.loads((folder / "run.json").read_text())
    facts |= {f"run.json {key}": run[key] for key in ("recipe", "data", "selection", "results")}
    if (folder / "pretraining").is_dir():
        inner = run_facts(folder / "pretraining")
        facts |= {f"pretraining/{name}": value for name, value in inner.items()}
    return facts


def _config(text):
    """Returns the configuration of a Keras model without the addresses of its objects."""

    def without(fields):
        fields.pop("shared_object_id", None)
        return fields

    return json.loads(text, object_hook=without)


def differences(one, other):
    """Returns the names of facts that are not the same to the last bit."""
    same = {name for name in one.keys() & other.keys() if _same(one[name], other[name])}
    return sorted((one.keys() | other.keys()) - same)


def _same(one, other):
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    return one == other


# Sweeps.


def _sweeps(suite):
    """Kills a sweep until it is done: each network has one result, as without kills."""
    words = ("sweep", "run", suite.originals.spec)
    how = ("--executor", "inline") if suite.is_quick else ("--workers", 2, "--threads", 1)
    command = functools.partial(_command, suite, *words, *how, "--out")
    usual = suite.originals.ended["sweep"]
    facts = sweep_facts(suite.originals.sweep)
    folder = suite.scratch("sweep")
    for _ in range(suite.count(12)):
        process = _killed(suite, command, folder, folder / "run", usual)
        ended = yield process
        yield _case_of_kill(suite, "kill of a sweep", process, ended)
    process = Process(command(folder / "run"), folder)
    ended = yield process
    yield suite.case("sweep, the same command again", process, ended, None, ended.status != 0)
    found = sweep_facts(folder / "run")
    outcome = "nothing lost, nothing doubled" if found == facts else "other results"
    yield suite.case("sweep, resumed", process, ended, outcome, found != facts, detail=str(found))


def sweep_facts(folder):
    """Returns the identity and the errors of each result, sorted; doubled ones twice."""
    path = folder / "results.jsonl"
    results = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sorted((one["identity"], one["status"], str(one["test_errors"])) for one in results)


# Exports.


def _exports(suite, overwrite):
    """Kills exports of a second version, or over the first: the export there is always whole."""
    what = "export over a version" if overwrite else "export of a version"
    options = ("--version", 1, "--overwrite") if overwrite else ()
    words = ("export", suite.originals.run, *TINY_EXPORT, *options)
    command = functools.partial(_command, suite, *words, "--out")
    usual = suite.originals.ended["export"]
    for _ in range(suite.count(8)):
        folder = suite.scratch("export")
        target = suite.originals.copy(folder, "export")
        process = _killed(suite, command, folder, target, usual)
        ended = yield process
        yield _case_of_kill(suite, f"kill of an {what}", process, ended)
        moment = process.after if process.dies_at is None else f"change {process.dies_at}"
        how = f"after {process.text}, kill -9 at {moment}"
        half = half_versions(suite.originals.export, target)
        outcome = "a half version" if half else "only whole versions"
        what_then = f"versions after a kill of an {what}"
        yield suite.case(what_then, process, ended, outcome, half, detail=str(half))
        check = Process(forked("verify", target), folder)
        verified = yield check
        outcome = "all is well" if verified.status == 0 else verified.outcome
        what_then = f"verify after a kill of an {what}"
        yield suite.case(what_then, check, verified, outcome, verified.status != 0, how)
        if not suite.is_quick:
            yield from _exported_again(suite, what, Process(command(target, fork=True), folder))
        shutil.rmtree(folder)


def _exported_again(suite, what, process):
    """Repeats an export that was killed: it works, and nothing is left over."""
    ended = yield process
    left = [str(one) for one in process.folder.rglob(".partial*")] if ended.status == 0 else []
    outcome = "left-over files" if left else None
    yield suite.case(
        *(f"{what}, the same command again", process, ended, outcome, left or ended.status != 0),
        detail="\n".join(left) or None,
    )


def half_versions(whole, folder):
    """Returns the names of versions that a server would find without all files."""
    wanted = _files(whole / "serving" / "tiny" / "1")
    found = [one for one in (folder / "serving" / "tiny").iterdir() if one.name.isdecimal()]
    return [one.name for one in found if not wanted <= _files(one)] or ([] if found else ["none"])


def _files(version):
    return {
        str(one.relative_to(version))
        for one in version.rglob("*")
        if one.is_file() and one.stat().st_size
    }
