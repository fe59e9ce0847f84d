"""The opener of files: every format gives what the Keras model gives."""

import functools
import os
import sys

import keras
import network_files
import numpy as np
import onnx
import pytest
import tensorflow as tf
from network_files import CLASSES, NAMES, OUTPUTS, PREPROCESSING, SIZE, WRITERS, write_file
from onnx import TensorProto, helper

from regnet_tf._cpu import available_cores
from regnet_tf._errors import MissingPackageError, UserError
from regnet_tf._opening import is_network, open_predictor
from regnet_tf.runtimes import open_file

pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

BOTH = ("onnx", "openvino")


def images(count=5, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), "uint8")


def normalized(levels):
    return np.asarray(PREPROCESSING.normalize(levels))


@functools.cache
def network(of_pixels=False, independent=False):
    return network_files.small_network(of_pixels, independent)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Function that returns the path of a network's file; it is not to be changed."""

    @functools.cache
    def path(form, of_pixels=False, independent=False, **options):
        model = network(of_pixels=of_pixels, independent=independent)
        return write_file(form, tmp_path_factory.mktemp(form), model, **options)

    return path


def expected(model, levels):
    return np.asarray(model(normalized(levels)))


# Answers.


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("form", WRITERS)
def test_answers(form, batch, written):
    """For any number of images, also if the file takes two at a time."""
    path = written(form, batch=batch)
    runtime = open_file(path)
    assert (runtime.name, runtime.path) == ("small", path)
    assert (runtime.dtype, runtime.channels_first) == (np.uint8, False)
    assert (runtime.batch_size, runtime.image_size, runtime.channels) == (batch, SIZE, 3)
    assert runtime.outputs["probabilities"] == (batch, CLASSES)
    assert runtime.run_files is None
    wanted = expected(network(), images())
    assert np.ptp(wanted, 0).max() > 1e-2  # images differ
    for count in (5, 1, 2):
        given = runtime(images()[:count])
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, wanted[:count], atol=1e-5)
    np.testing.assert_array_equal(runtime(images() - 0.4), runtime(images()))  # rounded
    for bad in (images(size=SIZE - 1), images()[0], images()[:0], images()[..., :1]):
        with pytest.raises(ValueError, match=r"`images` must be of shape \(batch, 16, 16, 3\)"):
            runtime(bad)
    with pytest.raises(ValueError, match="`output` must be one of 'probabilities'"):
        runtime(images(), "scores")


@pytest.mark.parametrize("of_pixels", [False, True], ids=["of images", "of pixels"])
@pytest.mark.parametrize("form", WRITERS)
def test_images_of_any_size(form, of_pixels, written):
    """In turns: a runtime prepares for one size after the other."""
    model = network(of_pixels=of_pixels)
    runtime = open_file(written(form, of_pixels=of_pixels, size=None))
    assert (runtime.image_size, runtime.channels) == (None, 3)
    for size, count in ((16, 2), (12, 3), (16, 2)):
        levels = images(count, size)
        np.testing.assert_allclose(runtime(levels), expected(model, levels), atol=1e-5)


@pytest.mark.parametrize(("batch", "of_pixels"), [(None, True), (2, False)])
@pytest.mark.parametrize("form", BOTH)
def test_channels_first(form, batch, of_pixels, tmp_path):
    """As PyTorch writes files: normalized floats. Maps are returned with their channels last."""
    model = network(of_pixels=of_pixels)
    options = {"channels_first": True, "levels": False, "batch": batch}
    runtime = open_file(write_file(form, tmp_path, model, **options))
    assert (runtime.dtype, runtime.channels_first) == (np.float32, True)
    assert runtime.shape == (batch, SIZE, SIZE, 3)
    assert runtime.outputs["probabilities"] == (batch, *[SIZE] * 2 * of_pixels, CLASSES)
    given = runtime(normalized(images()))
    np.testing.assert_allclose(given, expected(model, images()), atol=1e-5)


@pytest.mark.parametrize("form", BOTH)
def test_outputs(form, tmp_path):
    """The main one is the first; the others are there by name."""
    runtime = open_file(write_file(form, tmp_path, network()))
    assert [*runtime.outputs] == ["probabilities", "features", "logits"]
    features, logits, probabilities = (runtime(images(), name) for name in OUTPUTS)
    np.testing.assert_allclose(probabilities, expected(network(), images()), atol=1e-5)
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, atol=1e-5)
    head = network().layers[-1]
    wanted = features @ np.asarray(head.kernel) + np.asarray(head.bias)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)
    runtime = open_file(write_file(form, tmp_path, network(), outputs=OUTPUTS[:2]))
    assert [*runtime.outputs] == ["logits", "features"]


def test_signatures_of_a_saved_model(tmp_path):
    """Outputs of all of them that take the same images; image files for the main output."""
    levels = tf.TensorSpec((None, SIZE, SIZE, 3), tf.uint8, name="images")
    other = tf.TensorSpec((None, 8, 8, 3), tf.uint8, name="images")
    files = tf.TensorSpec((None,), tf.string, name="files")

    def scores(images):
        return {"probabilities": network()(PREPROCESSING.normalize(images))}

    def of_files(files):
        decoded = tf.map_fn(tf.io.decode_png, files, fn_output_signature=tf.uint8)
        return {**scores(tf.ensure_shape(decoded, levels.shape)), "count": tf.size(files)}

    archive = keras.export.ExportArchive()
    archive.track(network())
    archive.add_endpoint("another_size", lambda images: {"other": images}, input_signature=[other])
    archive.add_endpoint("doubled", lambda images: {"twice": 2 * images}, input_signature=[levels])
    archive.add_endpoint("images", scores, input_signature=[levels])
    archive.add_endpoint("serving_default", of_files, input_signature=[files])
    archive.write_out(tmp_path / "net", verbose=False)
    runtime = open_file(tmp_path / "net")
    assert [*runtime.outputs] == ["probabilities", "twice"]
    assert (runtime(images(), "twice") == (2 * images()).astype("uint8")).all()
    contents = [tf.io.encode_png(one).numpy() for one in images()]
    wanted = expected(network(), images())
    np.testing.assert_allclose(runtime.run_files(contents), wanted, atol=1e-5)
    np.testing.assert_allclose(runtime(images()), wanted, atol=1e-5)
    with pytest.raises(UserError, match=r"net does not run: .*"):
        runtime.run_files([b"no image"])


# Predictors.


@pytest.mark.parametrize("kind", [{}, {"independent": True}, {"of_pixels": True}])
@pytest.mark.parametrize("form", WRITERS)
def test_predictors(form, kind, written):
    """With the names, the preprocessing and the kind of scores in the file."""
    path, model = written(form, batch=None, **kind), network(**kind)
    assert is_network(path)
    predictor = open_predictor(path)
    assert (predictor.class_names, predictor.classes) == (tuple(NAMES), CLASSES)
    assert predictor.preprocessing == PREPROCESSING.replace(mean=0, std=1 / 255)
    assert (predictor.independent, predictor.of_pixels) == (
        kind == {"independent": True},
        kind == {"of_pixels": True},
    )
    assert (predictor.normalized, predictor.assumed) == (False, ())
    photograph = np.random.default_rng(1).integers(0, 256, (40, 30, 3), "uint8")
    scores = predictor.scores(predictor.prepare(photograph)[None])
    wanted = model(PREPROCESSING(photograph))
    np.testing.assert_allclose(scores, wanted, atol=1e-5)


@pytest.mark.parametrize("form", BOTH)
def test_files_of_other_programs(form, tmp_path):
    """Their floats are normalized images, and their scores may be logits."""
    options = {"channels_first": True, "levels": False, "outputs": ["logits"], "texts": False}
    path = write_file(form, tmp_path, network(), **options)
    predictor = open_predictor(path)
    assert (predictor.normalized, predictor.image_size) == (True, SIZE)
    assert (predictor.class_names, predictor.preprocessing) == (None, None)
    assert predictor.assumed == (
        "small seems to return logits; softmax makes probabilities of them.",
    )
    scores = predictor.scores(normalized(images()))
    np.testing.assert_allclose(scores, expected(network(), images()), atol=1e-5)


@pytest.mark.parametrize("form", BOTH)
def test_features_are_no_scores(form, tmp_path):
    path = write_file(form, tmp_path, network(), outputs=["features"], texts=False)
    assert open_file(path)(images()).shape == (5, 6)
    with pytest.raises(UserError, match="is not a classifier: it returns features of shape"):
        open_predictor(path)


# Threads.


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux does")
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_threads(form, written):
    """ONNX Runtime and XNNPACK start one thread less than they use."""
    path = written(form, batch=None)
    open_file(path)(images())  # starts what the library starts once
    kept = []
    for threads in (1, 4):
        before = len(os.listdir("/proc/self/task"))
        kept.append(open_file(path, threads=threads))
        kept[-1](images())
        assert len(os.listdir("/proc/self/task")) - before == threads - 1


def test_threads_of_openvino(written, monkeypatch):
    import openvino

    path, given = written("openvino", batch=None), []
    compile_model = openvino.compile_model
    monkeypatch.setattr(
        openvino, "compile_model", lambda *words: given.append(compile_model(*words)) or given[-1]
    )
    open_file(path, threads=1)
    (compiled,) = given
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert str(compiled.get_property("PERFORMANCE_HINT")).endswith("LATENCY")


def test_threads_of_tensorflow(written):
    """They are of the process, and it runs already."""
    path = written("saved_model", batch=None)
    with pytest.raises(UserError, match=r"`threads` .* Received: threads=97"):
        open_file(path, threads=97)
    now = tf.config.threading.get_intra_op_parallelism_threads() or available_cores()
    np.testing.assert_allclose(
        open_file(path, threads=now)(images()), expected(network(), images()), atol=1e-5
    )


# What cannot be opened.


def test_what_is_no_network(tmp_path):
    for path, message in (
        (tmp_path / "missing.onnx", r"There is no file .*missing\.onnx"),
        (tmp_path, "`path` must be the folder of a SavedModel or a file that ends in .tflite,"),
        (tmp_path / "net.pb", r"Received: .*net\.pb"),
    ):
        with pytest.raises(UserError, match=message):
            open_file(path)
    path = write_file("onnx", tmp_path, network())
    for threads in (0, 1.5, True):
        with pytest.raises(ValueError, match="`threads` must be"):
            open_file(path, threads)


class _Lacks:
    """A finder as of an environment that lacks a package."""

    def __init__(self, package):
        self._package = package

    def find_spec(self, name, *_):
        if name == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    "form, package, extra",
    [
        ("onnx", "onnxruntime", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("tflite", "ai_edge_litert", "export"),
    ],
)
def test_missing_package(form, package, extra, tmp_path, monkeypatch):
    path = tmp_path / WRITERS[form][0]
    path.write_bytes(b"anything")
    for name in [one for one in sys.modules if one.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Lacks(package), *sys.meta_path])
    with pytest.raises(MissingPackageError, match=rf"regnet_tf\[{extra}\]"):
        open_file(path)


def write_graph(path, *inputs):
    """A `.onnx` file that returns its first input; inputs are pairs of type and shape."""
    values = [
        helper.make_tensor_value_info(f"input_{number}", *one) for number, one in enumerate(inputs)
    ]
    target = helper.make_tensor_value_info("output", *inputs[0])
    nodes = [helper.make_node("Identity", ["input_0"], ["output"])]
    graph = helper.make_graph(nodes, "graph", values, [target])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


FLOAT = TensorProto.FLOAT


@pytest.mark.parametrize(
    "inputs, message",
    [
        ([(FLOAT, [1, 3, 8, 8])] * 2, "must take one input, images. It takes 2 inputs"),
        ([(FLOAT, [1, 64])], r"takes no images: its input has the shape \(1, 64\)"),
        ([(TensorProto.STRING, ["batch", 8, 8, 3])], r"its input has the type tensor\(string\)"),
        ([(FLOAT, [1, 8, 9, 3])], "takes images of 8 x 9 pixels"),
    ],
)
def test_networks_of_other_inputs(inputs, message, tmp_path):
    write_graph(tmp_path / "net.onnx", *inputs)
    with pytest.raises(UserError, match=rf"net\.onnx .*{message}|net\.onnx {message}"):
        open_file(tmp_path / "net.onnx")


def damages(content, other):
    """Contents of damaged files, by what was done."""
    return {
        "empty": b"",
        "cut": content[: len(content) // 3],
        "another file": other,
        "noise": np.random.default_rng(0).bytes(1000),
    }


@pytest.mark.parametrize("form", ["tflite", *BOTH])
def test_damaged_files(form, written, tmp_path, capfd):
    """One line that names the file, and nothing that a library prints."""
    path = tmp_path / WRITERS[form][0]
    content = written(form, batch=None).read_bytes()
    other = written("openvino" if form == "onnx" else "onnx", batch=None).read_bytes()
    capfd.readouterr()
    for what, changed in damages(content, other).items():
        path.write_bytes(changed)
        with pytest.raises(UserError) as caught:
            open_file(path)
        assert str(caught.value).startswith(f"{path} cannot be read: "), what
        assert str(caught.value).isprintable(), what
    assert capfd.readouterr() == ("", "")


def test_damaged_weights_of_openvino(tmp_path, capfd):
    path = write_file("openvino", tmp_path, network())
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match=r"small\.xml cannot be read: .*weights"):
        open_file(path)
    weights.unlink()
    with pytest.raises(UserError, match=r"small\.xml cannot be read: .*bin file"):
        open_file(path)
    assert capfd.readouterr() == ("", "")


def test_damaged_names_of_openvino(tmp_path):
    path = write_file("openvino", tmp_path, network())
    text = path.read_text()
    assert "class 3" in text
    path.write_text(text.replace("class 3&quot;]", "class 3").replace("[&quot;class 0", "class 0"))
    with pytest.raises(UserError, match=r"labels\.txt of .*small\.xml is damaged"):
        open_file(path)


def test_names_of_other_characters(tmp_path):
    """A file that is no text in UTF-8 is refused, without a word of the library."""
    path = write_file("onnx", tmp_path, network())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"features", b"featur\xff\xfe"))
    with pytest.raises(UserError, match=r"small\.onnx cannot be read: "):
        open_file(path)
