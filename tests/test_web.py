"""The static page: which files it has, and its resizing against Pillow."""

import base64
import hashlib
import html
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from pages import NAMES, RGB, Exported, classifier
from PIL import Image

from export.formats import web
from export.network import Network
from export.source import Source
from regnet_tf import Preprocessing
from regnet_tf._errors import UserError

PIXELS = pathlib.Path(web.__file__).parents[1] / "templates" / "web" / "pixels.js"


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return Exported("classes", classifier(), RGB, tmp_path_factory.mktemp("classes"))


# What is written.


@pytest.fixture
def modules(tmp_path):
    """A `node_modules` with the packages' files, whose content is their name."""
    folder = tmp_path / "node_modules"
    for package, files in web._FILES.items():
        for file in files:
            path = folder / package / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{package} {file}")
        about = {"name": package, "version": web.VERSION, "license": "Apache-2.0"}
        (folder / package / "package.json").write_text(json.dumps(about))
    return folder


def written(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_folder(classes, modules, tmp_path):
    classes.write(tmp_path / "web", scripts=modules)
    files = written(tmp_path / "web")
    for package, names in web._FILES.items():
        for name in names:
            content = files.pop(f"{package}/{name}")
            assert content == (modules / package / name).read_bytes()
        assert b"Apache License" in files.pop(f"{package}/LICENSE")
    page = files.pop("index.html").decode()
    assert not re.search("@[A-Z]+@", page)
    assert sorted(files) == [
        "classes.tflite", "decoding.js", "facts.json", "labels.txt", "page.css", "page.js",
        "pixels.js",
    ]  # fmt: skip
    assert files["classes.tflite"] == classes.tflite.read_bytes()
    assert files["labels.txt"].decode().splitlines() == list(NAMES)
    facts = json.loads(files["facts.json"])
    assert Preprocessing.from_dict(facts["preprocessing"]).interpolation == "bicubic"
    # Nothing of another host, and no script in the page but the list of modules.
    texts = [page, *(files[name].decode() for name in web._STATIC)]
    assert not any("://" in text for text in texts)
    (imports,) = re.findall(r"<script type=\"importmap\">(.*?)</script>", page)
    assert page.count("<script") == 2
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    assert html.escape(f"'sha256-{digest}'") in page
    # A second export is the same.
    classes.write(tmp_path / "again", scripts=modules)
    assert written(tmp_path / "again") == written(tmp_path / "web")


def test_licence_of_the_package(classes, modules, tmp_path):
    (modules / web.PACKAGE / "LICENSE").write_text("its own")
    classes.write(tmp_path / "web", scripts=modules)
    assert (tmp_path / "web" / web.PACKAGE / "LICENSE").read_text() == "its own"


@pytest.mark.parametrize("place", ["folder", "core", "here", "path", "npm"])
def test_scripts_are_found(place, modules, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "elsewhere").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(f"#!/bin/sh\ntest $1 = root && echo {modules}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin' if place == 'npm' else tmp_path}:/bin")
    monkeypatch.setenv("NODE_PATH", str(modules) if place == "path" else "")
    monkeypatch.chdir(tmp_path if place == "here" else tmp_path / "elsewhere")
    given = {"folder": modules, "core": modules / web.PACKAGE}.get(place)
    found = web.find_scripts(given)
    assert found == ({name: modules / name for name in web._FILES}, web.VERSION)


def change_version(modules):
    about = {"name": web.PACKAGE, "version": "9.0.0"}
    (modules / web.PACKAGE / "package.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            shutil.rmtree,
            "not installed. Run npm install --ignore-scripts @litertjs/core, or give --cdn URL.",
        ),
        (
            lambda modules: (modules / web.PACKAGE / "wasm/litert_wasm_internal.wasm").unlink(),
            "core is damaged: it lacks wasm/litert_wasm_internal.wasm",
        ),
        (lambda modules: shutil.rmtree(modules / web._HELPERS), "utils is damaged"),
        (lambda modules: (modules / web.PACKAGE / "package.json").write_text("{"), "json is dam"),
        (change_version, "needs @litertjs/core 2. Received: 9.0.0"),
    ],
)
def test_scripts_that_are_missing(change, message, classes, modules, tmp_path, monkeypatch):
    change(modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("NODE_PATH", raising=False)
    with pytest.raises(UserError, match=re.escape(message)):
        classes.write(tmp_path / "web")
    assert not (tmp_path / "web").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scripts": "nowhere"}, "package @litertjs/core. Received: nowhere"),
        ({"scripts": "a", "cdn": "https://b"}, "either --web-scripts or --cdn"),
        ({"cdn": "example.org/npm"}, "Received: 'example.org/npm'"),
        ({"cdn": "https://a.b/'; script-src *"}, "`cdn` must be the URL"),
        ({"cdn": 'https://a.b/"></script>'}, "`cdn` must be the URL"),
    ],
)
def test_refusals(options, message, classes, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)):
        classes.write(tmp_path / "web", **options)
    assert not (tmp_path / "web").exists()


@pytest.mark.parametrize(
    ("model", "names", "message"),
    [
        (lambda: classifier(include_top=False), (), "it has no head"),
        (lambda: classifier(channels=4), NAMES, "1 or 3 channels. Received: other, with 4"),
    ],
)
def test_networks_without_a_page(model, names, message, modules):
    model = model()
    preprocessing = RGB.with_channels(model.inputs[0].shape[-1])
    source = Source("other", model, preprocessing, names)
    network = Network(model, is_classifier=bool(names))
    with pytest.raises(UserError, match=message):
        web.check_web(source, network, modules)


# Resizing, by the page's own script in Node.

RESIZING = """
import { readFileSync, writeFileSync } from "node:fs";
const { layoutOf, prepare } = await import(process.argv[1]);
for (const { file, width, height, preprocessing } of JSON.parse(readFileSync(0))) {
  const rgba = readFileSync(file);
  const read = (x, y, columns, rows) => {
    const part = new Uint8Array(4 * columns * rows);
    for (let row = 0; row < rows; row++) {
      const from = 4 * ((y + row) * width + x);
      part.set(rgba.subarray(from, from + 4 * columns), 4 * columns * row);
    }
    return part;
  };
  const layout = layoutOf(width, height, preprocessing);
  writeFileSync(file, prepare(read, layout, preprocessing.mean.length));
}
"""


def by_pillow(image, preprocessing):
    """Torchvision's Resize and CenterCrop; for pycls this project's, which is tested elsewhere."""
    if preprocessing.channels == 1:
        image = np.asarray(Image.fromarray(image).convert("L"))
    if preprocessing.interpolation == "pycls":
        crop = preprocessing.resize_and_crop(image.reshape(*image.shape[:2], -1))
        return np.clip(np.round(crop), 0, 255).astype("uint8")
    height, width = image.shape[:2]
    short, size = preprocessing.shorter_side, preprocessing.image_size
    resized = (int(short * width / min(height, width)), int(short * height / min(height, width)))
    method = Image.Resampling[preprocessing.interpolation.upper()]
    image = np.asarray(Image.fromarray(image).resize(resized, method))
    missing = [max(size - side, 0) for side in image.shape[:2]]
    padding = [(n // 2, n - n // 2) for n in missing]
    image = np.pad(image, padding + [(0, 0)] * (image.ndim - 2))
    top, left = (round((side - size) / 2) for side in image.shape[:2])
    return image[top : top + size, left : left + size].reshape(size, size, -1)


def test_resizing_equals_pillow(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    rng, cases, expected = np.random.default_rng(0), [], []
    sizes = [(375, 500), (500, 333), (64, 64), (17, 23), (1, 1), (1, 40), (512, 1024), (300, 100),
             (251, 101), (2000, 60), (70, 20), (90, 1)]  # fmt: skip
    for height, width in sizes:
        for interpolation in ("bilinear", "bicubic", "pycls"):
            for size, short, channels in ((96, 112, 3), (61, 61, 1), (40, 33, 3)):
                image = rng.integers(0, 256, (height, width, 3), "uint8")
                if short == 112:  # of zeros and 255s a cubic overshoots
                    image = (image > 127).astype("uint8") * 255
                preprocessing = Preprocessing(
                    image_size=size, resize_size=short, interpolation=interpolation
                ).with_channels(channels)
                file = tmp_path / f"{len(cases)}"
                np.dstack([image, np.full((height, width), 255, "uint8")]).tofile(file)
                fields = {"width": width, "height": height, "file": str(file)}
                cases.append({**fields, "preprocessing": preprocessing.to_dict()})
                expected.append(by_pillow(image, preprocessing))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(PIXELS, tmp_path)
    command = [node, "--input-type=module", "--eval", RESIZING, str(tmp_path / "pixels.js")]
    subprocess.run(command, input=json.dumps(cases), text=True, check=True, timeout=120)
    for case, levels in zip(cases, expected, strict=True):
        found = np.fromfile(case["file"], "uint8").reshape(levels.shape)
        np.testing.assert_array_equal(found, levels, str(case))
