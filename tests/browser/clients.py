"""Programs for browsers that run exported files, each on a page of its own."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.browsers import ISOLATED, npm_package, opened

#: Arguments of Chromium: WebNN, and WebGPU and WebGL on the CPU where there is no graphics card.
FLAGS = (
    "--enable-features=WebMachineLearningNeuralNetwork",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-unsafe-swiftshader",
)
LITERT, MEDIAPIPE, ONNXRUNTIME = "@litertjs/core", "@mediapipe/tasks-vision", "onnxruntime-web"
#: Package -> others that it imports.
PACKAGES = {LITERT: ["@litertjs/wasm-utils"], MEDIAPIPE: [], ONNXRUNTIME: []}
#: Pages and scripts.
PAGE = Path(__file__).with_name("page")


def versions(packages):
    """Returns the installed version of each npm package, a dict."""
    files = {name: npm_package(name) / "package.json" for name in packages}
    return {name: json.loads(file.read_text())["version"] for name, file in files.items()}


class Client(NamedTuple):
    """A program that runs files in a browser.

    Attributes:
        package: its npm package, a key of `PACKAGES`.
        runtime: function in `page/runtimes.mjs`.
        options: options of that function.
        suffix: suffix of its files.
    """

    package: str
    runtime: str
    options: dict[str, Any]
    suffix: str


#: Name -> `Client`.
CLIENTS = {
    "LiteRT.js, wasm": Client(LITERT, "litert", {}, ".tflite"),
    "LiteRT.js, wasm, 2 threads": Client(LITERT, "litert", {"threads": 2}, ".tflite"),
    "LiteRT.js, WebGPU": Client(LITERT, "litert", {"accelerator": "webgpu"}, ".tflite"),
    "LiteRT.js, WebNN": Client(LITERT, "litert", {"accelerator": "webnn"}, ".tflite"),
    "MediaPipe, CPU": Client(MEDIAPIPE, "classifier", {}, ".tflite"),
    "MediaPipe, GPU": Client(MEDIAPIPE, "classifier", {"delegate": "GPU"}, ".tflite"),
    "ONNX Runtime Web, wasm": Client(ONNXRUNTIME, "onnxruntime", {}, ".onnx"),
    "ONNX Runtime Web, wasm, 2 threads": Client(
        ONNXRUNTIME, "onnxruntime", {"threads": 2}, ".onnx"
    ),
    "ONNX Runtime Web, WebGPU": Client(
        ONNXRUNTIME, "onnxruntime", {"accelerator": "webgpu"}, ".onnx"
    ),
    "ONNX Runtime Web, WebNN": Client(
        ONNXRUNTIME, "onnxruntime", {"accelerator": "webnn"}, ".onnx"
    ),
}


class Loaded(NamedTuple):
    """A file in a client.

    Attributes:
        page: Playwright's `Page`.
        facts: what the runtime says of the file.
    """

    page: Any
    facts: dict

    def answer(self) -> np.ndarray:
        """Returns the outputs for the photographs, float32 `(count, ...)`."""
        return np.array(self.page.evaluate("client.answer()"), "float32")

    def milliseconds(self, seconds: float) -> float:
        """Returns the milliseconds of a call, the mean of the calls of some seconds."""
        return self.page.evaluate("seconds => client.measure(seconds)", seconds)


class Browser:
    """A browser next to a server of files.

    Args:
        page: Playwright's `Page`, of `tests.browsers.opened`.
        url: URL of the server.
    """

    def __init__(self, page, url):
        self._browser, self._url = page.context.browser, url

    @contextlib.contextmanager
    def load(self, client, file, count):
        """Opens a file on a new page; yields a `Loaded`.

        Args:
            client: a `Client`.
            file: the file's name.
            count: number of photographs, "0.png", "1.png", ...
        """
        with self._page() as page:
            facts = page.evaluate(
                "request => client.load(request)",
                {
                    "runtime": client.runtime,
                    "file": f"/files/{file}",
                    "options": client.options,
                    "images": [f"/files/{number}.png" for number in range(count)],
                },
            )
            yield Loaded(page, facts)

    @contextlib.contextmanager
    def _page(self):
        page = self._browser.new_page()
        try:
            page.goto(self._url + "page/index.html")
            page.wait_for_function("window.client !== undefined")
            yield page
        finally:
            page.close()

    def devices(self):
        """Returns the devices of "webgpu" and "webnn", a dict; each is None if there is none."""
        with self._page() as page:
            return page.evaluate("client.devices()")

    @property
    def version(self):
        """The browser's version."""
        return self._browser.version


@contextlib.contextmanager
def browser(folder, files, packages):
    """Starts Chromium and a server of files; yields a `Browser`.

    Args:
        folder: an empty folder for what is served.
        files: folder with the files and the photographs.
        packages: keys of `PACKAGES`; without one of them the test is skipped.
    """
    (folder / "page").symlink_to(PAGE)
    (folder / "files").symlink_to(files.resolve())
    for package in [name for first in packages for name in (first, *PACKAGES[first])]:
        link = folder / "packages" / package
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(npm_package(package), link)
    with opened(folder, ISOLATED, FLAGS) as one:
        yield Browser(one.page, one.url)
