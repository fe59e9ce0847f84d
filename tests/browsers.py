"""Chromium, packages of npm, and a static server, for tests of what runs in browsers."""

import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import subprocess
import threading
from typing import NamedTuple

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium():
    """Returns the path of Chromium or Chrome, in `$CHROME` or on the PATH; else skips the test."""
    found = next(filter(None, map(shutil.which, (os.environ.get("CHROME", ""), *CHROMIUM))), None)
    if found is None:
        pytest.skip(f"no browser in $CHROME or on the PATH: {', '.join(CHROMIUM)}")
    return found


@functools.cache
def _global_packages():
    npm = shutil.which("npm")
    done = npm and subprocess.run([npm, "root", "-g"], capture_output=True, text=True, timeout=60)
    return [done.stdout.strip()] if done and done.returncode == 0 else []


def npm_package(name):
    """Returns the `Path` of an installed package of npm; skips the test if there is none.

    It is looked for in `node_modules` here, in the folders of `$NODE_PATH`, and where `npm install
    --global` puts it.
    """
    extra = filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep))
    for folder in ("node_modules", *extra, *_global_packages()):
        package = pathlib.Path(folder) / name
        if (package / "package.json").is_file():
            return package.resolve()
    pytest.skip(f"npm package {name} is not installed: npm install --ignore-scripts {name}")


@contextlib.contextmanager
def static_server(folder, headers=None):
    """Serves a folder as `python -m http.server` does; yields the URL, which ends in a slash.

    `headers` are added to each answer: threads in wasm need `ISOLATED`.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *arguments):
            """Prints nothing."""

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


#: Headers of a page that may share memory between threads.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Opened(NamedTuple):
    """A page in a browser.

    Attributes:
        page: Playwright's `Page`. `page.goto(opened.url)` loads what the folder serves.
        url: URL of the folder.
        errors: errors in the page's console, and those that nobody caught.
        requests: URLs that the page requested.
    """

    page: object
    url: str
    errors: list
    requests: list


_launchers = []


@contextlib.contextmanager
def _launcher():
    """Yields a function from more arguments of Chromium to Playwright's `Browser`.

    Playwright can run only once at a time, so what is opened inside shares it and the browsers.
    """
    if _launchers:
        yield _launchers[0]
        return
    path = chromium()
    with pytest.importorskip("playwright.sync_api").sync_playwright() as driver:

        @functools.cache
        def launch(*arguments):
            arguments = ["--no-sandbox", *arguments]
            return driver.chromium.launch(executable_path=path, args=arguments)

        _launchers.append(launch)
        try:
            yield launch
        finally:
            _launchers.clear()


@contextlib.contextmanager
def opened(folder, headers=None, arguments=(), **options):
    """Opens an empty page in headless Chromium next to a server of a folder; yields an `Opened`.

    Args:
        folder: what to serve.
        headers: more headers of the server.
        arguments: more arguments of Chromium.
        **options: of Playwright's `Browser.new_page`, such as `color_scheme="dark"`.
    """
    with static_server(folder, headers) as url, _launcher() as launch:
        page = launch(*arguments).new_page(**options)
        errors, requests = [], []
        page.on("console", lambda said: _note(errors, said))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        try:
            yield Opened(page, url, errors, requests)
        finally:
            page.close()


def _note(errors, said):
    # Programs in wasm write their whole log to the console as errors.
    if said.type == "error" and not said.text.startswith(("INFO: ", "WARNING: ")):
        errors.append(said.text)
