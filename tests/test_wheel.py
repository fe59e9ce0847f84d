"""The wheel as users have it: in another environment and folder, without the checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from conftest import TAG
from regnet_command import PROGRAMS

import regnet_tf

pytestmark = pytest.mark.program

ROOT = pathlib.Path(__file__).parents[1]
PHOTO = ROOT / "tests" / "golden" / "preprocess" / "rocket.jpg"


def run(*command, cwd, **environment):
    """Output of a command that has to work."""
    names = ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "COVERAGE_PROCESS_START")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the source distribution, which was built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("regnet_tf", "training", "export"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    run(sys.executable, "-c", build, cwd=folder)
    (source,) = (folder / "dist").glob("*.tar.gz")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, source, "-w", folder, cwd=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Programs of an environment that has the wheel, and the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    places = {"base": str(folder), "platbase": str(folder)}
    site = pathlib.Path(sysconfig.get_path("purelib", "venv", vars=places))
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    options = ("--no-deps", "--no-index", "--disable-pip-version-check")
    python = pathlib.Path(sysconfig.get_path("scripts", "venv", vars=places)) / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", *options, wheel, cwd=folder)
    return python


def test_content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert {name.partition("/")[0] for name in names} == {
        *("regnet_command", "regnet_tf", f"regnet_tf-{regnet_tf.__version__}.dist-info")
    }
    for name in (
        "regnet_tf/py.typed",
        "regnet_tf/data/weights.json",
        "regnet_tf/export/templates/README.md",
        "regnet_tf/export/templates/web/index.html",
        "regnet_tf/export/client/__main__.py",
        "regnet_tf/training/sweep/specs/digits_regnetx.json",
    ):
        assert name in names
    for line in ("License: MIT", "Requires-Dist: huggingface_hub", "Keywords: RegNet"):
        assert line in metadata


def test_programs_and_predictions(installed, tmp_path, hub):
    regnet = installed.with_name("regnet")
    assert all(name in run(regnet, cwd=tmp_path) for name in PROGRAMS)
    where = "import regnet_tf, regnet_tf.training, regnet_command; print(regnet_tf.__file__)"
    assert str(installed.parents[1]) in run(installed, "-c", where, cwd=tmp_path)
    environment = {"HF_HUB_CACHE": str(hub.parents[2]), "HF_HUB_OFFLINE": "1"}
    printed = run(regnet, "predict", TAG, PHOTO, cwd=tmp_path, **environment)
    assert printed.count("%") == 5


def test_from_training_to_files(installed, tmp_path):
    regnet = installed.with_name("regnet")
    printed = run(regnet, "train", "--recipe", "smoke", "--out", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "model.keras").exists() and "run/model.keras" in printed
    assert "%" in run(regnet, "evaluate", "run", cwd=tmp_path)
    run(regnet, "export", "run", "--out", "shipped", "--precision", "float32", cwd=tmp_path)
    assert "shipped: all is well" in run(regnet, "verify", "shipped", cwd=tmp_path)
