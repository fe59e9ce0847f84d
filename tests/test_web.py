"""The static page: its files, its resizing against Pillow, and clicks in a real browser."""

import base64
import contextlib
import hashlib
import html
import json
import pathlib
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from browsers import npm_package, opened, static_server
from networks import with_statistics
from PIL import Image, ImageCms
from skimage import data

import regnet_tf
from export.command import main
from export.convert import convert
from export.formats import web
from export.network import Network
from export.source import Source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet
from regnet_tf._errors import UserError

SIZE = 64
STAGES = (StageConfig(8, 1, 8), StageConfig(16, 1, 8))
CONFIG = RegNetConfig(explicit_stages=STAGES, stem_width=8, se_ratio=0.25)
RGB = Preprocessing(image_size=SIZE)
GRAY = Preprocessing(image_size=SIZE, resize_size=80, interpolation="bilinear").with_channels(1)
#: One of the names must not be taken for HTML.
NAMES = ("cup", "<img src=x onerror=alert(1)>", "café & 中文", "tree", "sea", "sky", "sand")
PHOTOGRAPHS = {
    "astronaut": data.astronaut(),
    "cat": data.chelsea(),  # wide
    "tall": data.coffee()[:, 100:280],  # more than twice as high as wide
    "small": data.chelsea()[100:140, 200:250],  # enlarged
    "gray": np.dstack([data.camera()] * 3),
}
PIXELS = pathlib.Path(web.__file__).parents[1] / "templates" / "web" / "pixels.js"


class Exported:
    """A network with random weights that make classes, its `.tflite` file, and its page.

    Args:
        name: name of the network.
        model: a network whose last layer is its head. Its logits become about 2.
        preprocessing: its preprocessing.
        folder: where to write to.
        bias: the head's bias.
    """

    def __init__(self, name, model, preprocessing, folder, bias=(0,) * 7):
        with_statistics(model)
        head = model.layers[-1]
        dense = getattr(head, "dense", head)
        features = keras.Model(model.input, keras.tree.flatten(head.input)[0])
        images = [image[..., : preprocessing.channels] for image in PHOTOGRAPHS.values()]
        logits = features(preprocessing(images)).numpy() @ dense.kernel.numpy()
        dense.kernel.assign(dense.kernel * (2 / logits.std()))
        dense.bias.assign(bias)
        self.source = Source(name, model, preprocessing, NAMES)
        self.network = Network(model, is_classifier=True)
        self.tflite = folder / f"{name}.tflite"
        self.tflite.write_bytes(convert(self.network, preprocessing, 1))
        self.page = folder / f"{name}_page"

    def write(self, folder, **options):
        web.write_web(folder, self.source, self.network, self.tflite, **options)

    def scores(self, file, **changes):
        """The Keras model's own answer about a file."""
        preprocessing = self.source.preprocessing.replace(**changes)
        return self.source.model(preprocessing(str(file))).numpy()[0]


def classifier(channels=3, **options):
    return build_regnet(CONFIG, input_shape=(SIZE, SIZE, channels), classes=7, **options)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return Exported("classes", classifier(), RGB, tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """PNG files by name."""
    folder = tmp_path_factory.mktemp("photographs")
    files = {name: folder / f"{name}.png" for name in PHOTOGRAPHS}
    for name, image in PHOTOGRAPHS.items():
        Image.fromarray(image).save(files[name])
    return files


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
        (shutil.rmtree, "not installed. npm install --ignore-scripts @litertjs/core, or --cdn URL"),
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
    sizes = [(375, 500), (500, 333), (97, 101), (64, 64), (17, 23), (1, 1), (1, 40), (1000, 1203),
             (1024, 2048), (300, 100), (251, 101), (2000, 60), (70, 20), (90, 1)]  # fmt: skip
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


# In a browser.


@contextlib.contextmanager
def ready(folder, script=None, **options):
    """Opens the page of a folder, and waits until its network is loaded, or is not."""
    with opened(folder, **options) as site:
        if script is not None:
            site.page.add_init_script(script)
        site.page.goto(site.url)
        wait_for(site.page, "Ready|The network cannot run")
        yield site


def status(page):
    return page.text_content("#status")


def wait_for(page, beginnings):
    """Waits for the beginning of the status, a regular expression. The page forbids `eval`."""
    page.locator("#status", has_text=re.compile(f"^({beginnings})")).wait_for(timeout=60_000)


def choose(page, file):
    """Clicks, and chooses a file; returns the names and scores that the page then shows."""
    with page.expect_file_chooser() as chooser:
        page.click("#drop")
    chooser.value.set_files(file)
    wait_for(page, file.name)
    return shown(page)


def shown(page):
    return page.eval_on_selector_all(
        "#classes li",
        """items => items.map((item) =>
        [item.querySelector("span").textContent, Number(item.querySelector("data").value)])""",
    )


def check(found, scores, most=1e-4):
    """Compares the five best classes with the Keras model's scores."""
    best = np.argsort(-scores)[: len(found)]
    assert [name for name, _ in found] == [NAMES[index] for index in best]
    assert np.abs(np.array([score for _, score in found]) - scores[best]).max() < most


@pytest.fixture(scope="module")
def scripts():
    return npm_package(web.PACKAGE)


@pytest.fixture(scope="module")
def site(classes, scripts):
    """The classifier's page, opened."""
    classes.write(classes.page, scripts=scripts)
    with ready(classes.page) as site:
        yield site
        assert site.errors == []
        assert all(url.startswith((site.url, "blob:")) for url in site.requests)


@pytest.mark.browser
def test_click(site, classes, photographs):
    assert site.page.title() == "classes" and "Ready" in status(site.page)
    for name, file in photographs.items():
        scores = classes.scores(file)
        assert np.ptp(scores) > 0.05, name
        found = choose(site.page, file)
        assert len(found) == 5
        check(found, scores)
        best, score = found[0]
        assert status(site.page) == f"{file.name}: {best}, {100 * score:.1f} %"
    assert re.fullmatch(r"Network: [\d.]+ ms. Resizing: [\d.]+ ms.", site.page.inner_text("#times"))
    assert site.page.locator("#picture").bounding_box()["width"] > 100
    assert site.page.locator("img").count() == 0  # a class has the name of one


@pytest.mark.browser
def test_keyboard(site, classes, photographs):
    site.page.focus("#photograph")
    with site.page.expect_file_chooser() as chooser:
        site.page.keyboard.press("Enter")
    chooser.value.set_files(photographs["cat"])
    wait_for(site.page, "cat.png")
    check(shown(site.page), classes.scores(photographs["cat"]))


@pytest.mark.browser
def test_drop(site, classes, photographs):
    transfer = site.page.evaluate_handle(
        """([bytes, name]) => {
          const transfer = new DataTransfer();
          const content = Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0));
          transfer.items.add(new File([content], name, { type: "image/png" }));
          return transfer;
        }""",
        [base64.b64encode(photographs["tall"].read_bytes()).decode(), "dropped.png"],
    )
    site.page.dispatch_event("#status", "drop", {"dataTransfer": transfer})
    wait_for(site.page, "dropped.png")
    check(shown(site.page), classes.scores(photographs["tall"]))


@pytest.mark.browser
def test_files_that_are_no_images(site, classes, photographs, tmp_path):
    (tmp_path / "notes.png").write_text("no pixels")
    choose(site.page, tmp_path / "notes.png")
    assert status(site.page) == "notes.png is not an image that this browser can read."
    assert not site.page.is_visible("#result")
    check(choose(site.page, photographs["small"]), classes.scores(photographs["small"]))


@pytest.mark.browser
def test_jpeg(site, classes, photographs, tmp_path):
    Image.open(photographs["astronaut"]).save(tmp_path / "photo.jpg", quality=85)
    check(
        choose(site.page, tmp_path / "photo.jpg")[:1], classes.scores(tmp_path / "photo.jpg"), 0.01
    )


@pytest.mark.browser
def test_color_profiles_are_ignored(site, classes, photographs, tmp_path):
    """As Pillow and TensorFlow ignore them. Under this one, red is blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1)
    profile = profile.replace(b"????", b"bXYZ", 1)
    file = tmp_path / "profile.png"
    Image.open(photographs["astronaut"]).save(file, icc_profile=profile)
    check(choose(site.page, file), classes.scores(file))


@pytest.mark.browser
@pytest.mark.parametrize("turned", [False, True])
def test_orientation(turned, classes, scripts, tmp_path):
    """Photographs are turned as their EXIF metadata says if the network's preprocessing says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stripes = np.zeros((200, 300, 3), "uint8")
    stripes[:, ::8] = stripes[:, 1::8] = 255
    classes.write(tmp_path / "web", scripts=scripts)
    facts = json.loads((tmp_path / "web" / "facts.json").read_text())
    facts["preprocessing"]["exif_orientation"] = turned
    (tmp_path / "web" / "facts.json").write_text(json.dumps(facts))
    with ready(tmp_path / "web") as site:
        for file in (tmp_path / "turned.jpg", tmp_path / "turned.png"):
            Image.fromarray(stripes).save(file, exif=exif)
            upright, raw = (classes.scores(file, exif_orientation=one) for one in (True, False))
            assert np.abs(upright - raw).max() > 0.05
            check(choose(site.page, file), upright if turned else raw, 0.01)


@pytest.mark.browser
def test_several_classes_of_gray_images(scripts, photographs, tmp_path):
    model = classifier(channels=1, classifier_activation="sigmoid")
    exported = Exported("several", model, GRAY, tmp_path, bias=[9, 8, 7, 6, 5, 4, -9])
    exported.write(exported.page, scripts=scripts)
    with ready(exported.page) as site:
        found = choose(site.page, photographs["astronaut"])
        scores = exported.scores(photographs["astronaut"])
        assert (scores > 0.5).sum() == 6 == len(found)
        check(found, scores)
        assert site.page.locator("li.present").count() == 6
        assert "several classes" in site.page.inner_text("#note")


@pytest.mark.browser
def test_classes_of_pixels(scripts, photographs, tmp_path):
    backbone = regnet_tf.backbone(CONFIG, outputs=(1, 2), input_shape=(SIZE, SIZE, 3))
    model = regnet_tf.segmentation_model(backbone, 7, width=8)
    exported = Exported("pixels", model, RGB, tmp_path)
    exported.write(exported.page, scripts=scripts)
    with ready(exported.page) as site:
        found = dict(choose(site.page, photographs["astronaut"]))
        best = exported.scores(photographs["astronaut"]).argmax(-1)
        shares = np.bincount(best.ravel(), minlength=7) / best.size
        assert (shares > 0).sum() > 2
        for name, share in zip(NAMES, shares, strict=True):
            assert found.get(name, 0) == pytest.approx(share, abs=2 / best.size)
        assert site.page.locator("li b").count() == len(found)


@pytest.mark.browser
def test_browsers_without_relaxed_simd(classes, scripts, photographs, tmp_path):
    """Safari loads another file of the package, with the same answers."""
    classes.write(tmp_path / "web", scripts=scripts)
    script = """{
      const { instantiate } = WebAssembly;
      WebAssembly.instantiate = (code, ...rest) => code.length < 99
        ? Promise.reject(new Error("unknown instruction")) : instantiate(code, ...rest);
    }"""
    with ready(tmp_path / "web", script) as site:
        check(choose(site.page, photographs["cat"]), classes.scores(photographs["cat"]))
        assert any(url.endswith("/litert_wasm_compat_internal.wasm") for url in site.requests)
        assert not any(url.endswith("/litert_wasm_internal.wasm") for url in site.requests)


@pytest.mark.browser
def test_phones(classes, scripts, photographs, tmp_path):
    classes.write(tmp_path / "web", scripts=scripts)
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with ready(tmp_path / "web", **phone, color_scheme="dark") as site:
        assert site.page.get_attribute("#camera", "capture") == "environment"
        with site.page.expect_file_chooser() as chooser:
            site.page.tap(".camera")
        chooser.value.set_files(photographs["astronaut"])
        wait_for(site.page, "astronaut.png")
        check(shown(site.page), classes.scores(photographs["astronaut"]))
        assert site.page.evaluate("document.documentElement.scrollWidth") == 360
        background = site.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", background))) < 64


@pytest.mark.browser
def test_command(classes, scripts, photographs, tmp_path):
    """A network goes from its file to the browser."""
    classes.source.model.save(tmp_path / "model.keras")
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    command = [str(tmp_path / "model.keras"), "--labels", str(tmp_path / "names.txt")]
    command += ["--out", str(tmp_path / "out"), "--format", "web", "--web-scripts", str(scripts)]
    assert main(command) == 0
    with ready(tmp_path / "out" / "web") as site:
        assert site.page.title() == "model"
        check(choose(site.page, photographs["cat"]), classes.scores(photographs["cat"]))


@pytest.mark.browser
def test_nothing_is_sent(classes, scripts, tmp_path):
    """The page's policy refuses requests to other servers, even if a script made them."""
    request = "url => fetch(url).then(() => true, () => false)"
    classes.write(tmp_path / "web", scripts=scripts)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<title>without a policy</title>")
    with static_server(tmp_path, {"Access-Control-Allow-Origin": "*"}) as other:
        for name, allowed in (("page", True), ("web", False)):
            with opened(tmp_path / name) as site:
                site.page.goto(site.url)
                assert site.page.evaluate(request, other) == allowed


@pytest.mark.browser
def test_scripts_of_a_cdn(classes, scripts, photographs, tmp_path):
    for name, folder in web.find_scripts(scripts).folders.items():
        place = tmp_path / "cdn" / f"{name}@{web.VERSION}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(folder)
    with static_server(tmp_path / "cdn", {"Access-Control-Allow-Origin": "*"}) as cdn:
        classes.write(tmp_path / "web", cdn=cdn)
        assert not (tmp_path / "web" / "@litertjs").exists()
        with ready(tmp_path / "web") as site:
            check(choose(site.page, photographs["cat"]), classes.scores(photographs["cat"]))
            assert site.errors == []
            others = [url for url in site.requests if not url.startswith((site.url, "blob:"))]
            assert others and all(url.startswith(cdn) for url in others)
    with ready(tmp_path / "web") as site:  # the CDN is gone
        assert status(site.page).startswith("The network cannot run: ")


@pytest.mark.browser
def test_pages_that_can_not_run(classes, scripts, tmp_path):
    classes.write(tmp_path / "web", scripts=scripts)
    with ready(tmp_path / "web", "delete window.WebAssembly") as site:
        told = "The network cannot run: this browser has no WebAssembly."
        assert status(site.page) == told
        site.page.goto((tmp_path / "web" / "index.html").as_uri())
        assert "python -m http.server" in status(site.page)
    (tmp_path / "web" / "classes.tflite").unlink()
    with ready(tmp_path / "web") as site:
        told = "The network cannot run: classes.tflite is missing on the server."
        assert status(site.page) == told
