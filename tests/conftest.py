"""TensorFlow on two logical CPUs and without its log; the golden data; fresh processes."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import pytest
import tensorflow as tf

TESTS = pathlib.Path(__file__).parent

# Two devices for tests of distribution strategies. A GPU's short floats would hide wrong numbers.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.experimental.enable_tensor_float_32_execution(False)


def pytest_configure(config):
    """Keras converts TensorFlow's variables in a way that numpy 2 deprecates."""
    ignored = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    config.addinivalue_line("filterwarnings", ignored)


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state."""
    keras.utils.set_random_seed(1)


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
            timeout=600,
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
