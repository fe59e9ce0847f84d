"""The guide to opening exported files: its examples give the answers of the Keras model."""

import json
import os
import re
import shutil
import subprocess
import types

import numpy as np
import pytest
from browsers import npm_package, opened
from conftest import TESTS

for package in ("onnxruntime", "tf2onnx", "openvino"):
    pytest.importorskip(package)

GUIDE = (TESTS.parent / "docs" / "guides" / "open_files.md").read_text()
LITERT = "@litertjs/core"


def examples(language):
    """The code of the guide, with the name of the network of the tests."""
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return [code.replace("mine", "digits") for code in found]


@pytest.fixture(scope="module")
def shipped(exported, every_format, tmp_path_factory):
    """Folder with the export `shipped`; some images; and what the Keras model says of them."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(every_format, folder / "shipped")
    source = exported.source
    images = source.examples.test[:3]
    expected = source.model(source.preprocessing.normalize(images), training=False)
    return types.SimpleNamespace(folder=folder, images=images, expected=np.asarray(expected))


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected[: len(found)], rtol=0, atol=1e-4)


@pytest.mark.parametrize("number", range(5))
def test_python(exported, shipped, monkeypatch, number):
    monkeypatch.chdir(shipped.folder)
    _, *codes = examples("python")
    scope = {"images": shipped.images}
    assert len(codes) == 5
    exec(codes[number], scope)
    assert_equal(scope["probabilities"], shipped.expected)
    if number == 0:
        assert scope["labels"] == list(exported.source.labels)
        assert scope["features"].shape[0] == 3 and scope["features"].ndim == 2


def test_images(monkeypatch):
    """The first example has images as the network of the guide takes them."""
    monkeypatch.chdir(TESTS.parent)
    scope: dict = {}
    exec(examples("python")[0], scope)
    assert scope["images"].shape == (8, 28, 28, 1) and scope["images"].dtype == np.uint8


def test_cpp():
    """Its lines are those of a program that is tested."""
    (code,) = examples("cpp")
    program = (TESTS / "cpp" / "classify.cc").read_text()
    lines = [line.strip() for line in code.splitlines()]
    assert len(lines) > 4 and [line for line in lines if line not in program] == []


@pytest.mark.browser
def test_node(shipped):
    package = npm_package("onnxruntime-node")
    if shutil.which("node") is None:
        pytest.skip("no node on the PATH")
    code = examples("js")[0].replace("console.log(", "console.log(JSON.stringify([...")
    code = code.replace("probabilities.data)", "probabilities.data]))")
    script = f"const {given(shipped.images[0])};\n(async () => {{ {code} }})();"
    done = subprocess.run(
        ["node", "-e", script],
        cwd=shipped.folder,
        env={**os.environ, "NODE_PATH": str(package.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert_equal([json.loads(done.stdout)], shipped.expected)


@pytest.mark.browser
def test_browser(shipped, tmp_path):
    """LiteRT.js, in a page that knows where the package is."""
    packages = tmp_path / "node_modules" / "@litertjs"
    packages.mkdir(parents=True)
    imports = {}
    for name in (LITERT, "@litertjs/wasm-utils"):
        (tmp_path / "node_modules" / name).symlink_to(npm_package(name))
        imports[name] = f"/node_modules/{name}/dist/index.js"
    shutil.copy(shipped.folder / "shipped" / "tflite" / "digits_float32.tflite", tmp_path)
    code = examples("js")[1].replace("console.log(", "window.said = Array.from(")
    head, body = code.split("\n\n")
    (tmp_path / "index.html").write_text(
        '<link rel="icon" href="data:,">'
        f'<script type="importmap">{json.dumps({"imports": imports})}</script>'
        f'<script type="module">{head}\nconst {given(shipped.images[0])};\n{body}</script>'
    )
    with opened(tmp_path) as one:
        one.page.goto(one.url)
        found = one.page.wait_for_function("window.said", timeout=60_000).json_value()
        assert one.errors == []
    assert_equal([found], shipped.expected)


def given(image):
    """Declarations of the names that the examples take as given."""
    size, _, channels = image.shape
    levels = json.dumps(image.flatten().tolist())
    return f"levels = new Uint8Array({levels}), size = {size}, channels = {channels}"
