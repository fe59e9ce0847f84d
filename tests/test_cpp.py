"""An export in C++: a client that loads the SavedModel as TensorFlow Serving does."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

pytestmark = pytest.mark.program

SOURCE = Path(__file__).parent / "cpp" / "classify.cc"


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    """Path of the client, which is built with the headers and libraries in TensorFlow's package."""
    include, libraries = Path(tf.sysconfig.get_include()), Path(tf.sysconfig.get_lib())
    for needed in (
        include / "tensorflow" / "cc" / "saved_model" / "loader.h",
        libraries / "libtensorflow_cc.so.2",
        libraries / "libtensorflow_framework.so.2",
    ):
        if not needed.is_file():
            pytest.skip(f"TensorFlow's package has no {needed.name}")
    if shutil.which("g++") is None:
        pytest.skip("no g++ on the PATH")
    flags = [flag for flag in tf.sysconfig.get_compile_flags() if not flag.startswith("-I")]
    link = [f"-L{libraries}", f"-Wl,-rpath,{libraries}", *tf.sysconfig.get_link_flags()]
    # The kernels are only in this library. None of its functions is called, so the linker would
    # leave it out.
    link += ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2"]
    program = tmp_path_factory.mktemp("cpp") / "classify"
    command = ["g++", "-O0", "-isystem", include, *flags, SOURCE, "-o", program, *link]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A JPEG file that is larger than the network's images."""
    path = tmp_path_factory.mktemp("photographs") / "cat.jpg"
    path.write_bytes(tf.io.encode_jpeg(skimage.data.chelsea()).numpy())
    return path


def run(program, *arguments, onednn="1"):
    """Returns the finished process."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, timeout=3600
    )


@pytest.mark.parametrize("onednn", ["1", "0"])
def test_class_of_a_photograph(classify, exported, photograph, onednn):
    done = run(classify, exported.saved_model, photograph, onednn=onednn)
    assert done.returncode == 0, done.stderr
    best, probability, label = done.stdout.rstrip("\n").split("\t")
    images = exported.source.preprocessing([photograph.read_bytes()])
    expected = np.asarray(exported.source.model(images, training=False))[0]
    assert int(best) == expected.argmax()
    assert float(probability) == pytest.approx(expected.max(), abs=1e-5)
    assert label == exported.source.labels[expected.argmax()]


def test_no_photograph(classify, exported, photograph):
    done = run(classify, exported.saved_model, SOURCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No whole image file: image [0]" in done.stderr
    done = run(classify, photograph.parent, photograph)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Could not find SavedModel" in done.stderr
