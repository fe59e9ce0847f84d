"""How programs start, are stopped, print and end, in processes of their own."""

import argparse
import ast
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from regnet_command import run, start
from test_structure import MODULES, TREES
from waiting import wait_for

#: A script that Python takes for the command `regnet`. Its job is put in.
PROGRAM = """\
import argparse, atexit, contextlib, os, pathlib, signal, sys, time, types
import regnet_command
from regnet_command import process, run, say_when_stopped
program = sys.modules["regnet_command.program"] = types.ModuleType("program")

def stop(number=signal.{signal}):
    signal.raise_signal(number)

def job():
    try:
        work()
    finally:
        pathlib.Path("closed").touch()

{code}

def main(arguments=None):
    parser = argparse.ArgumentParser("regnet test")
    parser.parse_args(arguments)
    return run(job, parser, tensorflow=False, only_prints={only_prints})

program.main = main
if __name__ == "__main__":
    regnet_command.start(".program")
"""


@pytest.fixture
def program(tmp_path):
    """Runs a program with some code: status, output, what it printed about errors."""

    def call(code, *words, name="SIGINT", only_prints=False, before="", after="", **options):
        text = PROGRAM.format(code=code, signal=name, only_prints=only_prints)
        (tmp_path / "regnet").write_text(text)
        shell = f'{before} "$0" regnet "$@" {after}; exit ${{PIPESTATUS[0]}}'
        done = subprocess.run(
            ["bash", "-c", shell, sys.executable, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            **options,
        )
        return done.returncode, done.stdout, done.stderr

    return call


STOPPED = {
    "job": "def work(): stop()",
    "lost in a job that returns": """
def work():
    with contextlib.suppress(BaseException):
        stop()
""",
    "another error": """
def work():
    try:
        stop()
    except BaseException:
        raise RuntimeError("initialization failed")
""",
}
#: The process ends before anything is closed.
STOPPED_AT_ONCE = {
    "first line": "stop()",
    "import": """
pathlib.Path("swallowing.py").write_text(
    "import signal\\ntry: signal.raise_signal(signal.{signal})\\nexcept BaseException: pass\\n"
)
import swallowing
""",
    "options": "argparse.ArgumentParser.parse_args = lambda *_: stop()",
    "lost in a destructor": """
class Lost:
    def __del__(self):
        stop()
def work():
    Lost()
    time.sleep(60)
""",
    "lost in a job that goes on": """
process._GRACE = 0.1
def work():
    with contextlib.suppress(BaseException):
        stop()
    time.sleep(60)
""",
    "a second one": """
def work():
    try:
        stop()
    finally:
        stop()
""",
}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("case", [*STOPPED, *STOPPED_AT_ONCE])
def test_a_signal_is_one_line_and_its_status(program, tmp_path, case, name):
    code = {**STOPPED, **STOPPED_AT_ONCE}[case].replace("{signal}", name)
    status = {"SIGINT": 130, "SIGTERM": 143}[name]
    assert program(code, name=name) == (status, "", "Stopped.\n")
    assert (tmp_path / "closed").exists() == (case in STOPPED)


def test_a_signal_in_an_import_of_a_job(program, tmp_path):
    """The import is done first. Libraries lose the exception, or turn it into another one."""
    code = """
pathlib.Path("library.py").write_text("import signal\\nsignal.raise_signal(2)\\nloaded = True")
def work():
    import library
    pathlib.Path("late").touch()
atexit.register(lambda: print(sys.modules["library"].loaded))
"""
    assert program(code) == (130, "True\n", "Stopped.\n")
    assert (tmp_path / "closed").exists() and not (tmp_path / "late").exists()


def test_a_signal_at_the_end(program):
    code = "def work(): atexit.register(stop)"
    assert program(code) == (130, "", "Stopped.\n")


def test_no_signal_comes_while_python_ends(program):
    """Python no longer handles signals when it destroys its modules."""
    code = """
class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
late = Late()
def work(): pass
"""
    assert program(code) == (0, "", "")


def test_message_of_a_job(program):
    code = "def work():\n    say_when_stopped('Stopped. Resume it.')\n    stop()"
    assert program(code) == (130, "", "Stopped. Resume it.\n")


def test_a_fork_leaves_the_message_to_its_parent(program):
    code = "def work():\n    if os.fork() == 0:\n        stop()\n    print(os.wait()[1] >> 8)"
    assert program(code) == (0, "130\n", "")


def test_an_ignored_signal_stays_ignored(program):
    assert program("def work(): stop()", before="trap '' INT;") == (0, "", "")


def test_a_bug_is_a_traceback(program):
    status, _, error = program("def work(): raise KeyError('bug')")
    assert status == 1 and error.endswith("KeyError: 'bug'\n")


WRITES = """
def work():
    for _ in range(5):
        print("x" * 100_000, flush=True)
    pathlib.Path("result").write_text("all")
"""


@pytest.mark.parametrize("after", [">&-", "<&- >&- 2>&-", "2>&- | true", "2>&1 | true"])
def test_files_are_written_though_nobody_reads(program, tmp_path, after):
    assert program(WRITES, after=after) == (0, "", "")
    assert (tmp_path / "result").read_text() == "all"


def test_a_program_that_only_prints_ends_when_nobody_reads(program, tmp_path):
    assert program(WRITES, only_prints=True, after="| true") == (141, "", "")
    assert not (tmp_path / "result").exists() and (tmp_path / "closed").exists()


def test_nobody_reads_the_last_words(program):
    code = """
import select
def work():
    unread = select.poll()
    unread.register(1, 0)
    unread.poll()  # until the reader has closed the pipe
    print("result")
"""
    assert program(code, only_prints=True, after="| true") == (141, "", "")
    assert program(code, after="| true") == (0, "", "")


def test_no_file_takes_the_place_of_a_closed_stream(program, tmp_path):
    code = (
        "def work():\n    with open('file', 'w'):\n        print('no')\n        os.write(2, b'no')"
    )
    assert program(code, after="<&- >&- 2>&-") == (0, "", "")
    assert (tmp_path / "file").read_text() == ""


def test_a_line_is_written_at_once_also_into_a_file(program):
    status, output, _ = program("def work(): print('epoch 1'); os._exit(0)")
    assert (status, output) == (0, "epoch 1\n")


@pytest.mark.parametrize("code", ["def work(): print(1)", "def work(): print(1, flush=True)"])
def test_output_to_a_full_disk(program, code):
    """Only a program without other results fails."""
    status, _, error = program(code, only_prints=True, after="> /dev/full")
    assert status == 2 and error.count("\n") == 1
    assert error.endswith("error: [Errno 28] No space left on device: 'standard output'\n")
    status, _, error = program(code, after="> /dev/full")
    assert status == 0 and error.count("\n") == 1
    assert "No space left on device: standard output" in error


def test_characters_that_the_output_cannot_encode(program):
    code = r"def work(): print('\u2192 \udcff')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert program(code, env=environment) == (0, "\\u2192 \\udcff\n", "")


ERRORS = {
    "Not enough memory. Unable to allocate 7.28 TiB": lambda: np.empty(10**12),
    "Not enough memory. OOM when allocating": lambda: raising(
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore")
    ),
    "out/a.index; No space left on device": lambda: raising(
        tf.errors.ResourceExhaustedError(None, None, "out/a.index; No space left on device")
    ),
    "out/a.index; Permission denied": lambda: raising(
        tf.errors.PermissionDeniedError(None, None, "out/a.index; Permission denied")
    ),
    "one two": lambda: raising(ValueError("one\ntwo")),
}


def raising(error):
    raise error


@pytest.mark.parametrize("message", ERRORS)
def test_errors_of_the_user_and_the_machine(capsys, message):
    parser = argparse.ArgumentParser(prog="regnet test")
    assert run(ERRORS[message], parser, tensorflow=False) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"regnet test: error: {message}") and error.count("\n") == 1


def test_other_errors_of_tensorflow_are_bugs():
    def job():
        raise tf.errors.InvalidArgumentError(None, None, "incompatible shapes")

    with pytest.raises(tf.errors.InvalidArgumentError):
        run(job, argparse.ArgumentParser(), tensorflow=False)


WORKER = """
import multiprocessing
from regnet_command.workers import Worker

def work():
    worker = Worker()
    try:
        worker.submit(time.sleep, 60)
        os.killpg(0, signal.SIGINT)  # as a terminal does
    except KeyboardInterrupt:
        time.sleep(2)  # the worker would end with a traceback
        raise
    finally:
        for process in multiprocessing.active_children():
            print(process.pid, process.exitcode)
        worker.kill()
"""


def test_workers_leave_interrupts_to_the_program(program):
    # The script's process is imported again in its worker.
    status, printed, error = program(WORKER, before="set -m;")
    pid, exit_code = printed.split()
    assert (status, error, exit_code) == (130, "Stopped.\n", "None")
    wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists())


STARTED = [name for name, file in MODULES.items() if '__name__ == "__main__"' in file.read_text()]


@pytest.mark.parametrize("name", STARTED)
def test_programs_run_in_their_importable_module(name):
    """As `__main__`, their classes would be others than those that other modules import."""
    if "workers" in name:  # scripts of other environments
        return
    *body, last = TREES[name].body
    assert ast.unparse(last.test) == "__name__ == '__main__'"
    if not name.endswith("__main__"):
        own = name.rpartition(".")[2]
        assert ast.unparse(last.body) == f"start('.{own}', __package__)"
        return
    assert ast.unparse(last.body).startswith("start(")
    assert all(isinstance(one, (ast.Expr, ast.ImportFrom)) for one in body)


@pytest.mark.parametrize("package", ["training", "export", "benchmarks"])
def test_packages_of_programs_take_over_the_process_first(package):
    first = next(one for one in TREES[package].body if not isinstance(one, ast.Expr))
    assert ast.unparse(first) == "import regnet_command"


def test_another_process_is_left_alone(run_python):
    code = (
        "import signal, sys\nstreams = sys.stdout, sys.stderr\nimport regnet_command, training\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert streams == (sys.stdout, sys.stderr)"
    )
    run_python("-c", code)


def test_start_in_another_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["notebook", "regnetx_002"])
    with pytest.raises(SystemExit) as end:
        start(".show")
    assert end.value.code == 0 and "RegNetX-200MF" in capsys.readouterr().out
