"""The notebooks run, say and draw what they promise, and are committed with their outputs."""

import ast
import importlib.util
import itertools
import os
import pathlib
import re

import nbclient
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

ROOT = pathlib.Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
_ABSOLUTE_PATH = re.compile(
    r"""(?:^|[\s'"=(\[])((?:[A-Z]:\\|~/|/[\w.-]+/)[^\s'"]*)""", re.MULTILINE
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # all but line feeds: of progress bars and colours


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text_of(output):
    return output.text if output.output_type == "stream" else output.data.get("text/plain", "")


def printed(notebook):
    return "\n".join(map(text_of, outputs(notebook)))


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def kinds(cell):
    """What a cell gave, in order: what it printed as one, however many parts it came in."""
    named = (
        "printed" if output.output_type == "stream" else tuple(sorted(output.data))
        for output in cell.outputs
    )
    return [kind for kind, _ in itertools.groupby(named)]


@pytest.fixture
def execute(tmp_path):
    """Runs a notebook as in a fresh clone, without downloads; it has to leave stderr alone."""

    def run(name):
        for package in ("docs", "export", "regnet_tf", "tests", "training"):
            (tmp_path / package).symlink_to(ROOT / package)
        (tmp_path / "notebooks").mkdir()
        own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
        environment = {**os.environ, **own}
        del environment["TF_CPP_MIN_LOG_LEVEL"]  # which conftest.py sets
        notebook = read(name)
        nbclient.NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path / "notebooks")}},
        ).execute(env=environment)
        assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]
        for cell, committed in zip(code_cells(notebook), code_cells(read(name)), strict=True):
            assert kinds(cell) == kinds(committed), cell.source
        return notebook

    return run


def percentages(text):
    return [float(number) for number in re.findall(r"(\d+(?:\.\d+)?) ?%", text)]


def line_with(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def numbers_after(text, start):
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", line_with(text, start)[len(start) :])]


def names_after(text, start):
    return re.split(r"  +", line_with(text, start)[len(start) :].strip())


# What is committed.


def test_names():
    assert [name[0] for name in NAMES] == list("1234567")
    index = (ROOT / "notebooks" / "README.md").read_text()
    assert re.findall(r"\]\((\w+)\.ipynb\)", index) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_committed_whole_and_clean(name):
    notebook, path = read(name), ROOT / "notebooks" / f"{name}.ipynb"
    nbformat.validate(notebook)
    assert path.stat().st_size < 400_000
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.display_name == "Python 3"
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not [cell.metadata for cell in notebook.cells if cell.metadata]
    for output in outputs(notebook):
        assert output.output_type != "error" and output.get("name") != "stderr", output
        assert not _ABSOLUTE_PATH.findall(text_of(output)), output
        assert not _CONTROL.search(text_of(output)), output


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("in /home/me/x.png", ["/home/me/x.png"]),
        ("'C:\\x\\y'", ["C:\\x\\y"]),
        ("a/b, runs/x/y.png and 5/6", []),
    ],
)
def test_absolute_paths_are_seen(text, found):
    assert _ABSOLUTE_PATH.findall(text) == found


def uses(notebook):
    """What it takes from this project's modules, as (module, name)."""
    shell = InteractiveShell.instance()
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(shell.transform_cell(cell.source))):
            match node:
                case ast.ImportFrom(module=module, names=names):
                    yield from ((module, name.name) for name in names)
                case ast.Attribute(value=ast.Name(id="regnet_tf"), attr=name):
                    yield "regnet_tf", name
                case ast.Attribute(value=ast.Name(id="design_space"), attr=name):
                    yield "regnet_tf.design_space", name
        for module in re.findall(r"^%run -m (\S+)", cell.source):
            package = importlib.util.find_spec(module).submodule_search_locations
            yield f"{module}.__main__" if package else module, "start"


@pytest.mark.parametrize("name", NAMES)
def test_what_they_use_is_there(name):
    own = ("export", "regnet_tf", "training")
    used = [(module, name) for module, name in uses(read(name)) if module.split(".")[0] in own]
    assert len(used) > 3
    for module, name in used:
        exec(f"from {module} import {name}")


# What they do. But for the first one that takes a minute or two each.


@pytest.mark.program
def test_from_numbers_to_a_network(execute, golden_variants):
    notebook = execute("1_from_numbers_to_a_network")
    text, truth = printed(notebook), golden_variants["timm"]["regnety_004"]
    assert pictures(notebook) == 3
    depths = zip(truth["stage_widths"], truth["stage_depths"], strict=True)
    widths = numbers_after(text, "quantized:")
    assert widths == [width for width, depth in depths for _ in range(depth)]
    assert f"{truth['params_trainable']:,}" in line_with(text, "total")
    assert f"{truth['macs']:,}" in line_with(text, "total")
    assert text.splitlines().count("True") == 2  # the same stages, the same number of parameters
    assert "(2, 10)" in text


@pytest.mark.slow
def test_classify_and_fine_tune(execute):
    notebook = execute("2_classify_and_fine_tune")
    text = printed(notebook)
    assert pictures(notebook) == 6
    assert "No published weights here" in text
    for name, known in (("bag", "Bag"), ("shirt", "Shirt"), ("boot", "Ankle boot")):
        assert percentages(line_with(text, f"{name}.png: {known}, "))[0] > 50
    assert "('5', '6', '7', '8', '9') 15 to train on, 224 to test with" in text
    fine_tuned, from_scratch = percentages(line_with(text, "Right of 224 held-out images"))
    assert fine_tuned > max(from_scratch, 70)
    assert re.search(r"^The shirt is a [5-9], at \d+%\.$", text, re.MULTILINE)


@pytest.mark.slow
def test_train_on_tfds(execute):
    notebook = execute("3_train_on_tfds")
    text = printed(notebook)
    assert pictures(notebook) == 2
    assert re.search(r"train +230 images in 2 files\n +validation +50 images", text)
    assert "2 replicas" in text
    losses = numbers_after(text, "losses:")
    assert 6 < losses[0] < 8 and losses[-1] < losses[0] - 2
    assert "Stopped by SIGINT." in text
    step, steps = numbers_after(text, "Resuming after step")
    assert steps == 48 and 12 <= step < 48  # an epoch is 230 images in batches of 20
    assert f"step-{int(step):08}.npz" in text
    assert [line[:9] for line in text.splitlines() if line.startswith("epoch ")] == [
        f"epoch {number}/4" for number in (1, 2, 3, 4)
    ]


@pytest.mark.slow
def test_deploy(execute):
    notebook = execute("4_deploy")
    text = printed(notebook)
    assert pictures(notebook) == 2
    assert float(line_with(text, "largest difference").split()[-1]) < 1e-4
    assert "VersionStatus(version=1, state='AVAILABLE', error='')" in text
    assert "INVALID_ARGUMENT, of the images (1,)" in text
    kinds_of_files = ("dynamic_range", "float16", "float32", "int8")
    rows = [names_after(text, f"clothes_{kind}  ") for kind in kinds_of_files]
    truth = names_after(text, "truth")
    assert len(truth) == 8 and {"Ankle boot", "Bag"} < set(truth)
    assert percentages(line_with(text, "Ankle boot: "))[0] > 80
    for row in rows:
        assert sum(a == b for a, b in zip(row, truth, strict=True)) >= 7


@pytest.mark.slow
def test_design_spaces(execute):
    notebook = execute("5_design_spaces")
    text = printed(notebook)
    assert pictures(notebook) == 3
    assert "4 networks are trained, 0 failed." in text
    for name, summary in (("anynetx_a", "AnyNetX_A: 48 networks"), ("regnetx", "RegNetX: 48")):
        expected = percentages(line_with(text, f"fashion_{name} "))
        least, median, mean = percentages(line_with(text, summary))
        assert expected == sorted(expected, reverse=True) and least <= median
        assert expected[0] == pytest.approx(mean, abs=0.06)
        assert expected[-1] == pytest.approx(least, abs=0.06) and least < 14
    assert 0.5 < numbers_after(text, "Kolmogorov-Smirnov statistic:")[0] <= 1


@pytest.mark.slow
def test_segmentation(execute):
    notebook = execute("6_segmentation")
    text = printed(notebook)
    assert pictures(notebook) == 3
    assert "(500, 64, 64, 3) uint8 (500, 64, 64) uint8" in text
    assert "-> (None, 64, 64, 2)" in text
    assert numbers_after(text, "Held-out scenes of held-out digits: mean IoU")[0] > 0.65


@pytest.mark.slow
def test_own_folder_to_browser(execute):
    """The page itself is for machines with npm; `test_web.py` and `make browser` test it."""
    notebook = execute("7_own_folder_to_browser")
    text = printed(notebook)
    assert pictures(notebook) == 2
    assert "0 1 2 3 4 5 6 7 8 9" in text
    assert percentages(line_with(text, "Test accuracy"))[0] > 75
    assert "| TFLite int8 |" in text
