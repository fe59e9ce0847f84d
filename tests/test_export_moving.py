"""How a finished export is moved into place: killed at any point, it is whole the next time."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from export import exporting, manifest, moving, serving, verify
from regnet_tf._errors import UserError

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tensorflow_serving")


class Source:
    """As much of an `export.source.Source` as `exporting.export` itself looks at."""

    name, examples, fingerprint = "net", None, "0" * 64


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Instead of networks, exports hold files with a word. `build.word` is the next one's."""

    def build(_, folder, version, *others):
        saved_model = folder / "serving" / "net" / str(version)
        (saved_model / "variables").mkdir(parents=True)
        (folder / "tflite").mkdir()
        files = ["saved_model.pb", f"variables/{build.word}"]
        for path in (*(saved_model / file for file in files), folder / "tflite" / build.word):
            path.write_text(build.word)
        for name in exporting.FILES.keys() - {"manifest.json"}:
            (folder / name).write_text(build.word)

    build.word = "old"
    monkeypatch.setattr(exporting, "_build", build)
    return build


def export(out, **options):
    return exporting.export(Source, out, ("saved_model", "tflite"), say=lambda _: None, **options)


def words(folder):
    """The words in the files of a folder, and their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.read_text() for path in files}, {path.name for path in files}


def version(out, number):
    """The word of a version that is whole."""
    folder = out / "serving" / "net" / str(number)
    (word,), names = words(folder)
    assert names == {"saved_model.pb", word}, names
    return word


class Killed(BaseException):
    """The end of a process."""


@contextlib.contextmanager
def killed_before(monkeypatch, count):
    """A context that ends before the `count`-th change of a file or folder, as by `kill -9`.

    What a block would do afterwards changes nothing: a killed process does not clean up.
    """
    changes = iter(range(count))

    def counted(function):
        def change(*arguments, **options):
            if next(changes, None) is None:
                raise Killed
            return function(*arguments, **options)

        return change

    def opened(file, mode="r", *others, **options):
        function = really_open if set(mode) <= set("rbt") else counted(really_open)
        return function(file, mode, *others, **options)

    really_open = io.open
    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "rmdir", "unlink"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(io, "open", opened)
        patch.setattr(moving, "_exchange", counted(moving._exchange))
        with contextlib.suppress(Killed):
            yield
    assert next(changes, None) is None, "it ended before"


def kill_everywhere(monkeypatch, small, tmp_path, check, **options):
    """Calls `check(out)` after each point at which a second export may be killed."""
    first, small.word = tmp_path / "first", "old"
    export(first)
    for count in range(100):
        out, small.word, done = tmp_path / str(count), "new", False
        shutil.copytree(first, out)
        with contextlib.suppress(AssertionError), killed_before(monkeypatch, count):
            export(out, **options)
            done = True
        check(out)
        moving.finish(out)  # as verify begins
        assert manifest.faults(out) == []
        assert not (out / ".complete-export").exists()
        assert version(out, 1) in ("old", "new")
        if done or count % 5 == 0:
            small.word = "newest"
            export(out, version=1, overwrite=True)
            assert version(out, 1) == "newest" and manifest.faults(out) == []
            assert {path.name for path in out.iterdir()} == {"serving", "tflite", *exporting.FILES}
        if done:
            return count
    raise AssertionError("it never ended")


def test_killed_while_a_version_is_overwritten(monkeypatch, small, tmp_path):
    found = []

    def check(out):
        found.append(version(out, 1))
        words_of_tflite, names = words(out / "tflite")
        assert len(words_of_tflite) == 1 and names == words_of_tflite
        assert serving.read_stable(out / "serving") == {"net": 1}

    points = kill_everywhere(monkeypatch, small, tmp_path, check, version=1, overwrite=True)
    assert points > 30 and found == sorted(found, reverse=True) and set(found) == {"old", "new"}


def test_killed_while_a_version_is_added(monkeypatch, small, tmp_path):
    def check(out):
        assert version(out, 1) == "old"
        if (out / "serving" / "net" / "2").exists():
            assert version(out, 2) == "new"

    assert kill_everywhere(monkeypatch, small, tmp_path, check) > 25


def test_systems_that_can_not_exchange_folders(monkeypatch, small, tmp_path):
    """Between two renames, the version is away; the next program finishes the move."""
    monkeypatch.setattr(moving, "_exchange", lambda one, other: False)
    missing = []

    def check(out):
        missing.append(not (out / "serving" / "net" / "1").exists())

    kill_everywhere(monkeypatch, small, tmp_path, check, version=1, overwrite=True)
    assert sum(missing) == 1


def test_verify_finishes_a_move(monkeypatch, small, tmp_path):
    export(tmp_path)
    small.word, put = "new", moving._put

    def killed(complete, out, path, entries):
        put(complete, out, path, entries)
        if path.name == "checks.npz":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_put", killed)
        with pytest.raises(Killed):
            export(tmp_path, version=1, overwrite=True)
    assert manifest.faults(tmp_path)
    with pytest.raises(UserError, match=r"report\.json is damaged"):  # a word is no report
        verify.verify(tmp_path)
    assert manifest.faults(tmp_path) == [] and words(tmp_path / "tflite") == ({"new"}, {"new"})


def test_an_interrupted_export_leaves_nothing(monkeypatch, small, tmp_path):
    def build(_, folder, *others):
        (folder / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "_build", build)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []


def test_two_exports_at_once(small, tmp_path):
    """The second is told who is at work, and a killed process leaves no lock."""
    export(tmp_path)
    program = """
        import pathlib, sys, regnet_command
        regnet_command.defer_library()
        from regnet_tf._locking import writing_to
        with writing_to(pathlib.Path(sys.argv[1])) as folder:
            print("at work", flush=True)
            sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "at work\n"
        before = words(tmp_path)
        message = f"Another process is writing to {tmp_path}: process {other.pid} on .*`"
        with pytest.raises(UserError, match=message):
            export(tmp_path)
        assert words(tmp_path) == before
        other.kill()
    (tmp_path / ".partial-export").mkdir()
    (tmp_path / ".partial-export" / "half").touch()
    export(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"serving", "tflite", *exporting.FILES}


def test_what_is_in_the_way(small, tmp_path):
    (tmp_path / "report.md").mkdir()
    (tmp_path / "tflite").write_text("mine")
    with pytest.raises(UserError, match="tflite is no part of an export"):
        export(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "tflite"}


# The manifest.


def test_the_manifest_keeps_other_versions(small, tmp_path):
    for small.word in ("old", "new"):
        export(tmp_path)
    (tmp_path / "serving/net/1/saved_model.pb").write_text("odd")
    (fault,) = manifest.faults(tmp_path)
    assert fault == "serving/net/1/saved_model.pb was changed: its SHA-256 is another"
    (tmp_path / "serving/net/1/saved_model.pb").unlink()
    (tmp_path / "serving/net/1/variables/old").unlink()
    (tmp_path / "serving/net/1/variables").rmdir()
    (tmp_path / "serving/net/1").rmdir()
    assert manifest.faults(tmp_path) == []
    assert manifest.removed_versions(tmp_path) == ["serving/net/1"]
    (tmp_path / "serving/net/2").rename(tmp_path / "away")
    missing = ["serving/net/1 is missing", "serving/net/2 is missing"]
    assert manifest.faults(tmp_path) == missing and manifest.removed_versions(tmp_path) == []
    export(tmp_path)
    assert manifest.faults(tmp_path) == manifest.removed_versions(tmp_path) == []


def test_unknown_files(small, tmp_path):
    export(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "serving" / "models.config").write_text("# mine")
    assert manifest.faults(tmp_path) == []
    for name in ("serving/net/1/variables/more", "tflite/more", "serving/net/7/saved_model.pb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("more")
    assert manifest.faults(tmp_path) == [
        "serving/net/1/variables/more is not in manifest.json",
        "serving/net/7 is not in manifest.json",
        "tflite/more is not in manifest.json",
    ]


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"report.json": {"bytes": 3, "sha256": "0"}},
        {"../secret": {"bytes": 3, "sha256": "0"}},
        [],
        None,
    ],
)
def test_a_manifest_that_lost_its_entries(small, tmp_path, entries):
    export(tmp_path)
    file = tmp_path / "manifest.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "files": entries}))
    for call in (manifest.faults, export):
        with pytest.raises(UserError, match="does not fit its own SHA-256"):
            call(tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        *([], {"a": 1}, {"a": {"bytes": "3", "sha256": "0"}}, {"a": {"bytes": 3}}),
        *({path: {"bytes": 3, "sha256": "0"}} for path in ("../a", "/etc/passwd", "C:\\a", "")),
    ],
)
def test_a_manifest_of_another_kind(tmp_path, entries):
    content = {"files": entries, "sha256": manifest._checksum(entries)}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no list of files with sizes"):
        manifest.faults(tmp_path)
