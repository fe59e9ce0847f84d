"""Exported files in browsers: LiteRT.js, MediaPipe, ONNX Runtime Web; and in Node.js."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.formats import PRECISIONS
from regnet_tf import RegNetConfig, StageConfig
from tests.browser import networks
from tests.browser.clients import CLIENTS, MEDIAPIPE, PACKAGES, Client, browser
from tests.browsers import chromium as chromium_program
from tests.browsers import npm_package

playwright = pytest.importorskip("playwright.sync_api")

SIZE = 64
TINY = RegNetConfig(
    name="tiny",
    explicit_stages=(StageConfig(16, 1, 8), StageConfig(64, 2, 16)),
    stem_width=16,
    se_ratio=0.25,
)
KINDS = [f"TFLite {precision}" for precision in PRECISIONS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The files of a network of parts of photographs."""
    images = networks.photographs(SIZE, 2, 5)
    model = networks.classifier(TINY, SIZE)
    return networks.write(model, tmp_path_factory.mktemp("files"), networks.WRITERS, images)


@pytest.fixture(scope="module")
def segments(exported):
    """The files of a network of classes of pixels, next to the others."""
    folder = exported.files["TFLite float32"].parent
    kinds = ["TFLite float32", "TFLite float16"]
    return networks.write(networks.segmenter(TINY, SIZE), folder, kinds, exported.images)


@pytest.fixture(scope="module")
def installed():
    """Skips the tests where Chromium or a package is missing, before any file is exported."""
    chromium_program()
    for name in PACKAGES:
        npm_package(name)


@pytest.fixture(scope="module")
def chromium(installed, exported, tmp_path_factory):
    """A `Browser` next to those files."""
    folder = exported.files["TFLite float32"].parent
    with browser(tmp_path_factory.mktemp("site"), folder, PACKAGES) as one:
        yield one


@pytest.fixture(scope="module")
def devices(chromium):
    return chromium.devices()


def check(found, kind, expected):
    """Probabilities are Keras', as near as a kind of file allows."""
    if kind.endswith("float32"):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.95


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", ["LiteRT.js, wasm", "MediaPipe, CPU"])
def test_tflite_files(chromium, exported, client, kind):
    file, count = exported.files[kind], len(exported.images)
    with chromium.load(CLIENTS[client], file.name, count) as loaded:
        check(loaded.answer(), kind, exported.outputs["probabilities"])


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["ONNX float32", "ONNX int8"])
def test_onnx_files(chromium, exported, kind):
    file, count = exported.files[kind], len(exported.images)
    with chromium.load(CLIENTS["ONNX Runtime Web, wasm"], file.name, count) as loaded:
        check(loaded.answer(), kind, exported.outputs["probabilities"])


@pytest.mark.browser
@pytest.mark.parametrize("client", [name for name in CLIENTS if "threads" in name])
def test_threads(chromium, exported, client):
    client = CLIENTS[client]
    kind = "TFLite float32" if client.suffix == ".tflite" else "ONNX float32"
    with chromium.load(client, exported.files[kind].name, len(exported.images)) as loaded:
        check(loaded.answer(), kind, exported.outputs["probabilities"])


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["TFLite float32", "TFLite float16"])
def test_webgpu(chromium, devices, exported, kind):
    """LiteRT.js 2.5.3 answers wrongly for 8-bit weights of grouped convolutions."""
    if devices["webgpu"] is None:
        pytest.skip("the browser has no WebGPU")
    count = 3  # a software GPU takes its time
    file = exported.files[kind].name
    with chromium.load(CLIENTS["LiteRT.js, WebGPU"], file, count) as loaded:
        assert loaded.facts["fully_accelerated"]
        check(loaded.answer(), kind, exported.outputs["probabilities"][:count])


@pytest.mark.browser
def test_webnn_by_onnx(chromium, devices, exported):
    if devices["webnn"] is None:
        pytest.skip("the browser has no WebNN")
    file, count = exported.files["ONNX float32"].name, len(exported.images)
    with chromium.load(CLIENTS["ONNX Runtime Web, WebNN"], file, count) as loaded:
        check(loaded.answer(), "ONNX float32", exported.outputs["probabilities"])


@pytest.mark.browser
def test_webnn_by_litert(chromium, devices, exported):
    if devices["webnn"] is None:
        pytest.skip("the browser has no WebNN")
    file, count = exported.files["TFLite float32"].name, len(exported.images)
    try:
        with chromium.load(CLIENTS["LiteRT.js, WebNN"], file, count) as loaded:
            check(loaded.answer(), "TFLite float32", exported.outputs["probabilities"])
    except playwright.Error as error:
        if "The groups must evenly divide the input channels" not in error.message:
            raise
        pytest.xfail("LiteRT.js does not tell WebNN the groups of a convolution")


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["TFLite float32", "TFLite float16"])
def test_mediapipe_segments(chromium, segments, kind):
    client = Client(MEDIAPIPE, "segmenter", {}, ".tflite")
    file, count = segments.files[kind].name, len(segments.images)
    with chromium.load(client, file, count) as loaded:
        assert tuple(loaded.facts["labels"]) == segments.labels
        expected = segments.outputs["probabilities"].argmax(-1)
        found = loaded.answer().reshape(expected.shape)
    assert (found == expected).mean() > (0.999 if kind.endswith("float32") else 0.98)


@pytest.mark.browser
def test_mediapipe_embeds(chromium, exported):
    client = Client(MEDIAPIPE, "embedder", {}, ".tflite")
    file, expected = exported.files["TFLite features"].name, exported.outputs["features"]
    with chromium.load(client, file, len(expected)) as loaded:
        found = loaded.answer()
    np.testing.assert_allclose(cosines(found), cosines(expected), rtol=0, atol=1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def cosines(features):
    """The cosine of each pair."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.fixture(scope="module")
def node():
    """Node.js and its ONNX Runtime; skips the tests without them, before any file is exported."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not on the PATH")
    return program, npm_package("onnxruntime-node")


@pytest.mark.node
@pytest.mark.parametrize("kind", ["ONNX float32", "ONNX int8"])
def test_onnxruntime_node(node, exported, tmp_path, kind):
    program, package = node
    (tmp_path / "images").write_bytes(exported.images.tobytes())
    script = Path(__file__).with_name("node.cjs")
    arguments = [package, exported.files[kind], tmp_path / "images", len(exported.images), SIZE]
    done = subprocess.run(
        [program, *map(str, (script, *arguments))], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    for name, expected in exported.outputs.items():
        found = np.array(outputs[name]).reshape(expected.shape)
        if name == "probabilities":
            check(found, kind, expected)
        elif kind.endswith("float32"):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
