"""The static page in a real browser: clicks, and answers against the Keras model's."""

import base64
import contextlib
import json
import re

import keras
import numpy as np
import pytest
from browsers import npm_package, opened, static_server
from pages import CONFIG, NAMES, PHOTOGRAPHS, RGB, SIZE, Exported, classifier
from PIL import Image, ImageCms

import regnet_tf
from export.command import main
from export.formats import web
from regnet_tf import Preprocessing

pytestmark = pytest.mark.browser
GRAY = Preprocessing(image_size=SIZE, resize_size=80, interpolation="bilinear").with_channels(1)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    keras.utils.set_random_seed(0)
    return Exported("classes", classifier(), RGB, tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """PNG files by name."""
    folder = tmp_path_factory.mktemp("photographs")
    files = {name: folder / f"{name}.png" for name in PHOTOGRAPHS}
    for name, image in PHOTOGRAPHS.items():
        Image.fromarray(image).save(files[name])
    return files


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


def write_changed(exported, folder, scripts, **changes):
    """Writes a page whose preprocessing is another one."""
    exported.write(folder, scripts=scripts)
    facts = json.loads((folder / "facts.json").read_text())
    facts["preprocessing"].update(changes)
    (folder / "facts.json").write_text(json.dumps(facts))


def test_images_that_are_too_large(classes, scripts, photographs, tmp_path):
    write_changed(classes, tmp_path / "web", scripts, max_pixels=40 * 50)
    with ready(tmp_path / "web") as site:
        choose(site.page, photographs["cat"])
        assert status(site.page) == "cat.png has more than 2,000 pixels."
        check(choose(site.page, photographs["small"]), classes.scores(photographs["small"]))


def test_keyboard(site, classes, photographs):
    with site.page.expect_file_chooser() as chooser:
        site.page.focus("#photograph")  # a request, so that the browser knows what is expected
        site.page.keyboard.press("Enter")
    chooser.value.set_files(photographs["cat"])
    wait_for(site.page, "cat.png")
    check(shown(site.page), classes.scores(photographs["cat"]))


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


def test_files_that_are_no_images(site, classes, photographs, tmp_path):
    (tmp_path / "notes.png").write_text("no pixels")
    choose(site.page, tmp_path / "notes.png")
    assert status(site.page) == "notes.png is not an image that this browser can read."
    assert not site.page.is_visible("#result")
    check(choose(site.page, photographs["small"]), classes.scores(photographs["small"]))


def test_jpeg(site, classes, photographs, tmp_path):
    Image.open(photographs["astronaut"]).save(tmp_path / "photo.jpg", quality=85)
    check(
        choose(site.page, tmp_path / "photo.jpg")[:1], classes.scores(tmp_path / "photo.jpg"), 0.01
    )


def test_color_profiles_are_ignored(site, classes, photographs, tmp_path):
    """As Pillow and TensorFlow ignore them. Under this one, red is blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1)
    profile = profile.replace(b"????", b"bXYZ", 1)
    file = tmp_path / "profile.png"
    Image.open(photographs["astronaut"]).save(file, icc_profile=profile)
    check(choose(site.page, file), classes.scores(file))


@pytest.mark.parametrize("turned", [False, True])
def test_orientation(turned, classes, scripts, tmp_path):
    """Photographs are turned as their EXIF metadata says if the network's preprocessing says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stripes = np.zeros((200, 300, 3), "uint8")
    stripes[:, ::8] = stripes[:, 1::8] = 255
    write_changed(classes, tmp_path / "web", scripts, exif_orientation=turned)
    with ready(tmp_path / "web") as site:
        for file in (tmp_path / "turned.jpg", tmp_path / "turned.png"):
            Image.fromarray(stripes).save(file, exif=exif)
            upright, raw = (classes.scores(file, exif_orientation=one) for one in (True, False))
            assert np.abs(upright - raw).max() > 0.05
            check(choose(site.page, file), upright if turned else raw, 0.04)  # of JPEG decoders


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


def test_command(classes, scripts, photographs, tmp_path):
    """A network goes from its file to the browser."""
    classes.source.model.save(tmp_path / "animals.keras")
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    command = [str(tmp_path / "animals.keras"), "--labels", str(tmp_path / "names.txt")]
    command += ["--out", str(tmp_path / "out"), "--format", "web", "--web-scripts", str(scripts)]
    assert main([*command, "--web-precision", "int8"]) == 2  # without calibration
    assert main([*command, "--web-precision", "dynamic_range"]) == 0
    with ready(tmp_path / "out" / "web") as site:
        assert site.page.title() == "animals"
        assert site.page.inner_text("#network") == "animals_dynamic_range.tflite"
        scores = classes.scores(photographs["cat"])
        check(choose(site.page, photographs["cat"])[:1], scores, 0.1)


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
