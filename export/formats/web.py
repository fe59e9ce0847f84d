"""A static page that classifies photographs in a browser."""

import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from regnet_tf._errors import UserError
from regnet_tf._files import naming_file, read_json

from ..descriptions import descriptions
from .base import Artefact, Format, check_calibration
from .tflite import write_tflite

#: The runtime in the browser, a package of npm, and the version that a CDN delivers. MediaPipe's
#: tasks would stretch photographs to squares, and onnxruntime-web is larger.
PACKAGE, VERSION = "@litertjs/core", "2.5.3"
#: A package that `PACKAGE` imports, which has the same version.
_HELPERS = "@litertjs/wasm-utils"
_MODULE = "dist/index.js"
# Chromium, Edge and Firefox load the first pair, Safari the second: it has no relaxed SIMD. The
# other files of the package need headers for threads that static servers do not send, or a GPU.
_VARIANTS = ("litert_wasm_internal", "litert_wasm_compat_internal")
_FILES = {
    PACKAGE: (
        *("package.json", _MODULE),
        *(f"wasm/{name}.{suffix}" for name in _VARIANTS for suffix in ("js", "wasm")),
    ),
    _HELPERS: ("package.json", _MODULE),
}
_LICENSE = "LICENSE"
_TEMPLATES = Path(__file__).parents[1] / "templates" / "web"
_PAGE, _STATIC = "index.html", ("page.css", "page.js", "decoding.js", "pixels.js")
_CHANNELS = (1, 3)
_HOST_AND_PATH = re.compile(r"[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~%@+/-]*)?")


class Scripts(NamedTuple):
    """Installed packages of npm that the page needs.

    Attributes:
        folders: the `Path` of each package by name.
        version: version of `PACKAGE`.
    """

    folders: dict[str, Path]
    version: str


def check_web(source, network, scripts=None, cdn=None):
    """Raises the errors that `write_web` would raise, and writes nothing.

    Args:
        source: an `export.source.Source`.
        network: its `export.network.Network`.
        scripts: see `write_web`.
        cdn: see `write_web`.

    Raises:
        UserError: if the network has no classes, or its images are not gray or RGB; if `cdn` is no
            URL; or if the packages are missing, damaged or of another major version.
    """
    if "probabilities" not in network.outputs or not source.labels:
        raise UserError(
            f"--format web shows classes, and {source.name} has none: it has no head. Omit web."
        )
    if network.channels not in _CHANNELS:
        raise UserError(
            "--format web takes networks of gray or RGB images, with 1 or 3 channels. Received:"
            f" {source.name}, with {network.channels}"
        )
    if cdn is not None and scripts is not None:
        raise UserError("Give either --web-scripts or --cdn, not both.")
    if cdn is None:
        find_scripts(scripts)
    else:
        _check_cdn(cdn)


def write_web(folder, source, network, tflite_file, scripts=None, cdn=None):
    """Writes a folder with a static page: choose a photograph, see its classes.

    The page works from any static server, such as `python -m http.server`. It sends nothing: the
    network runs in the browser. It resizes photographs as `source.preprocessing` does, to equal
    levels. A network of pixels gets an overlay; several classes of an image are all shown.

    Args:
        folder: a `Path`, which is created.
        source: an `export.source.Source`.
        network: its `export.network.Network`.
        tflite_file: the `Path` of its `.tflite` file, whose output is float32. It is copied.
        scripts: folder of the npm package `@litertjs/core`, or a `node_modules` that has it. By
            default it is looked for in `./node_modules`, in the folders of the environment variable
            NODE_PATH, and where `npm install --global` puts it. Its files are copied.
        cdn: URL where packages of npm are served as `URL/NAME@VERSION/FILE`. The page then fetches
            the scripts from there, and nothing is copied.

    Raises:
        UserError: see `check_web`; or if a file cannot be written.
    """
    check_web(source, network, scripts, cdn)
    folder = Path(folder)
    if cdn is None:
        found = find_scripts(scripts)
        places = {name: f"./{name}" for name in found.folders}
    else:
        places = {name: f"{cdn.rstrip('/')}/{name}@{VERSION}" for name in _FILES}
    with naming_file(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if cdn is None:
            _copy_scripts(folder, found)
        for name in _STATIC:
            shutil.copyfile(_TEMPLATES / name, folder / name)
        shutil.copyfile(tflite_file, folder / tflite_file.name)
        texts = {**descriptions(source, network), _PAGE: _page(source, tflite_file, places, cdn)}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def find_scripts(scripts: str | Path | None = None) -> Scripts:
    """Finds the packages of npm that the page needs.

    Args:
        scripts: see `write_web`.

    Raises:
        UserError: if they are missing, damaged or of another major version.
    """
    advice = f"Run npm install --ignore-scripts {PACKAGE}, or give --cdn URL."
    if scripts is not None:
        candidates = [Path(scripts), Path(scripts) / PACKAGE]
        where = (
            f"`web-scripts` must be a folder with the npm package {PACKAGE}. Received: {scripts}"
        )
    else:
        candidates = [folder / PACKAGE for folder in _module_folders()]
        where = f"--format web needs the npm package {PACKAGE}, which is not installed"
    core = next((one for one in candidates if _name_of(one) == PACKAGE), None)
    if core is None:
        raise UserError(f"{where}. {advice}")
    core = core.resolve()  # package managers link to folders where the other package is, too
    helpers = [folder / _HELPERS for folder in (core / "node_modules", core.parents[1])]
    folders = {PACKAGE: core, _HELPERS: next(filter(_name_of, helpers), helpers[-1])}
    for name, package in folders.items():
        for file in _FILES[name]:
            if not (package / file).is_file():
                raise UserError(f"{package} is damaged: it lacks {file}. {advice}")
    version = str(read_json(core / "package.json", "version")["version"])
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        raise UserError(
            f"--format web needs {PACKAGE} {VERSION.partition('.')[0]}. Received: {version} in"
            f" {core}. Install {PACKAGE}@{VERSION}"
        )
    return Scripts(folders, version)


def _module_folders() -> Iterator[Path]:
    """Yields the folders where packages of npm may be."""
    yield Path("node_modules")
    yield from map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))
    npm = shutil.which("npm")
    if npm is not None:
        done = subprocess.run([npm, "root", "--global"], capture_output=True, text=True)
        if done.returncode == 0:
            yield Path(done.stdout.strip())


def _name_of(package):
    """Returns the name of a package of npm, or None if there is none."""
    file = package / "package.json"
    return read_json(file).get("name") if file.is_file() else None


def _copy_scripts(folder, found):
    for name, package in found.folders.items():
        for file in _FILES[name]:
            target = folder / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / file, target)
        # The packages name their licence, but do not hold its text.
        own = package / _LICENSE
        text = own if own.is_file() else _TEMPLATES / "LICENSE.Apache-2.0"
        shutil.copyfile(text, folder / name / _LICENSE)


def _page(source, tflite_file, places, cdn):
    """Returns the text of the page."""
    imports = json.dumps({"imports": {name: f"{at}/{_MODULE}" for name, at in places.items()}})
    size = tflite_file.stat().st_size
    values = {
        "imports": imports,
        "policy": html.escape(_policy(imports, cdn)),
        "name": html.escape(source.name),
        "file": html.escape(tflite_file.name),
        "size": f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB",
    }
    text = (_TEMPLATES / _PAGE).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", value)
    return text


def _policy(imports, cdn):
    """Returns the Content-Security-Policy: scripts of this folder and of the CDN, nothing else."""
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    origin = "" if cdn is None else " {0.scheme}://{0.netloc}".format(urlsplit(cdn))
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'sha256-{digest}'{origin};"
        f" connect-src 'self'{origin}; style-src 'self'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )


def _check_cdn(cdn):
    """Raises a UserError unless the URL is one that HTML and a policy may hold as it is."""
    scheme, separator, rest = cdn.partition("://")
    if scheme not in ("http", "https") or not separator or not _HOST_AND_PATH.fullmatch(rest):
        raise UserError(
            "`cdn` must be the URL of a server of npm packages: http:// or https://, a host and a"
            f" path. Received: {cdn!r}"
        )


def _check(job, precision):
    check_calibration(job, precision)
    check_web(job.source, job.network, job.settings.web_scripts, job.settings.cdn)


def _artefacts(job):
    source, settings = job.source, job.settings
    precision = settings.web_precision

    def write(path):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, path.name)
            options = precision, 1, "float32", str(job.version)
            layers = write_tflite(file, job.network, source, *options)
            write_web(path.parent, source, job.network, file, settings.web_scripts, settings.cdn)
        return layers

    return [Artefact("Web", f"{FORMAT.folder}/{source.name}_{precision}.tflite", precision, write)]


FORMAT = Format(
    name="web",
    title="Web",
    folder="web",
    what="a page that classifies photographs in the browser",
    modules=("ai_edge_litert.interpreter",),
    extra="export",
    artefacts=_artefacts,
    precisions=(),
    check=_check,
    by_default=False,
    has_texts=False,
)
