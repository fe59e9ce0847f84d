"""The examples in docstrings and in the reference do what they show."""

import doctest
import functools
import importlib
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest

import regnet_tf
from regnet_tf import design_space, runtimes, visualize

ROOT = pathlib.Path(regnet_tf.__file__).parent
REFERENCE = ROOT.parent / "docs" / "reference"
PHOTO = pathlib.Path(__file__).parent / "golden" / "preprocess" / "rocket.jpg"
#: Modules with examples; the others, some of which need optional packages, are not imported.
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
#: What examples need no import for, and the network that they share.
SHARED = {
    "keras": keras,
    "np": np,
    "regnet_tf": regnet_tf,
    "design_space": design_space,
    "runtimes": runtimes,
    "visualize": visualize,
    "tiny": regnet_tf.RegNetConfig(
        depth=4, initial_width=16, width_slope=16, width_multiplier=2, group_width=8
    ),
}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
#: The function of a variant whose example always runs; the others take a minute.
MODEL_FUNCTION = "RegNetX200MF"


@pytest.fixture(autouse=True)
def folder_with_a_photo(tmp_path, monkeypatch):
    """The working directory of the examples."""
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)


def run(examples):
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    assert len([*map(runner.run, examples)]) > 0
    assert runner.summarize(verbose=False).failed == 0


@functools.cache
def examples_of(module):
    if module.startswith("regnet_tf.keras_hub"):
        pytest.importorskip("regnet_tf.keras_hub", exc_type=ImportError)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(importlib.import_module(module), extraglobs=SHARED)
    return [one for one in found if one.examples]


def is_model_function(example):
    return re.search(r"\.RegNet[XYVZ][\w]*$", example.name) is not None


def test_modules():
    assert {"regnet_tf.widths", "regnet_tf.design_space.sampling"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    run(one for one in examples_of(name) if not is_model_function(one))


def test_example_of_a_model_function():
    run(one for one in examples_of("regnet_tf.models") if one.name.endswith(MODEL_FUNCTION))


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [*filter(is_model_function, examples_of("regnet_tf.models"))],
    ids=lambda function: function.name,
)
def test_examples_of_the_model_functions(function):
    run([function])


def blocks_of(page):
    return re.findall(r"```pycon\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "page", [*filter(blocks_of, REFERENCE.glob("*.md"))], ids=lambda page: page.stem
)
def test_examples_in_the_reference(page):
    """Of names that have no docstring, such as dicts."""
    parser = doctest.DocTestParser()
    blocks = [f"{text}\n" for text in blocks_of(page)]
    run(parser.get_doctest(text, dict(SHARED), page.stem, str(page), 0) for text in blocks)
