"""Damaged files of every kind: refused in one line, seen by nobody, or worse."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .damages import damaged
from .kills import run_facts
from .originals import HAS_TORCH, TINY_RUN
from .processes import Process, forked, job

#: Subjects of the least scale.
_QUICK = (
    *(".npz", "network and examples of a run", "results of a population"),
    *("manifest, report and checks", "images", "labels.csv"),
)


class Subject(NamedTuple):
    """Files to damage, and how they are read afterwards.

    Attributes:
        original: attribute of `Originals`: the folder they are in.
        files: shell-style patterns in the folder.
        reader: function from the folder to the command that reads them.
        usual: number of cases at scale 1.
        is_checked: whether the format, or the project, has checksums. Then other numbers without a
            word are a fault.
        grows: whether programs add lines to the files: cut off, they are what they once were.
    """

    original: str
    files: tuple[str, ...]
    reader: Callable[[Path], Callable]
    usual: int
    is_checked: bool
    grows: bool = False


def scenarios(suite):
    """Yields the scenarios of this part."""
    subjects = _subjects()
    if suite.is_quick:
        subjects = {what: subjects[what] for what in _QUICK}
    for what, subject in subjects.items():
        batches = max(1, suite.count(subject.usual) // 50)
        for _ in range(batches):  # several at a time
            yield _cases(suite, what, subject, suite.count(subject.usual) // batches)
    if not suite.is_quick:
        yield _resumed(suite)


def _subjects():
    """Returns the subjects by their names in the table."""
    found = {
        f".{suffix}": Subject(
            "weights", (f"model.{suffix}",), _weights_reader(suffix), 120, checked
        )
        for suffix, checked in {
            "safetensors": False,
            "npz": True,
            "keras": True,
            "weights.h5": False,
            **({"pth": True} if HAS_TORCH else {}),
        }.items()
    }
    found["network and examples of a run"] = Subject(
        "run", ("model.keras", "examples.npz", "run.json"), _reads(_source), 150, True
    )
    found["recipe.json"] = Subject("run", ("recipe.json",), _trains_on, 10, False)
    found["results of a population"] = Subject(
        "sweep", ("results.jsonl",), _reads(_population), 150, True, grows=True
    )
    found["spec.json"] = Subject("sweep", ("spec.json",), _reads(_population), 60, False)
    found["files of an export"] = Subject("export", ("**/*",), _verifies, 60, True)
    found["manifest, report and checks"] = Subject(
        "export", ("manifest.json", "report.json", "checks.npz"), _verifies, 60, True
    )
    found[".tflite alone"] = Subject(
        "export",
        ("tflite/tiny_float32.tflite",),
        _predicts("tflite/tiny_float32.tflite"),
        120,
        False,
    )
    for what, name in {".onnx alone": "net.onnx", "OpenVINO IR alone": "net.xml"}.items():
        files = (name, "net.bin") if name == "net.xml" else (name,)
        found[what] = Subject("files", files, _predicts(name), 120, False)
    found["SavedModel alone"] = Subject(
        "export", ("serving/tiny/1/**/*",), _predicts("serving/tiny/1"), 60, False
    )
    found["images"] = Subject("photos", ("*/*.*",), _reads(_crops), 250, False)
    found["labels.csv"] = Subject("photos", ("labels.csv",), _reads(_table), 60, False)
    return found


def _cases(suite, what, subject, count):
    """Damages one file after the other in a copy of a folder."""
    whole = getattr(suite.originals, subject.original)
    folder = suite.scratch("damage")
    copy = shutil.copytree(whole, folder / whole.name)
    process = Process(subject.reader(copy), folder)
    usual = yield process
    if usual.outcome != "worked":
        yield suite.case(what, process, usual, "undamaged: " + usual.outcome, True)
        return
    names = sorted(
        {
            one.relative_to(whole)
            for pattern in subject.files
            for one in whole.glob(pattern)
            if one.is_file() and one.stat().st_size and not one.name.startswith(".")
        }
    )
    for _ in range(count):
        name = suite.random.choice(names)
        content = (whole / name).read_bytes()
        other = (whole / suite.random.choice(names)).read_bytes()
        kind, changed = damaged(content, other, suite.random)
        (copy / name).write_bytes(changed)
        ended = yield process
        outcome, is_fault = ended.outcome, ended.is_bad
        if ended.status == 0 and not is_fault:
            is_same = ended.out == usual.out
            outcome = "same numbers" if is_same else "other numbers"
            if subject.grows and content.startswith(changed[: changed.rfind(b"\n") + 1]):
                outcome, is_same = "an earlier state", True  # as if killed within the last line
            is_fault = not is_same and subject.is_checked
        if is_fault:
            kept = (
                suite.folder.parent.parent
                / "faults"
                / f"{suite.random.getrandbits(32):08x}-{name.name}"
            )
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(changed)
            kind = f"{kind}, kept as {kept}"
        yield suite.case(what, process, ended, outcome, is_fault, f"{name} {kind}")
        shutil.rmtree(copy)  # what was read may have written
        shutil.copytree(whole, copy)


def _reads(function):
    """Returns a reader that prints the digest of what a function returns for the folder."""
    return lambda folder: job(_print_digest, function, folder)


def _print_digest(function, *arguments):
    print(digest(function(*arguments)))


def digest(value) -> str:
    """Returns a checksum of arrays and texts, in any lists and dicts."""
    found = hashlib.sha256()

    def add(one):
        if isinstance(one, dict):
            one = sorted(one.items())
        if isinstance(one, (list, tuple)):
            for each in one:
                add(each)
        elif isinstance(one, np.ndarray):
            found.update(f"{one.dtype}{one.shape}".encode() + one.tobytes())
        else:
            found.update(repr(one).encode())

    add(value)
    return found.hexdigest()


def _weights_reader(suffix):
    def weights(folder):
        import regnet_tf
        from training.recipes import get_recipe

        path = folder / f"model.{suffix}"
        config = get_recipe("smoke").network.config
        model = regnet_tf.build_regnet(config, classes=10, input_shape=(32, 32, 3), weights=path)
        return model.get_weights()

    return _reads(weights)


def _source(folder):
    """What an export, an evaluation and a fine-tuning take from the folder of a run."""
    from export.source import load_source

    source = load_source(folder)
    examples = source.examples
    return [
        source.model.get_weights(),
        source.labels,
        source.accuracy,
        source.preprocessing.to_dict(),
        *([] if examples is None else [examples.calibration, examples.test, examples.test_labels]),
    ]


def _population(folder):
    from training.sweep.populations import read_populations

    (found,) = read_populations([folder])
    configs = [config.to_dict() for config in found.configs]
    return [found.name, configs, found.errors, found.costs, found.failed]


def _verifies(folder):
    return forked("verify", folder)


def _predicts(name):
    def scores(path):
        from regnet_tf._opening import open_predictor

        predictor = open_predictor(path)
        images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), "uint8")
        return [predictor.scores(images), predictor.class_names, repr(predictor.preprocessing)]

    return lambda folder: job(_print_digest, scores, folder / name)


def _crops(folder):
    import regnet_tf

    preprocessing = regnet_tf.Preprocessing(image_size=16)
    paths = sorted(one for one in folder.glob("*/*.*"))
    return [np.asarray(preprocessing.from_file(str(path))) for path in paths]


def _table(folder):
    from training.data import load

    data = load(folder / "labels.csv")
    return [data.class_names, *((one.paths, one.labels) for one in (data.train, data.test) if one)]


def _trains_on(folder):
    return forked("train", *TINY_RUN, "--set=schedule.epochs=4", "--out", folder)


def _resumed(suite):
    """Damages checkpoints of a run that is not done: it must end as an undisturbed one."""
    what = "checkpoints of a run that goes on"
    facts = run_facts(suite.originals.run)
    for _ in range(suite.count(10)):
        folder = suite.scratch("resumed")
        run = suite.originals.copy(folder, "run")
        (run / "run.json").unlink()
        *_, path = sorted((run / "checkpoints").iterdir())
        kind, changed = damaged(path.read_bytes(), b"", suite.random)
        path.write_bytes(changed)
        process = Process(forked("train", *TINY_RUN, "--out", run), folder)
        ended = yield process
        outcome, is_fault = ended.outcome, ended.is_bad
        if ended.status == 0:
            same = digest(run_facts(run)) == digest(facts)
            outcome, is_fault = ("same numbers", False) if same else ("other numbers", True)
        yield suite.case(what, process, ended, outcome, is_fault, f"{path.name} {kind}")
        shutil.rmtree(folder)
