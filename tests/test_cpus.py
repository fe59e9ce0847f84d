"""TensorFlow with oneDNN, with AVX2 alone, and without it: the same files, answers and silence."""

import functools
import json
import logging
import os

import pytest
import regnet_command
from conftest import TESTS

from regnet_tf import _cpu, kernels
from regnet_tf._regimes import REGIMES

WORKER = TESTS / "cpu_files.py"


@pytest.fixture(scope="module")
def files(run_python, tmp_path_factory):
    """Returns the folder of what was exported under a regime, by its name."""

    @functools.cache
    def folder(name):
        folder = tmp_path_factory.mktemp(name)
        run_python(WORKER, folder, PYTHONPATH=str(TESTS.parent), **REGIMES[name])
        return folder

    return folder


def described(folder):
    return json.loads((folder / "described.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["native", "off", "avx2"])
def test_regimes_are_what_they_are_called(files, regime):
    found = described(files(regime))["onednn"]
    if regime == "native":
        assert found == _cpu.onednn() or "ONEDNN_MAX_CPU_ISA" in os.environ
    elif regime == "off" or (_cpu._is_x86() and _cpu._has("avx2")):
        assert found == regime


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["avx2", "off"])
def test_the_same_operations_everywhere(files, regime):
    expected, found = described(files("native"))["files"], described(files(regime))["files"]
    assert len(expected) == 2 * 9
    assert found == expected


@pytest.mark.slow
def test_one_operation_for_each_convolution(files):
    found, count = described(files("off"))["files"], 1 + 3 * 3 + 2  # stem, three blocks, shortcuts
    for kind in ("float32", "int8", "keras"):
        assert found[f"y.{kind}.tflite"]["CONV_2D"] == count
        assert "SPLIT" not in found[f"y.{kind}.tflite"]
    assert found["y.keras_export"]["Conv2D"] == count
    assert found["y.keras.onnx"]["Conv"] == count
    assert found["y.onnx.onnx"]["Conv"] == count
    assert found["y.onnx.onnx"]["Transpose"] == 1  # of the images
    for kind in ("keras", "openvino"):
        of_openvino = found[f"y.{kind}.xml"]
        assert of_openvino["Convolution"] + of_openvino["GroupConvolution"] == count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("here", "there"),
    [("off", "native"), ("native", "off")],
)
def test_files_of_one_regime_answer_alike_in_another(files, run_python, here, there):
    variables = {**REGIMES[here], "PYTHONPATH": str(TESTS.parent)}
    assert float(run_python(WORKER, files(here), files(there), **variables)) < 2e-5


TRAIN = """
import keras
import regnet_tf
from regnet_tf._internals import has_onednn
config = regnet_tf.RegNetConfig(
    explicit_stages=(regnet_tf.StageConfig(16, 1, 8),), stem_width=8, se_ratio=0.25
)
model = regnet_tf.build_regnet(config, input_shape=(32, 32, 3), classes=4)
model.compile(regnet_tf.SGD(0.1, 0.9), "sparse_categorical_crossentropy")
print(has_onednn())
print(model.fit(keras.random.uniform((4, 32, 32, 3)), keras.ops.arange(4), verbose=0).history)
"""


@pytest.mark.slow  # `make test-cpus` runs it
def test_training_without_onednn_prints_nothing_about_it(run_python):
    """It is switched off. Its kernels for gradients of groups say so where they are tried."""
    code = f"import os\nos.dup2(1, 2)\n{TRAIN}"  # errors are printed, too
    printed = run_python("-c", code, TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="0")
    assert "False" in printed and "loss" in printed
    assert "INVALID_ARGUMENT" not in printed and "roup" not in printed


@pytest.mark.parametrize(
    ("variable", "kernels_of", "lines"), [(None, "off", 1), ("0", "off", 0), (None, "avx512", 0)]
)
def test_the_library_says_once_what_to_set(monkeypatch, caplog, variable, kernels_of, lines):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if variable is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", variable)
    monkeypatch.setattr(kernels, "onednn", lambda: kernels_of)
    monkeypatch.setattr(kernels, "could_have_onednn", lambda: True)
    kernels._warn_if_slow.cache_clear()
    with caplog.at_level(logging.WARNING, logger="regnet_tf"):
        for _ in range(2):
            kernels._warn_if_slow()
    assert len(caplog.records) == lines
    assert all("TF_ENABLE_ONEDNN_OPTS=1" in record.message for record in caplog.records)
    kernels._warn_if_slow.cache_clear()


@pytest.mark.parametrize("value", [None, "0"])
def test_programs_switch_it_on_unless_it_is_set(monkeypatch, value):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if value is not None:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = value
    regnet_command.start_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == (value or "1")
