"""`.onnx` files: their graphs, their answers in ONNX Runtime, and what is refused."""

import collections
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from networks import outputs_of
from sklearn.datasets import load_sample_images

import regnet_tf
from export.descriptions import descriptions
from export.examples import Examples
from export.formats.onnx import DEFAULT_OPSET, check_onnx, write_onnx
from export.network import Network
from export.source import Source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet
from regnet_tf._errors import MissingPackageError, UserError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

SIZE = 64
STAGES = (StageConfig(16, 1, 8), StageConfig(32, 2, 8), StageConfig(64, 1, 16))
X = RegNetConfig(name="tiny_x", explicit_stages=STAGES, stem_width=16)
Y = X.replace(name="tiny_y", se_ratio=0.25)
LABELS = ("cup", "sea, deep", "café")
BLOCKS = 4


def photographs(count, size=SIZE, channels=3):
    """Crops of a real photograph, uint8 `(count, size, size, channels)`."""
    photograph = load_sample_images().images[0]
    corners = [(7 * i % (427 - size), 31 * i % (640 - size)) for i in range(count)]
    crops = np.stack([photograph[y : y + size, x : x + size] for y, x in corners])
    return np.concatenate([crops, 255 - crops], -1)[..., :channels]


def with_statistics(model, size=SIZE):
    """Normalization that knows photographs, and biases that do something."""
    rng = np.random.default_rng(0)
    channels = model.inputs[0].shape[-1]
    images = preprocessing(size, channels).normalize(photographs(16, size, channels))
    for _ in range(20):
        model(images, training=True)
    for variable in model.trainable_variables:
        if variable.path.endswith(("bias", "beta")):
            variable.assign(rng.uniform(-0.3, 0.3, variable.shape))
    return model


def preprocessing(size=SIZE, channels=3):
    return Preprocessing(image_size=size).with_channels(channels)


def write(folder, model, prepare, precision="float32", labels=(), **options):
    """Writes a file; returns its path, its network and its source."""
    images = photographs(32, prepare.image_size, prepare.channels)
    source = Source("tiny", model, prepare, labels, Examples(images, images, None, "photographs"))
    network, path = Network(model), folder / f"{precision}.onnx"
    check_onnx(network, source, [precision], **options)
    write_onnx(path, network, source, precision, **options)
    return path, network, source


def answers(path, images):
    """Returns a file's outputs by name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def attributes(node):
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def operations(path):
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.fixture(scope="module", params=[X, Y], ids=["x", "y"])
def classifier(request):
    keras.utils.set_random_seed(0)
    model = build_regnet(request.param, input_shape=(SIZE, SIZE, 3), classes=3)
    with_statistics(model)
    model.get_layer("head").kernel.assign(model.get_layer("head").kernel * 30)
    return model


@pytest.fixture(scope="module")
def written(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    return write(folder, classifier, preprocessing(), labels=LABELS)


@pytest.fixture(scope="module")
def quantized(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx_int8")
    return write(folder, classifier, preprocessing(), "int8", labels=LABELS)


# The graph.


def test_graph_is_valid_and_says_what_it_is(written):
    path, network, source = written
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", DEFAULT_OPSET)]
    assert (model.producer_name, model.producer_version) == ("regnet_tf", regnet_tf.__version__)
    assert {one.key: one.value for one in model.metadata_props} == descriptions(source, network)
    assert json.loads(model.metadata_props[0].value)["class_names"] == list(LABELS)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape == ["batch", SIZE, SIZE, 3]
    shapes = {one.name: (one.type, one.shape) for one in session.get_outputs()}
    assert list(shapes) == ["probabilities", "logits", "features"] == list(network.outputs)
    assert shapes["features"] == ("tensor(float)", ["batch", 64])


def test_one_convolution_each_and_one_transposition(written):
    graph = onnx.load(written[0]).graph
    found = collections.Counter(node.op_type for node in graph.node)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 1 + 3 * BLOCKS + 3  # stem, blocks, shortcuts
    groups = [attributes(node)["group"] for node in convolutions if "conv_2" in node.name]
    assert groups == [2, 4, 4, 4]
    assert found["Transpose"] == 1
    before = [node.op_type for node in graph.node[: list(graph.node).index(convolutions[0])]]
    assert before == ["Cast", "Reshape", "Mul", "Add", "Reshape", "Transpose"]
    gates = found["Sigmoid"]
    assert gates in (0, BLOCKS)
    # Nothing else: batch normalization is folded, and channel means and gates are not transposed.
    assert found == {
        **{"Cast": 1, "Reshape": 2, "Transpose": 1, "Softmax": 1},
        **{"Conv": len(convolutions), "Relu": 1 + 3 * BLOCKS + gates, "ReduceMean": 1 + gates},
        **{"MatMul": 1 + 2 * gates, "Add": 1 + BLOCKS + 1 + 2 * gates, "Mul": 1 + gates},
        **({"Sigmoid": gates, "Unsqueeze": gates} if gates else {}),
    }


def test_names_are_those_of_the_layers(written):
    graph, (_, network, _) = onnx.load(written[0]).graph, written
    assert set(network.layers) <= {node.name for node in graph.node}
    constants = {one.name for one in graph.initializer}
    assert {f"{layer}/{kind}" for layer in network.layers for kind in ("kernel", "bias")} <= (
        constants
    )
    assert constants <= {name for node in graph.node for name in node.input}  # all are used


def test_equal_networks_give_equal_files(classifier, written, tmp_path):
    again, _, _ = write(tmp_path, classifier, preprocessing(), labels=LABELS)
    assert again.read_bytes() == written[0].read_bytes()


# The answers.


@pytest.mark.parametrize("count", [1, 5])
def test_answers_are_those_of_keras(classifier, written, count):
    images = photographs(count)
    expected = outputs_of(classifier, preprocessing().normalize(images))
    assert np.ptp(expected, axis=0).max() > 0.01 or count == 1
    given = answers(written[0], images)
    np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)
    logits = np.log(expected)
    logits -= logits.mean(-1, keepdims=True)
    centred = given["logits"] - given["logits"].mean(-1, keepdims=True)
    assert np.abs(centred - logits).max() <= 1e-5 * np.abs(given["logits"]).max()


def test_opset_17(classifier, written, tmp_path):
    path, _, _ = write(tmp_path, classifier, preprocessing(), opset=17)
    assert [one.version for one in onnx.load(path).opset_import] == [17]
    assert operations(path)["Transpose"] == 1
    images = photographs(3)
    given, expected = answers(path, images), answers(written[0], images)
    np.testing.assert_allclose(given["logits"], expected["logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_timm_network_with_golden_weights(tmp_path):
    from golden_weights import fill

    model = build_regnet("regnetx_002", input_shape=(96, 96, 3), classifier_activation=None)
    shapes = {name: value.shape for name, value in regnet_tf.to_state_dict(model).items()}
    regnet_tf.load_state_dict(model, {name: fill(name, one) for name, one in shapes.items()})
    path, _, _ = write(tmp_path, model, preprocessing(96))
    images = photographs(4, 96)
    expected = outputs_of(model, preprocessing(96).normalize(images))
    given = answers(path, images)["logits"]
    assert np.abs(given - expected).max() <= 1e-5 * np.abs(expected).max()
    assert operations(path)["Conv"] == 44 and operations(path)["Transpose"] == 1


def segmentation(config, decoder, size):
    backbone = regnet_tf.backbone(config, outputs=(1, 2, 3), input_shape=(size, size, 3))
    return regnet_tf.segmentation_model(backbone, 5, decoder=decoder, width=16)


def on(backbone, head):
    return keras.Model(backbone.input, head(backbone.output))


def trunk(config=Y, channels=3):
    return build_regnet(config, input_shape=(SIZE, SIZE, channels), include_top=False, pooling=None)


def own_gates(x):
    """Squeeze-and-excitation as people write it, and two poolings."""
    gates = layers.Dense(64, "sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 64))(gates)])
    return layers.Dense(3, "softmax")(layers.GlobalMaxPooling2D()(x))


def pixel_features(x):
    return layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(layers.Dense(6, "relu")(x)))


def levels_to_floats():
    images = keras.Input((SIZE, SIZE, 3))
    model = build_regnet(Y, input_shape=(SIZE, SIZE, 3), classes=3)
    return keras.Model(images, model(layers.Rescaling(1 / 127.5, -1)(images)))


#: Name -> network, size of its images, number of transpositions.
OTHERS = {
    "fpn": (lambda: segmentation(X, "fpn", SIZE), SIZE, 2),
    "fpn of an odd size": (lambda: segmentation(X, "fpn", 75), 75, 2),
    "unet": (lambda: segmentation(Y, "unet", SIZE), SIZE, 2),
    "dilated": (
        lambda: build_regnet(Y, input_shape=(SIZE, SIZE, 3), classes=3, output_stride=8),
        *(SIZE, 1),
    ),
    "any size": (lambda: build_regnet(Y, input_shape=(None, None, 3), classes=3), SIZE, 1),
    "gray": (lambda: build_regnet(Y, input_shape=(SIZE, SIZE, 1), classes=3), SIZE, 0),
    "transparent": (lambda: build_regnet(X, input_shape=(SIZE, SIZE, 4), classes=3), SIZE, 1),
    "features": (trunk, SIZE, 1),
    "own gates": (lambda: on(trunk(), own_gates), SIZE, 2),
    "pixel features": (lambda: on(trunk(X), pixel_features), SIZE, 1),
    "sigmoid": (
        lambda: build_regnet(
            X, input_shape=(SIZE, SIZE, 3), classes=3, classifier_activation="sigmoid"
        ),
        *(SIZE, 1),
    ),
    "rescaling": (levels_to_floats, SIZE, 1),
}


@pytest.mark.parametrize(
    "kind",
    [
        *("fpn of an odd size", "dilated", "transparent"),
        *("own gates", "pixel features", "rescaling"),
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("fpn", "unet", "any size", "gray", "features", "sigmoid")
        ),
    ],
)
def test_other_networks(kind, tmp_path):
    keras.utils.set_random_seed(0)
    make, size, transpositions = OTHERS[kind]
    model = make()
    channels = model.inputs[0].shape[-1]
    prepare = preprocessing(size, channels)
    if kind == "rescaling":
        prepare = prepare.replace(mean=(0,) * 3, std=(1 / 255,) * 3)
    else:
        with_statistics(model, size)
    path, network, _ = write(tmp_path, model, prepare)
    images = photographs(3, size, channels)
    expected = outputs_of(model, prepare.normalize(images))
    if kind == "features":
        expected = expected.mean((1, 2))
    given = answers(path, images)[network.outputs[0]]
    assert given.shape == expected.shape
    assert np.abs(given - expected).max() <= 1e-5 * np.abs(expected).max()
    assert operations(path)["Transpose"] == transpositions


# int8.


def test_int8_answers(classifier, quantized):
    images = photographs(32)
    expected = outputs_of(classifier, preprocessing().normalize(images))
    given = answers(quantized[0], images)["probabilities"]
    assert np.abs(given - expected).max() < 0.2
    assert (given.argmax(-1) == expected.argmax(-1)).mean() > 0.9


def test_int8_weights_and_what_stays_in_float(written, quantized):
    model = onnx.load(quantized[0])
    graph = model.graph
    onnx.checker.check_model(model, full_check=True)
    assert {one.domain for one in model.opset_import} == {""}
    assert model.producer_name == "regnet_tf"
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Conv":
            values, weights = (makers[name] for name in node.input[:2])
            assert {values.op_type, weights.op_type} == {"DequantizeLinear"}
            kernel, scale, _ = (constants[name] for name in weights.input)
            assert kernel.dtype == np.int8 and scale.shape == (len(kernel),)  # per channel
            assert constants[values.input[2]].dtype == np.uint8
        if node.op_type in ("Sigmoid", "Softmax", "Unsqueeze"):
            assert makers[node.input[0]].op_type in ("Gemm", "Sigmoid")
    gemms = [node for node in graph.node if node.op_type == "Gemm"]
    in_float = [node for node in gemms if constants.get(node.input[1]) is not None]
    assert len(in_float) == len(gemms) - 1  # the head alone is quantized
    assert quantized[0].stat().st_size < written[0].stat().st_size


def test_int8_files_are_equal_for_equal_networks(classifier, quantized, tmp_path):
    again, _, _ = write(tmp_path, classifier, preprocessing(), "int8", labels=LABELS)
    assert again.read_bytes() == quantized[0].read_bytes()


# What is refused.


@pytest.mark.parametrize("opset", [16, 99, "18", True])
def test_opset_out_of_range(classifier, tmp_path, opset):
    with pytest.raises(UserError, match=r"`opset` must be an integer from 17 to .* Received: "):
        write(tmp_path, classifier, preprocessing(), opset=opset)
    assert [*tmp_path.iterdir()] == []


def test_operation_that_onnx_cannot_express(tmp_path):
    def head(x):
        x = layers.Dense(9)(layers.GlobalAveragePooling2D()(x))
        x = ops.reshape(ops.inv(ops.reshape(x, (-1, 3, 3))), (-1, 9))
        return layers.Dense(3, "softmax")(x)

    with pytest.raises(UserError, match=r"cannot express .* of tiny: .*: MatrixInverse"):
        write(tmp_path, on(trunk(X), head), preprocessing())
    assert [*tmp_path.iterdir()] == []


def test_missing_package(classifier, monkeypatch, tmp_path):
    for name in [one for one in sys.modules if one.partition(".")[0] == "tf2onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingPackageError, match=r"`tf2onnx`: pip install 'regnet_tf\[onnx\]'"):
        write(tmp_path, classifier, preprocessing())


def test_too_large_for_a_protobuf(classifier, monkeypatch, tmp_path):
    monkeypatch.setattr("export.formats.onnx._MOST_BYTES", 1000)
    with pytest.raises(UserError, match="must be below 2 GiB, but the weights of tiny have"):
        write(tmp_path, classifier, preprocessing())
