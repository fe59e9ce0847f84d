"""TensorFlow on two logical CPUs and without its log; the golden data; fresh processes."""

# ruff: noqa: E402

import contextlib
import functools
import gc
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types
from typing import Any, NamedTuple

# Python's default looks for garbage after every 700 objects, many times in imports and in graphs.
gc.set_threshold(100_000, 20, 20)

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import filelock
import keras
import pytest
import tensorflow as tf

import regnet_tf
from regnet_tf import _cpu
from regnet_tf._cpu import onednn

#: Of every test.
SEED = 1
#: The published weights that the fixture `hub` pretends to have.
TAG = "regnetx_002.pycls_in1k"
#: Fixtures that are PyTorch and what stands on it.
PYTORCH = {"torch", "timm", "torchvision", "transformers"}
#: Fixtures that start a program.
PROGRAMS = {"run_python", "regnet", "program"}
TESTS = pathlib.Path(__file__).parent

# Shells start jobs in the background with this signal ignored, and programs under test inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Two devices for tests of distribution strategies. A GPU's short floats would hide wrong numbers.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.experimental.enable_tensor_float_32_execution(False)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The longest files first: no worker shall begin them when the others are done.

    Tests that use PyTorch or start a program by a fixture get the marker for it.
    """
    limited = onednn() in ("avx2", "sse41") and _cpu._has("avx512bw")
    exporting = {item.path for item in items if "digits_run" in item.fixturenames}
    items.sort(key=lambda item: (item.path.name != "test_runs.py", item.path not in exporting))
    for item in items:
        if not PYTORCH.isdisjoint(item.fixturenames):
            item.add_marker("torch")
        if not PROGRAMS.isdisjoint(item.fixturenames):
            item.add_marker("program")
        if limited and item.get_closest_marker("short_floats"):
            reason = "TensorFlow takes oneDNN, which is held to AVX2, to have 16-bit floats"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_header():
    """What depends on the processor depends on this."""
    return f"oneDNN: {onednn()}, on {_cpu.processor()}"


def pytest_collection_finish():
    """The millions of objects of imported packages stay: no garbage collection looks at them."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """pytest and Python look for garbage before they end, several times."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def hasty():
    """Exports measure speed for a moment; runs draw few images, and in few pixels.

    Keras and TensorFlow's converter look for garbage among the latest objects alone.
    """
    from keras.src.backend.common import global_state
    from tensorflow.lite.python import lite

    from export import exporting
    from training import figures
    from training.figures import canvas

    with pytest.MonkeyPatch.context() as patch:
        quick = functools.partial(exporting.measure_speed, repeats=1, seconds=0.01)
        patch.setattr(exporting, "measure_speed", quick)
        for module in (global_state, lite):
            patch.setattr(module, "gc", types.SimpleNamespace(collect=lambda: gc.collect(1)))
        patch.setattr(figures, "SHEET", 10)
        patch.setattr(canvas, "_DPI", 50)
        yield


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state.

    TensorFlow drops all kernels of its operations with every seed, even the same one. To make them
    again took a fifth of the time of five files. So its seed is set only after another one.
    Tests give seeds to its random operations, whose sequence goes on from test to test.
    """
    with pytest.MonkeyPatch.context() as patch:
        if tf.compat.v1.get_seed(0)[0] == SEED:
            patch.setattr(tf.random, "set_seed", lambda _: None)
        keras.utils.set_random_seed(SEED)


@pytest.fixture(scope="session")
def golden_variants():
    """Published networks, counted on other projects' code; `_about` in the file says how."""
    return json.loads((TESTS / "golden" / "variants.json").read_text())


@pytest.fixture(scope="session")
def run_python():
    """Runs a fresh Python with changes to its environment and returns what it printed."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=TESTS.parent,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def two_devices():
    """The only strategy of its kind: a second one's messages would mix with the first one's."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def without_values():
    """A context in which models are built of shapes alone: a billion parameters take no time."""

    @contextlib.contextmanager
    def context():
        with keras.StatelessScope(initialize_variables=False):
            yield
        keras.backend.clear_session()  # or the next scope would fill them in

    return context


@pytest.fixture(scope="session")
def state_dict():
    """A state dict of the network of `TAG`, in timm's names."""
    return regnet_tf.to_state_dict(regnet_tf.build_regnet("regnetx_002"))


@pytest.fixture
def hub(tmp_path, monkeypatch, state_dict):
    """A cache folder as the hub's client keeps it, with the weights of `TAG`, offline."""
    repository = tmp_path / "hub" / f"models--timm--{TAG}"
    snapshot = repository / "snapshots" / ("0" * 40)
    for folder in (snapshot, repository / "refs", repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    file = tmp_path / "model.safetensors"
    regnet_tf.write_state_dict(file, state_dict)
    blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
    file.rename(blob)
    (snapshot / "model.safetensors").symlink_to(os.path.relpath(blob, snapshot))
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return blob


@pytest.fixture(scope="session")
def miniature_imagenet(tmp_path_factory):
    """A `Miniature` of ImageNet whose data the real builder of tensorflow-datasets has prepared."""
    from miniature_imagenet import FILES, Miniature, write_archives

    from training.data.prepare import prepare
    from training.data.tfds_catalog import find

    folder = tmp_path_factory.mktemp("imagenet")
    train, validation = write_archives(folder)
    builder = find("imagenet2012", folder / "data")
    assert prepare(builder, folder, any_size=True, files=FILES, progress=False)
    return Miniature(folder, folder / "data", train, validation)


@pytest.fixture(scope="session")
def made_once(request, tmp_path_factory):
    """Returns a folder by its name, which the first of the test processes has made.

    It is not to be changed.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if hasattr(request.config, "workerinput") else base

    def made(name, make):
        folder, done = base / "shared" / name, base / "shared" / f"{name}.done"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{folder}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what could not be finished
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def digits_run(made_once):
    """A folder as `regnet train` leaves it: a network of digits that takes them by chance."""
    return made_once("runs/digits", _write_digits_run)


def _write_digits_run(folder):
    from training.data import load
    from training.loop.directory import write_run
    from training.loop.examples import write_examples
    from training.recipes import get_recipe

    keras.utils.set_random_seed(0)
    recipe, data = get_recipe("smoke", {"images.crop_fraction": 0.75}), load("digits")
    model = regnet_tf.build_regnet(
        recipe.network.config,
        input_shape=(32, 32, 3),
        class_names=[f"digit {number}" for number in range(10)],
        preprocessing=recipe.images.preprocessing,
    )
    kernel = model.get_layer("head").kernel
    kernel.assign(kernel * 100)  # or the probabilities would all be alike
    images = recipe.images.preprocessing(data.train.items[:100])
    for _ in range(20):
        model(images, training=True)  # statistics of the digits
    folder.mkdir()
    # Inputs and outputs in lists, as many write it.
    keras.Model(model.inputs, model.outputs, name=model.name).save(folder / "model.keras")
    write_examples(folder / "examples.npz", data, recipe.images.preprocessing, recipe.seed)
    write_run({"data": {"name": "digits"}}, folder)


class Exported(NamedTuple):
    """An export.

    Attributes:
        folder: that `regnet export` wrote; not to be changed.
        source: the `export.source.Source`.
        facts: what the export returned, as JSON keeps it.
        saved_model: the folder of its SavedModel.
    """

    folder: pathlib.Path
    source: Any
    facts: dict
    saved_model: pathlib.Path


@pytest.fixture(scope="session")
def exported(digits_run, made_once):
    """The network of `digits_run`, `Exported`."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("tensorflow_serving")
    from export import exporting
    from export.source import load_source

    source = load_source(digits_run)

    def make(folder):
        facts = exporting.export(source, folder, ("saved_model", "tflite"), say=lambda _: None)
        folder.with_name("facts.json").write_text(json.dumps(facts))

    folder = made_once("exports/digits", make)
    facts = json.loads(folder.with_name("facts.json").read_text())
    return Exported(folder, source, facts, folder / "serving" / "digits" / "1")


@pytest.fixture(scope="session")
def every_format(digits_run, made_once):
    """The folder of an export of `digits_run` in all formats that are installed."""
    for package in ("ai_edge_litert", "tensorflow_serving", "onnxruntime", "tf2onnx", "openvino"):
        pytest.importorskip(package)
    from export.command import main

    def make(folder):
        assert main([str(digits_run), "--out", str(folder)]) == 0

    return made_once("every_format/digits", make)
