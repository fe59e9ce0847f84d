"""Folders that one process writes to at a time: what the second one is told."""

import os
import subprocess
import sys

import pytest

from regnet_tf import _locking
from regnet_tf._errors import UserError
from regnet_tf._locking import FILE, writing_to
from training.loop.directory import FILES, PRETRAINING, clear

_HOLDER = """\
from regnet_command import defer_library
defer_library()
from regnet_tf._locking import writing_to
import sys, time
with writing_to(sys.argv[1]):
    print("holds", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that writes to `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "holds\n"
    with process:
        yield process
        process.kill()


def test_the_second_is_told_who_is_there_and_a_killed_one_leaves_no_lock(holder, tmp_path):
    told = rf"is writing to {tmp_path}: process {holder.pid} on .*, since .* \(`-c .*{tmp_path}`\)"
    for _ in range(2):  # the second one has not changed what it says
        with pytest.raises(UserError, match=told), writing_to(tmp_path):
            pass
    holder.kill()
    holder.wait()
    with writing_to(tmp_path):
        assert f'"process": {os.getpid()}' in (tmp_path / FILE).read_text()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[", b"{}", b'{"process": 1}'])
def test_a_holder_that_is_not_known(content, tmp_path):
    with writing_to(tmp_path):
        (tmp_path / FILE).write_bytes(content)
        with (
            pytest.raises(UserError, match=rf"Another process is writing to {tmp_path}\.$"),
            writing_to(tmp_path),
        ):
            pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with writing_to(tmp_path), writing_to(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    message = rf"{_locking.FILE} could not be written: Not a directory\."
    with pytest.raises(UserError, match=message), writing_to(tmp_path / "file"):
        pass


def test_nothing_of_a_run_is_deleted_while_its_pretraining_goes_on(tmp_path):
    for name in FILES:
        (tmp_path / name).touch()
    (tmp_path / PRETRAINING).mkdir()
    (tmp_path / PRETRAINING / "recipe.json").touch()
    before = sorted(tmp_path.rglob("*"))
    with (
        writing_to(tmp_path / PRETRAINING),
        pytest.raises(UserError, match=f"is writing to {tmp_path / PRETRAINING}: process"),
    ):
        clear(tmp_path)
    assert sorted(set(tmp_path.rglob("*")) - {tmp_path / PRETRAINING / FILE}) == before
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_half_deleted_keeps_its_recipe_and_is_not_finished(tmp_path, monkeypatch):
    """Else its checkpoints could be taken for those of another run."""
    deleted = []
    monkeypatch.setattr("pathlib.Path.unlink", lambda path, **_: deleted.append(path.name))
    for name in FILES:
        (tmp_path / name).touch()
    clear(tmp_path)
    assert (deleted[0], deleted[-1]) == ("run.json", "recipe.json")
    assert set(deleted) == set(FILES)
