"""`.tflite` files: operations, exactness, integers, what a phone's library sees in them."""

import json
import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from networks import outputs_of
from sklearn.datasets import load_sample_images

from export import integers
from export.checks import Checks
from export.examples import Examples
from export.formats import PRECISIONS, Settings, tflite
from export.network import Network
from export.source import Source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet
from regnet_tf._errors import UserError
from regnet_tf.runtimes import open_file

BUILTIN = {
    *("CONV_2D", "ADD", "MUL", "PAD", "MEAN", "FULLY_CONNECTED", "SOFTMAX", "LOGISTIC", "CAST"),
    *("RESHAPE", "STRIDED_SLICE", "QUANTIZE", "DEQUANTIZE", "DELEGATE"),
}
LABELS = ("cup", "sea, deep", "café")
PREPROCESSING = Preprocessing(image_size=64)


def photographs(count, seed):
    """Crops of real photographs, uint8 `(count, 64, 64, 3)`; each seed has a photograph."""
    rng = np.random.default_rng(seed)
    photograph = load_sample_images().images[seed % 2]
    rows, columns = rng.integers(0, [427 - 200, 640 - 200], (count, 2)).T
    crops = [photograph[y : y + 200, x : x + 200] for y, x in zip(rows, columns, strict=True)]
    return PREPROCESSING.resize_and_crop(np.stack(crops)).numpy()


def trained(config, **arguments):
    """A network whose normalization knows photographs, and whose classes differ."""
    keras.utils.set_random_seed(1)
    model = build_regnet(config, input_shape=(64, 64, 3), **arguments)
    images = PREPROCESSING.normalize(np.concatenate([photographs(16, 4), photographs(16, 5)]))
    for _ in range(30):
        model(images, training=True)
    if arguments.get("include_top", True):
        head = model.get_layer("head")
        head.kernel.assign(head.kernel * 20)
    return model


def source_of(model, labels=()):
    calibration = np.concatenate([photographs(40, 2), photographs(40, 3)])
    examples = Examples(calibration, photographs(16, 1), None, "photographs")
    return Source("tiny", model, PREPROCESSING, labels, examples)


STAGES = (StageConfig(16, 1, 8), StageConfig(64, 2, 16))
X = RegNetConfig(name="tiny_x", explicit_stages=STAGES, stem_width=16)
Y = X.replace(name="tiny_y", se_ratio=0.25)


#: RegNetX has fewer kinds of layers; the network of `exported` is one.
EACH = [pytest.param(X, marks=pytest.mark.slow, id="x"), pytest.param(Y, id="y")]


@pytest.fixture(scope="module", params=EACH)
def written(request, tmp_path_factory):
    """A classifier, its source, its network, and its four files by precision."""
    model = trained(request.param, classes=3)
    source = source_of(model, LABELS)
    network = Network(model)
    folder = tmp_path_factory.mktemp("tflite")
    files, layers = {}, {}
    for precision in PRECISIONS:
        files[precision] = folder / f"{precision}.tflite"
        layers[precision] = tflite.write_tflite(
            files[precision], network, source, precision, 1, "float32", "1"
        )
    return source, network, files, layers


def operations(file):
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    return interpreter, interpreter._get_ops_details()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_builtin_operations_alone(written, precision):
    _, ops = operations(written[2][precision])
    assert {op["op_name"] for op in ops} <= BUILTIN


@pytest.mark.parametrize("precision", PRECISIONS)
def test_xnnpack_runs_every_convolution(written, precision):
    """The weights of each are an input of a delegate's node; the grouped ones are not split."""
    interpreter, ops = operations(written[2][precision])
    delegated = {i for op in ops if op["op_name"] == "DELEGATE" for i in op["inputs"]}
    convolutions = [op for op in ops if op["op_name"] == "CONV_2D"]
    channels = {one["index"]: one["shape"][-1] for one in interpreter.get_tensor_details()}
    grouped = [op for op in convolutions if channels[op["inputs"][0]] != channels[op["inputs"][1]]]
    assert len(grouped) == 3  # one for each block
    assert all(op["inputs"][1] in delegated for op in convolutions)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_signature(written, precision):
    interpreter = Interpreter(str(written[2][precision]))
    runner = interpreter.get_signature_runner("serving_default")
    (images,) = runner.get_input_details().values()
    assert (images["dtype"], images["shape"].tolist()) == (np.uint8, [1, 64, 64, 3])
    assert list(runner.get_output_details()) == ["probabilities"]
    outputs = runner(images=photographs(1, 1))["probabilities"]
    assert (outputs.dtype, outputs.shape) == (np.float32, (1, 3))


@pytest.mark.parametrize(
    ("precision", "most", "least_cosine"),
    [
        ("float32", 1e-5, 0.999999),
        ("float16", 1e-2, 0.9999),
        ("dynamic_range", 0.2, 0.99),
        ("int8", 0.2, 0.98),
    ],
)
def test_agrees_with_keras(written, precision, most, least_cosine):
    source, network, files, _ = written
    checks = Checks.make(source, network)
    assert np.ptp(checks.expected, axis=0).max() > 0.1  # or nothing would be seen
    compared = checks.compare(open_file(files[precision]))
    assert compared["max_difference"] < most
    assert compared["cosine"] > least_cosine


def test_sizes(written):
    size = {precision: file.stat().st_size for precision, file in written[2].items()}
    assert size["float16"] < 0.75 * size["float32"]
    assert size["dynamic_range"] < 0.75 * size["float16"]


def test_errors_of_layers(written):
    """One for each layer with a kernel; that of the stem is about the rounding of its output."""
    source, network, _, layers = written
    assert [layers[precision] for precision in PRECISIONS[:3]] == [None] * 3
    assert {one["layer"] for one in layers["int8"]} == set(network.layers)
    assert all(0 < one["error"] < 1 for one in layers["int8"])
    stem = next(one["error"] for one in layers["int8"] if one["layer"] == "stem/conv")
    images = source.examples.calibration[:16]
    model = source.model.__class__(source.model.inputs, source.model.get_layer("stem").output)
    truth = model(PREPROCESSING.normalize(images)).numpy()
    step = np.ptp(truth) / 255
    assert step / 12**0.5 / 2 < stem * truth.std() < 4 * step


def test_integers_from_the_first_operation_on(written):
    """No float but in the gates and at the end."""
    interpreter, ops = operations(written[2]["int8"])
    (images,) = interpreter.get_input_details()
    assert images["quantization"] == (1.0, 0)
    assert ops[0]["op_name"] == "QUANTIZE"
    first = next(
        one for one in interpreter.get_tensor_details() if one["index"] == ops[0]["outputs"][0]
    )
    assert (first["dtype"], first["quantization"]) == (np.int8, (1.0, -128))


def test_gates_are_float(written):
    _, ops = operations(written[2]["int8"])
    interpreter = Interpreter(str(written[2]["int8"]))
    types = {one["index"]: one["dtype"] for one in interpreter.get_tensor_details()}
    gates = [types[op["outputs"][0]] for op in ops if op["op_name"] == "LOGISTIC"]
    convolutions = [types[op["outputs"][0]] for op in ops if op["op_name"] == "CONV_2D"]
    assert set(convolutions) == {np.int8}
    assert set(gates) <= {np.float32}


def test_uint8_output(written, tmp_path):
    source, network, files, _ = written
    path = tmp_path / "integers.tflite"
    tflite.write_tflite(path, network, source, "int8", 1, "uint8", "1")
    details = Interpreter(str(path)).get_output_details()[0]
    assert details["dtype"] == np.uint8
    assert details["quantization"] == pytest.approx((1 / 256, 0))
    images = source.examples.test
    expected = open_file(files["int8"])(images)
    np.testing.assert_allclose(open_file(path)(images), expected, atol=0.03)


def test_batches(written, tmp_path):
    source, network, files, _ = written
    for precision in ("float32", "int8"):
        path = tmp_path / f"{precision}.tflite"
        tflite.write_tflite(path, network, source, precision, 4, "float32", "1")
        run = open_file(path)
        assert run.batch_size == 4
        images = source.examples.test[:7]  # the last batch is incomplete
        expected = open_file(files[precision])(images)
        np.testing.assert_allclose(
            run(images), expected, atol=1e-5 if precision == "float32" else 0.05
        )


@pytest.mark.parametrize("config", EACH)
def test_features_of_integers(config, tmp_path):
    """Of a network without a classifier, on parts of photographs that were not calibrated on."""
    source = source_of(trained(config, include_top=False, pooling="avg"))
    network = Network(source.model)
    path = tmp_path / "features.tflite"
    layers = tflite.write_tflite(path, network, source, "int8", 1, "float32", "1")
    assert layers
    compared = Checks.make(source, network).compare(open_file(path))
    assert compared["cosine"] > 0.985
    assert set(compared) == {"max_difference", "usual_difference", "cosine"}


@pytest.mark.mediapipe
@pytest.mark.parametrize("precision", PRECISIONS)
def test_mediapipe_names_the_class(written, precision):
    """As an app does it, on images of the network's size, which MediaPipe need not resize."""
    mediapipe = pytest.importorskip("mediapipe")
    source, _, files, _ = written
    vision = mediapipe.tasks.vision
    options = vision.ImageClassifierOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(files[precision]))
    )
    images = source.examples.test[:4]
    expected = open_file(files[precision])(images)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image, scores in zip(images, expected, strict=True):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            best = classifier.classify(picture).classifications[0].categories[0]
            assert best.index == scores.argmax()
            assert best.category_name == LABELS[scores.argmax()]
            assert best.score == pytest.approx(scores.max(), abs=1e-3)


@pytest.fixture(scope="module")
def embedder(written, tmp_path_factory):
    """The file of the pooled features of `written`."""
    source, network, _, _ = written
    path = tmp_path_factory.mktemp("embedder") / "features.tflite"
    tflite.write_embedder(path, network, source, 1)
    return path


def pooled(source, images):
    """Keras' features: the inputs of the head."""
    model = source.model
    features = keras.Model(model.input, model.get_layer("head").input)
    return outputs_of(features, PREPROCESSING.normalize(images))


def test_embedder_has_the_features_of_keras(written, embedder):
    source, _, files, _ = written
    images = source.examples.test[:4]
    expected = pooled(source, images)
    np.testing.assert_allclose(open_file(embedder)(images), expected, rtol=1e-4, atol=1e-4)
    runner = Interpreter(str(embedder)).get_signature_runner("serving_default")
    assert list(runner.get_output_details()) == ["features"]
    with zipfile.ZipFile(embedder) as archive:
        assert archive.namelist() == ["facts.json"]  # the features are not classes
        facts = json.loads(archive.read("facts.json"))
    with zipfile.ZipFile(files["float32"]) as archive:
        theirs = json.loads(archive.read("facts.json"))
    assert facts == {**theirs, "class_names": []}


@pytest.mark.mediapipe
def test_mediapipe_embeds(written, embedder):
    mediapipe = pytest.importorskip("mediapipe")
    source, vision = written[0], mediapipe.tasks.vision
    options = vision.ImageEmbedderOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(embedder))
    )
    images = source.examples.test[:4]
    expected = pooled(source, images)
    with vision.ImageEmbedder.create_from_options(options) as machine:
        pictures = [
            mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image) for image in images
        ]
        found = [machine.embed(picture).embeddings[0] for picture in pictures]
    np.testing.assert_allclose(
        [vision.ImageEmbedder.cosine_similarity(found[0], other) for other in found],
        cosines(expected[:1], expected),
        atol=1e-3,
    )
    np.testing.assert_allclose(
        cosines(expected, np.stack([one.embedding for one in found])), 1, atol=1e-3
    )


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_only_networks_with_pooled_features_embed(tmp_path):
    model = build_regnet(X, input_shape=(64, 64, 3), classes=3)
    source = source_of(keras.Model(model.input, keras.ops.square(model.output)), LABELS)
    network = Network(source.model, is_classifier=True)
    with pytest.raises(UserError, match="no pooled features: its outputs are "):
        tflite.write_embedder(tmp_path / "x.tflite", network, source, 1)
    assert not list(tmp_path.iterdir())


def test_other_operations_are_refused(tmp_path):
    """A select-TF operation would need a library that apps do not have."""
    model = trained(X, classes=3)
    outputs = keras.ops.erfinv(model.output)
    source = source_of(keras.Model(model.input, outputs), LABELS)
    network = Network(source.model, is_classifier=True)
    with pytest.raises(UserError, match="cannot be converted to TFLite"):
        tflite.write_tflite(tmp_path / "x.tflite", network, source, "float32", 1, "float32", "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["int4"], 1, "float32"), "`precision` must be one of"),
        ((["float32"], 0, "float32"), "`batch_size` must be"),
        ((["float32"], 1, "int8"), "`int8_output` must be one of"),
    ],
)
def test_options_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Settings(*arguments)


def test_layers_are_named():
    errors = {
        "tiny_1/stage_1_1/block_12_1/conv_1_1/Relu;tiny_1/stage_1_1/block_12_1/conv_1_1/add": 0.25,
        "stage_1_1/block_1_1/conv_1_1/Relu": 0.5,
    }
    layers = ["stage_1/block_1/conv_1", "stage_1/block_12/conv_1", "stage_1/block_2/conv_1"]
    assert integers._named(errors, layers) == [
        {"layer": "stage_1/block_1/conv_1", "error": 0.5},
        {"layer": "stage_1/block_12/conv_1", "error": 0.25},
    ]
