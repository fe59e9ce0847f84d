"""The documentation: its reference is complete, its examples run, its commands are there."""

import collections
import importlib
import importlib.util
import inspect
import io
import json
import pathlib
import re
import types

import keras
import numpy as np
import pytest
import regnet_command.predict
from PIL import Image

import regnet_tf
from regnet_tf import design_space, runtimes, visualize
from training import data

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md"]
#: Its example is run by a test of its own.
GUIDE_TO_DESIGN_SPACES = DOCS / "guides" / "design_spaces.md"


def public_names(module):
    """Dotted names of what a module offers: all but modules, and names with an underscore."""
    return [
        f"{module.__name__}.{name}"
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]


def own_functions(module):
    functions = inspect.getmembers(module, inspect.isfunction)
    names = [name for name, function in functions if function.__module__ == module.__name__]
    return [f"{module.__name__}.{name}" for name in names if not name.startswith("_")]


def documented_names():
    """Names with a directive or, in tables, with an anchor."""
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    return re.findall(r"^::: (\S+)$|\{ #(regnet_tf\.\S+) \}", text, flags=re.MULTILINE)


def test_every_public_name_is_in_the_reference_once():
    keras_hub = pytest.importorskip("regnet_tf.keras_hub", exc_type=ImportError)
    found = collections.Counter(one or other for one, other in documented_names())
    modules = (regnet_tf, design_space, runtimes, keras_hub)
    public = [name for module in modules for name in public_names(module)]
    public += own_functions(visualize)
    assert len(public) > 90
    assert found == collections.Counter(public)


def has_example(name):
    """Whether an example is in the docstring or, of names without one, in the reference."""
    module, _, last = name.rpartition(".")
    docstring = getattr(importlib.import_module(module), last).__doc__ or ""
    pages = (page.read_text() for page in (DOCS / "reference").glob("*.md"))
    blocks = (text for page in pages for text in re.findall(r"```pycon\n(.*?)```", page, re.DOTALL))
    return ">>> " in docstring or any(re.search(rf"\b{last}\b", text) for text in blocks)


def test_every_public_name_has_an_example():
    """`test_doctests.py` runs them."""
    pytest.importorskip("regnet_tf.keras_hub", exc_type=ImportError)
    names = {one or other for one, other in documented_names()}
    assert {name for name in names if not has_example(name)} == set()


def typed_functions():
    """Public functions, and public methods of classes that are not Keras'."""
    modules = (regnet_tf, design_space, runtimes, visualize)
    own = [item for module in modules for item in vars(module).items()]
    for name, one in own:
        if name.startswith("_") or not re.match(
            r"regnet_tf\.[a-z]", getattr(one, "__module__", "")
        ):
            continue
        if inspect.isfunction(one):
            yield one
        elif inspect.isclass(one) and not issubclass(one, (keras.Layer, keras.Optimizer)):
            yield from (
                method
                for name, method in inspect.getmembers(one, inspect.isfunction)
                if not name.startswith("_")
            )


def test_public_functions_are_typed():
    for function in typed_functions():
        signature = inspect.signature(function)
        kinds = [one.annotation for one in signature.parameters.values() if one.name != "self"]
        assert inspect.Signature.empty not in (*kinds, signature.return_annotation), function


def test_signature_of_the_model_functions():
    text = (DOCS / "reference" / "models.md").read_text()
    (written,) = re.findall(r"```python\nRegNetX400MF\((.*?),\n\)\n```", text, flags=re.DOTALL)
    signature = inspect.signature(regnet_tf.RegNetX400MF)
    untyped = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    true = str(inspect.Signature(untyped)).strip("()")
    assert re.sub(r"\s+", " ", written).strip() == true.replace("'", '"')


def examples():
    """Python code of the pages that needs neither a download nor an optional package."""
    code = re.compile(r"```python\n(import .*?|from .*?)```", re.DOTALL)
    pages = [page for page in PAGES if page != GUIDE_TO_DESIGN_SPACES]
    found = {text: page.stem for page in pages for text in code.findall(page.read_text())}
    needy = re.compile(
        r"photo\.jpg|keras_hub|skimage|shipped/|import jax|hf://|hf-hub:|tests/golden|photos/"
        r"|examples\.npz"
    )
    return [pytest.param(text, id=name) for text, name in found.items() if not needy.search(text)]


@pytest.mark.parametrize("code", examples())
def test_examples_run(code, monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    scope = {}
    exec(code, scope)
    models = [value for value in scope.values() if isinstance(value, keras.Model)]
    assert models or scope.keys() & {"config", "configs", "tiny"}


def scripts_of_the_guide(fits):
    """Python code of the guide to your own images that trains a network, or all other code."""
    guide = (DOCS / "guides" / "your_images.md").read_text()
    found = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    return [
        compile(code, "your_images.md", "exec") for code in found if ("model.fit(" in code) == fits
    ]


@pytest.fixture(scope="module")
def folder_of_the_guide(tmp_path_factory):
    """Where the scripts that write folders of images have run."""
    pytest.importorskip("skimage")
    folder = tmp_path_factory.mktemp("guide")
    for name in ("tests", "docs"):
        (folder / name).symlink_to(DOCS.parent / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for code in scripts_of_the_guide(fits=False):
            exec(code, {})
    return folder


@pytest.fixture
def made_by_the_guide(folder_of_the_guide, monkeypatch):
    """What loads the folders that the scripts have written."""
    monkeypatch.chdir(folder_of_the_guide)
    return data.load


def test_folder_of_photographs(made_by_the_guide):
    photos = made_by_the_guide("photos")
    assert (photos.train.size, photos.test.size, photos.target) == (150, 50, "class")
    assert photos.class_names == ("Ankle boot", "Bag", "Dress", "Shirt", "Trouser")


def test_folder_of_photographs_and_masks(made_by_the_guide):
    coins = made_by_the_guide("coins")
    assert (coins.train.size, coins.test.size, coins.target) == (80, 20, "pixels")
    assert coins.class_names == ("background", "coin")
    images, masks = zip(*coins.test.examples().as_numpy_iterator(), strict=True)
    levels = np.stack([load_level(image) for image in images])
    truth = np.stack([load_level(mask) for mask in masks])
    assert 0.3 < truth.mean() < 0.7 and levels[truth == 1].mean() > levels[truth == 0].mean() + 50


def load_level(content):
    return np.array(Image.open(io.BytesIO(content)))


@pytest.mark.slow
def test_fine_tuning_in_keras(folder_of_the_guide, monkeypatch):
    """The saved network takes files as they are, and knows the classes of the folder."""
    monkeypatch.chdir(folder_of_the_guide)
    (code,) = scripts_of_the_guide(fits=True)
    scope = {}
    exec(code, scope)
    model = keras.saving.load_model("clothes.keras")
    facts = regnet_tf.facts_of(model)
    assert facts.class_names == ("Ankle boot", "Bag", "Dress", "Shirt", "Trouser")
    assert facts.normalizes and facts.preprocessing.mean == (0,)
    assert model.evaluate(scope["validation"], verbose=0)[1] > 0.5


def test_guide_to_design_spaces(capsys):
    """Its example prints what its comments say."""
    code = re.search(r"```python\n(.*?)```", GUIDE_TO_DESIGN_SPACES.read_text(), re.DOTALL)[1]
    exec(compile(code, str(GUIDE_TO_DESIGN_SPACES), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"^print\(.*#\s*(.*)$", code, re.MULTILINE)
    assert printed[:3] == promised[:3] and len(promised) == 4
    assert printed[3].startswith("Band(low=") and printed[4].count("RegNetConfig(") == 5


def test_guide_to_serving():
    """The server that it sets up is there."""
    guide = (DOCS / "guides" / "serving.md").read_text()
    (settings,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    module, _, name = json.loads(settings)["implementation"].rpartition(".")
    file = DOCS.parent / module.removeprefix("regnet_tf.").replace(".", "/")
    assert f"class {name}(" in file.with_suffix(".py").read_text()


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hook", DOCS / "commands_from_help.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_of_commands(hook):
    page = hook.on_page_markdown(
        (DOCS / "commands.md").read_text(),
        page=types.SimpleNamespace(file=types.SimpleNamespace(src_uri="commands.md")),
        config=None,
        files=None,
    )
    commands = re.findall(r"^#+ (regnet .*) \{ #(\S+) \}$", page, flags=re.MULTILINE)
    named = dict(commands)
    assert len(named) == len(commands)
    for command in (*regnet_command.PROGRAMS, "weights convert", "sweep analyze", "data prepare"):
        assert named[f"regnet {command}"] == f"regnet.{command.replace(' ', '.')}"
    assert "--compare-published" in page and "--retry-failed" in page
    assert hook.PLACE not in page


def test_other_pages_stay_as_they_are(hook):
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="index.md"))
    assert hook.on_page_markdown(hook.PLACE, page, None, None) == hook.PLACE


def test_a_module_without_a_parser_is_no_command(hook, monkeypatch):
    monkeypatch.setattr(regnet_command.predict, "main", lambda arguments: 0)
    with pytest.raises(TypeError, match="parses no arguments"):
        hook.parser_of("regnet_command.predict")


def test_version_of_this_software():
    citation = (DOCS.parent / "CITATION.cff").read_text().splitlines()
    assert f"version: {regnet_tf.__version__}" in citation
    changes = (DOCS.parent / "CHANGELOG.md").read_text()
    assert f"\n## [{regnet_tf.__version__}]" in changes


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(DOCS.parent / name for name in ("CONTRIBUTING.md", "notebooks/README.md"))],
    ids=lambda page: page.name,
)
def test_links_to_files(page):
    """Also from pages that `make docs` does not build, and to files that it does not know."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [one for one in targets if "://" not in one and not (page.parent / one).exists()] == []
