"""The modules: who imports whom, and where private parts of other packages are used."""

import ast
import graphlib
import pathlib

import regnet_tf

ROOT = pathlib.Path(regnet_tf.__file__).parents[1]
PACKAGES = ("regnet_tf", "training", "export", "benchmarks")
#: Private by name, but documented: of `os` and of named tuples.
DOCUMENTED = {"_exit", "_replace", "_asdict"}


def dotted(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(file): file for name in PACKAGES for file in sorted((ROOT / name).rglob("*.py"))}
TREES = {name: ast.parse(file.read_text()) for name, file in MODULES.items()}


def imported(name):
    """Names that a module imports, also inside functions: of modules, or of what is in them."""
    is_package = MODULES[name].name == "__init__.py"
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = (above if node.level else []) + ([node.module] if node.module else [])
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def imported_modules(name):
    """Modules of the project that a module imports."""
    found = (one if one in MODULES else one.rpartition(".")[0] for one in imported(name))
    return {one for one in found if one in MODULES and one != name}


def test_no_import_circle():
    order = graphlib.TopologicalSorter({name: imported_modules(name) for name in MODULES})
    assert len([*order.static_order()]) == len(MODULES)


def test_packages_that_a_module_may_import():
    allowed = {name: {name, "regnet_tf"} for name in PACKAGES} | {"benchmarks": {*PACKAGES}}
    for name in MODULES:
        found = {one.partition(".")[0] for one in imported_modules(name)}
        assert found <= allowed[name.partition(".")[0]], name


def test_private_parts_of_other_packages():
    """Only `regnet_tf/_internals.py` uses them; their names are not defined in this project."""
    private = (
        "keras.src",
        "keras_hub.src",
        "tensorflow.core",
        "tensorflow.python",
        "tensorflow.compiler",
    )
    others = [name for name in MODULES if name != "regnet_tf._internals"]
    own = {one for name in others for one in defined(TREES[name])} | DOCUMENTED
    for name in others:
        assert [one for one in imported(name) if one.startswith(private)] == [], name
        used = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
        used = {one for one in used if one.startswith("_") and not one.startswith("__")}
        assert used - own == set(), name


def defined(tree):
    """Names of functions, classes, variables and attributes that a module defines."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                yield name
