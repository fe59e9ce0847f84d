"""OpenVINO files: graph, exactness against Keras, texts inside, integers, OpenVINO Model API."""

import collections
import ctypes
import gc
import json
import logging
import re
import resource
import sys

import keras
import numpy as np
import pytest
from networks import outputs_of, with_statistics
from sklearn.datasets import load_sample_images

from export.descriptions import descriptions
from export.examples import Examples
from export.formats.openvino import check_openvino, write_openvino
from export.network import Network
from export.source import Source
from regnet_tf import (
    Preprocessing,
    RegNetConfig,
    StageConfig,
    backbone,
    build_regnet,
    segmentation_model,
)
from regnet_tf._errors import UserError
from regnet_tf._signal_stack import kept_signal_stack
from regnet_tf.runtimes import open_file

openvino = pytest.importorskip("openvino")

SIZE = 64
PREPROCESSING = Preprocessing(image_size=SIZE)
STAGES = (StageConfig(16, 1, 8), StageConfig(64, 2, 16))
X = RegNetConfig(name="tiny_x", explicit_stages=STAGES, stem_width=16)
Y = X.replace(name="tiny_y", se_ratio=0.25)
LABELS = ("cup", 'sea, "deep" & <wide>', "café")


def photographs(count, seed, channels=3):
    """Crops of real photographs, uint8 `(count, SIZE, SIZE, channels)`."""
    rng = np.random.default_rng(seed)
    photograph = load_sample_images().images[seed % 2]
    rows, columns = rng.integers(0, [427 - 200, 640 - 200], (count, 2)).T
    crops = [photograph[y : y + 200, x : x + 200] for y, x in zip(rows, columns, strict=True)]
    images = PREPROCESSING.resize_and_crop(np.stack(crops)).numpy()
    return np.concatenate([images, images], -1)[..., :channels]


def trained(config, channels=3, **arguments):
    """A network whose normalization does something, and whose classes differ on photographs."""
    keras.utils.set_random_seed(1)
    model = with_statistics(build_regnet(config, input_shape=(SIZE, SIZE, channels), **arguments))
    if arguments.get("include_top", True):
        head = model.get_layer("head")
        head.kernel.assign(head.kernel * 20)
        features = keras.Model(model.input, head.input)(normalized(photographs(16, 1, channels)))
        head.bias.assign(-np.mean(features @ head.kernel.value, 0))
    return model


def normalized(images):
    return PREPROCESSING.with_channels(images.shape[-1]).normalize(images)


def source_of(model, labels=(), **changes):
    calibration = np.concatenate([photographs(20, 2), photographs(20, 3)])
    examples = Examples(calibration, photographs(16, 1), None, "photographs")
    return Source("tiny", model, PREPROCESSING.replace(**changes), labels, examples)


@kept_signal_stack()
def opened(path):
    """A function from images to arrays by name, in float32 on every processor."""
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(path), "CPU", options)
    return lambda images: {one.get_any_name(): array for one, array in compiled(images).items()}


def operations(path):
    return collections.Counter(
        one.get_type_name() for one in openvino.Core().read_model(path).get_ops()
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`(source, network, path)` of a float32 file."""
    source = source_of(trained(Y, classes=3), LABELS)
    network, path = Network(source.model), tmp_path_factory.mktemp("openvino") / "tiny.xml"
    write_openvino(path, network, source, "float32")
    return source, network, path


def signal_stack():
    """Address, flags and size of the stack on which this thread receives signals."""
    words = (ctypes.c_size_t * 3)()
    assert ctypes.CDLL(None).sigaltstack(None, words) == 0
    return list(words)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="OpenVINO does it on Linux")
def test_signals_can_be_received_after_two_networks(written):
    """OpenVINO would leave a freed stack, and the next signal would end the process."""
    before = signal_stack()
    older, newer = open_file(written[2]), open_file(written[2])
    del older
    gc.collect()
    del newer
    gc.collect()
    assert signal_stack() == before


def test_graph(written):
    """Each grouped convolution is one; the only transposition is at the input."""
    found = operations(written[2])
    blocks, shortcuts = 3, 2
    assert found["GroupConvolution"] == blocks
    assert found["Convolution"] == 1 + 2 * blocks + shortcuts
    assert found["Transpose"] == 1
    assert not {"Split", "Concat", "Pad", "BatchNormInference"} & {*found}


def test_inputs_and_outputs(written):
    model = openvino.Core().read_model(written[2])
    (images,) = model.inputs
    assert images.names == {"images"}
    assert images.element_type == openvino.Type.u8
    assert str(images.partial_shape) == f"[?,{SIZE},{SIZE},3]"
    assert [one.names for one in model.outputs] == [{"probabilities"}, {"logits"}, {"features"}]
    types = {one.get_element_type().get_type_name() for one in model.get_ops() if one.outputs()}
    assert types <= {"u8", "f32", "i32", "i64"}


def check_answers(path, source, network, images):
    """Every output is within 1e-5 of its largest value, in batches of any size."""
    expected = outputs_of(source.model, source.preprocessing.normalize(images))
    run = opened(path)
    given = run(images)
    assert list(given) == [*network.outputs]
    np.testing.assert_allclose(
        given[network.outputs[0]], expected, atol=1e-5 * np.abs(expected).max()
    )
    traced = network.traced(None, images.shape[1:3])(source.preprocessing.normalize(images))
    for name in network.outputs:
        atol = 1e-5 * np.abs(traced[name]).max()
        np.testing.assert_allclose(given[name], traced[name], atol=atol)
        np.testing.assert_allclose(run(images[:1])[name], traced[name][:1], atol=atol)


def test_agrees_with_keras(written):
    source, network, path = written
    check_answers(path, source, network, source.examples.test)


def segmenter():
    return segmentation_model(backbone(Y, outputs=(1, 2), input_shape=(SIZE, SIZE, 3)), 3)


NETWORKS = {
    "gray": (lambda: trained(X, 1, classes=3), {"mean": (0.4,), "std": (0.2,)}),
    "transparency": (lambda: trained(X, 4, classes=3), {"mean": (0.5,) * 4, "std": (0.2,) * 4}),
    "several labels": (lambda: trained(Y, classes=3, classifier_activation="sigmoid"), {}),
    "features": (lambda: trained(Y, include_top=False, pooling="avg"), {}),
    "any size": (lambda: build_regnet(X, input_shape=(None, None, 3), classes=3), {}),
    "normalizes": (
        lambda: build_regnet(X, input_shape=(SIZE, SIZE, 3), classes=3, include_preprocessing=True),
        {"mean": (0.0,) * 3, "std": (1 / 255,) * 3},
    ),
    "segmentation": (segmenter, {}),
}


@pytest.mark.parametrize(
    "kind",
    [
        *("gray", "features", "any size", "normalizes", "segmentation"),
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("transparency", "several labels")
        ),
    ],
)
def test_networks(kind, tmp_path):
    build, changes = NETWORKS[kind]
    source = source_of(build(), () if kind == "features" else LABELS, **changes)
    network, path = Network(source.model), tmp_path / "x.xml"
    write_openvino(path, network, source, "float32")
    check_answers(path, source, network, photographs(3, 1, network.channels))
    has_wrapper = openvino.Core().read_model(path).has_rt_info("model_info")  # of Model API
    assert has_wrapper == (kind in ("any size", "normalizes"))


def test_large_networks(written, tmp_path):
    """Their weights stay variables in TensorFlow's graph."""
    source, _, path = written
    network = Network(source.model, most_constants=0)
    assert network.variables
    write_openvino(tmp_path / "x.xml", network, source, "float32")
    found, expected = operations(tmp_path / "x.xml"), operations(path)
    for operation in ("Convolution", "GroupConvolution", "Transpose", "MatMul"):
        assert found[operation] == expected[operation]
    check_answers(tmp_path / "x.xml", source, network, source.examples.test)


def test_texts_inside(written):
    source, network, path = written
    model, files = openvino.Core().read_model(path), descriptions(source, network)
    facts = model.get_rt_info(["regnet_tf", "facts.json"]).astype(str)
    labels = model.get_rt_info(["regnet_tf", "labels.txt"]).astype(str)
    assert json.loads(facts) == json.loads(files["facts.json"])
    assert "".join(f"{label}\n" for label in json.loads(labels)) == files["labels.txt"]


def test_equal_networks_give_equal_files(written, tmp_path):
    """Whatever the process has converted before; without times and places."""
    source, _, path = written
    model = keras.models.clone_model(source.model)
    model.set_weights(source.model.get_weights())
    again = source_of(model, LABELS)
    write_openvino(tmp_path / "tiny.xml", Network(model), again, "float32")
    for suffix in (".xml", ".bin"):
        assert (tmp_path / "tiny").with_suffix(suffix).read_bytes() == path.with_suffix(
            suffix
        ).read_bytes()
    text = path.read_text()
    assert str(path.parent) not in text and not re.search(r"20\d\d-\d\d|version=\"20", text)


def test_model_api(written, tmp_path):
    """OpenVINO Model API classifies a photograph, as OpenCV reads it, without further options."""
    models = pytest.importorskip("model_api.models")
    source, _, path = written
    classifier = models.Model.create_model(str(path), device="CPU")
    assert isinstance(classifier, models.ClassificationModel)
    images = source.examples.test[:8]
    expected = outputs_of(source.model, PREPROCESSING.normalize(images))
    assert len({*expected.argmax(-1)}) > 1
    for image, scores in zip(images, expected, strict=True):
        (best,) = classifier(np.ascontiguousarray(image[..., ::-1])).top_labels
        assert best.id == scores.argmax()
        assert best.name == LABELS[scores.argmax()].replace(" ", "_")
        assert best.confidence == pytest.approx(scores.max(), abs=0.02)  # in bfloat16


# Integers.


@pytest.fixture(scope="module")
def integers(written):
    """`(source, network, path)` of an int8 file."""
    pytest.importorskip("nncf")
    source, network, path = written
    path = path.with_name("tiny_int8.xml")
    write_openvino(path, network, source, "int8")
    return source, network, path


def test_integers_agree_with_keras(integers):
    source, network, path = integers
    images = source.examples.test
    expected = outputs_of(source.model, PREPROCESSING.normalize(images))
    given = opened(path)(images)
    assert list(given) == [*network.outputs]
    assert np.abs(given["probabilities"] - expected).max() < 0.2
    centered = [one - expected.mean(0) for one in (given["probabilities"], expected)]
    assert np.vdot(*centered) > 0.98 * np.linalg.norm(centered[0]) * np.linalg.norm(centered[1])


def test_weights_are_integers(integers):
    _, network, path = integers
    found = [one for one in openvino.Core().read_model(path).get_ops() if one.outputs()]
    types = collections.Counter(one.get_element_type().get_type_name() for one in found)
    assert types["i8"] == len(network.layers)
    bins = [path.with_name(name) for name in ("tiny_int8.bin", "tiny.bin")]
    small, large = (one.stat().st_size for one in bins)
    assert small < 0.4 * large


def test_integers_are_the_same_again_and_silent(integers, tmp_path, capfd):
    source, network, path = integers
    before = [log.level for log in (logging.root, *logging.root.handlers)]
    write_openvino(tmp_path / "x.xml", network, source, "int8")
    assert capfd.readouterr() == ("", "")
    assert [log.level for log in (logging.root, *logging.root.handlers)] == before
    for suffix in (".xml", ".bin"):
        again = (tmp_path / "x").with_suffix(suffix)
        assert again.read_bytes() == path.with_suffix(suffix).read_bytes()


# Errors.


def test_unknown_operations_are_named(tmp_path):
    model = trained(X, classes=3)
    source = source_of(keras.Model(model.input, keras.ops.erfinv(model.output)), LABELS)
    network = Network(source.model, is_classifier=True)
    for check in (
        lambda: check_openvino(network, source, ["float32"]),
        lambda: write_openvino(tmp_path / "x.xml", network, source, "float32"),
    ):
        with pytest.raises(UserError, match=r"cannot be converted to OpenVINO: .*: Erfinv$"):
            check()
        assert logging.root.level == logging.WARNING  # OpenVINO would leave it at errors
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(written, monkeypatch):
    source, network, _ = written
    for package, precision in (("nncf", "int8"), ("openvino", "float32")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=rf"`{package}`: pip install 'regnet_tf\[openvino\]'"):
            check_openvino(network, source, [precision])


def test_options_are_checked(written):
    source, network, _ = written
    with pytest.raises(ValueError, match="`precision` must be one of"):
        check_openvino(network, source, ["float16"])
    alone = Source("tiny", source.model, PREPROCESSING, LABELS)
    with pytest.raises(UserError, match="int8 needs calibration images"):
        check_openvino(network, alone, ["float32", "int8"])


def test_full_disk(written, tmp_path):
    """The old files stay."""
    source, network, path = written
    old = {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}
    for suffix, content in old.items():
        (tmp_path / "x").with_suffix(suffix).write_bytes(content)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(old[".bin"]) // 2, before[1]))
        with pytest.raises(UserError, match=r"x\.xml could not be written: .*disk may be full"):
            write_openvino(tmp_path / "x.xml", network, source, "float32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {one.suffix: one.read_bytes() for one in tmp_path.iterdir()} == old


def test_nobody_is_told(written, tmp_path, monkeypatch):
    """OpenVINO's converter would send a report on its use, and keep a folder `intel` for it."""
    telemetry = pytest.importorskip("openvino_telemetry")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(telemetry.Telemetry, "_SingletonMetaClass__single_instance", None)
    source, _, path = written
    write_openvino(path.with_name("again.xml"), Network(source.model), source, "float32")
    assert not telemetry.Telemetry().consent
    assert not list(tmp_path.iterdir())
