"""The examples in docstrings do what they show."""

import doctest
import importlib
import pathlib

import pytest

import regnet_tf

ROOT = pathlib.Path(regnet_tf.__file__).parent
#: Modules with examples; the others, some of which need optional packages, are not imported.
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_modules():
    assert {"regnet_tf.widths", "regnet_tf.design_space.sampling"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert found.attempted > 0 and found.failed == 0
