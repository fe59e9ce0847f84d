"""Random configurations: the tests of `test_fuzz.py` with other and many more examples."""

import functools
import importlib
import inspect
import json
import os
import sys
import tempfile
from pathlib import Path

from .cases import Case
from .processes import Process, job

#: Tests of `test_fuzz.py` by the name in the table, with their examples at scale 1 and 0. The tests
#: run a few themselves.
_TESTS = {
    "configurations": ("test_configurations_are_kept", 2000, 20),
    "configurations with wrong fields": ("test_wrong_fields", 1000, 20),
    "configurations with wrong stages": ("test_wrong_stages", 500, 0),
    "design spaces with wrong fields": ("test_wrong_design_spaces", 500, 20),
    "fits of widths": ("test_fits_predict_widths_above_zero", 300, 0),
    "built, saved, loaded, fused": ("test_networks_run_and_are_saved", 48, 0),
    "built with wrong arguments": ("test_wrong_arguments_of_networks", 100, 0),
    "exported": ("test_networks_are_exported", 8, 0),
}
_BATCH = 500  # examples of one process


def scenarios(suite):
    """Yields the scenarios of this part."""
    for what, (test, usual, least) in _TESTS.items():
        count = suite.count(usual, least)
        for number, start in enumerate(range(0, count, _BATCH)):
            examples = min(_BATCH, count - start)
            yield _tried(suite, what, test, examples, f"{suite.seed}{number}")


def _tried(suite, what, test, count, seed):
    """Runs a test with random examples in a process."""
    process = Process(job(run_test, test, count, int(seed)), suite.scratch("examples"), timeout=900)
    ended = yield process
    if ended.is_bad:
        yield suite.case(what, process, ended)
    for line in ended.out.splitlines():
        outcome, example = json.loads(line)
        yield Case(suite.part, what, outcome, outcome != "as documented", process.text, example)


def run_test(name: str, count: int, seed: int) -> None:
    """Runs a test of `test_fuzz.py`, and prints the outcome of each example.

    Args:
        name: name of the test.
        count: number of examples.
        seed: chooses them.
    """
    import hypothesis

    os.environ["FUZZ_EXAMPLES"] = str(count)
    sys.path.append(str(Path(__file__).parents[1]))
    test = getattr(importlib.import_module("test_fuzz"), name)
    test.hypothesis.inner_test = _telling(test.hypothesis.inner_test)
    with tempfile.TemporaryDirectory() as folder:
        fixtures = {"tmp_path_factory": _Folders(folder)}
        wanted = inspect.signature(test).parameters
        hypothesis.seed(seed)(test)(**{name: fixtures[name] for name in wanted})


class _Folders:
    """Stands in for pytest's `tmp_path_factory`."""

    def __init__(self, folder):
        self._folder = folder

    def mktemp(self, name):
        return Path(tempfile.mkdtemp(prefix=name, dir=self._folder))


def _telling(test):
    """Returns the test as a function that prints its outcome instead of failing."""
    from hypothesis.errors import UnsatisfiedAssumption

    @functools.wraps(test)
    def telling(**example):
        outcome = "as documented"
        try:
            test(**example)
        except UnsatisfiedAssumption:
            raise
        except Exception as error:
            outcome = f"{type(error).__name__}"
            example = {"error": str(error)[:300], **example}
        text = ", ".join(f"{k}={v}" for k, v in example.items() if k != "tmp_path_factory")
        print(json.dumps([outcome, text[:1000]]))

    return telling
