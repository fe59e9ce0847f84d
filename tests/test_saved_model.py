"""The SavedModel as servers see it: without Keras, its signatures, files of every kind."""

import functools
import io
import re
import resource
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

import regnet_tf
from export.formats.saved_model import write_saved_model
from export.graph import offending_ops, read_graph
from export.network import Network
from export.source import load_source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig
from regnet_tf._errors import UserError
from regnet_tf.runtimes import open_file

STAGES = (StageConfig(16, 1, 8), StageConfig(32, 2, 16))
CONFIG = RegNetConfig(explicit_stages=STAGES, stem_width=16, se_ratio=0.25)

# Keras and this project are kept away: TensorFlow itself imports Keras where it can.
IN_A_SESSION = """
import sys
sys.modules["keras"] = sys.modules["regnet_tf"] = None
from pathlib import Path
import numpy as np
import tensorflow as tf

saved_model, images, answers, *files = sys.argv[1:]
fed = {"images": np.load(images), "image_bytes": [Path(file).read_bytes() for file in files]}
given = {}
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], saved_model)
    for name, signature in meta_graph.signature_def.items():
        if name.startswith("__"):
            continue
        feeds = {spec.name: fed[key] for key, spec in signature.inputs.items()}
        fetches = {key: spec.name for key, spec in signature.outputs.items()}
        for key, value in session.run(fetches, feeds).items():
            given[f"{name}/{key}"] = value.astype(str) if value.dtype == object else value
np.savez(answers, **given)
"""


@functools.cache
def signatures(path):
    """The signatures, with the object that they live on."""
    loaded = tf.saved_model.load(str(path))
    return loaded, loaded.signatures


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def files():
    """Photographs of several sizes and kinds, as bytes."""
    china, flower = (Image.fromarray(image) for image in load_sample_images().images)
    see_through = china.resize((50, 70))
    see_through.putalpha(100)
    return [
        encoded(china, "JPEG"),
        encoded(flower.convert("L").resize((90, 41)), "PNG"),
        encoded(see_through, "PNG"),
        encoded(flower.convert("L"), "JPEG", quality=60),
        encoded(china.crop((300, 100, 330, 140)), "JPEG", progressive=True),
        encoded(flower.quantize(16), "PNG"),
    ]


@pytest.fixture(scope="module")
def expected(exported, files):
    """What the Keras model makes of eight images and the files, by "signature/output"."""
    model, preprocessing = exported.source.model, exported.source.preprocessing
    head = model.get_layer("head")
    images = preprocessing.normalize(exported.source.examples.test[:8])
    features = keras.Model(model.inputs, head.input)(images).numpy()
    scores = model(preprocessing(files), training=False).numpy()
    best = np.argsort(-scores)[:, :5]
    return {
        "images/probabilities": model(images, training=False).numpy(),
        "logits/logits": features @ head.kernel.numpy() + head.bias.numpy(),
        "features/features": features,
        "serving_default/probabilities": scores,
        "serving_default/classes": best,
        "serving_default/labels": np.array(exported.source.labels)[best],
    }


def check(given, expected):
    assert set(given) == set(expected)
    for name, value in expected.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(given[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(given[name], value, err_msg=name)


# TensorFlow alone.


@pytest.mark.parametrize("onednn", ["1", pytest.param("0", marks=pytest.mark.slow)])
def test_runs_without_keras(onednn, exported, files, expected, tmp_path, run_python):
    assert len(set(expected["images/probabilities"].argmax(-1))) > 1
    np.save(tmp_path / "images.npy", exported.source.examples.test[:8])
    for number, content in enumerate(files):
        (tmp_path / str(number)).write_bytes(content)
    paths = [tmp_path / str(number) for number in range(len(files))]
    run_python(
        *("-c", IN_A_SESSION, exported.saved_model, tmp_path / "images.npy"),
        *(tmp_path / "answers.npz", *paths),
        TF_ENABLE_ONEDNN_OPTS=onednn,
        TF_XLA_FLAGS="--tf_xla_auto_jit=-1",
    )
    with np.load(tmp_path / "answers.npz") as answers:
        check(dict(answers), expected)


SAVED_MODEL_CLI = """
import sys
from tensorflow.python.tools import saved_model_cli

folder, images, out = sys.argv[1:]
for arguments in (
    ["show", "--all"],
    ["run", "--tag_set", "serve", "--signature_def", "images"]
    + ["--inputs", f"images={images}", "--outdir", out],
):
    sys.argv = ["saved_model_cli", *arguments, "--dir", folder]
    try:
        saved_model_cli.main()
    except SystemExit as end:
        assert not end.code
"""


@pytest.mark.slow
def test_saved_model_cli(exported, expected, tmp_path, run_python):
    np.save(tmp_path / "images.npy", exported.source.examples.test[:8])
    arguments = (exported.saved_model, tmp_path / "images.npy", tmp_path)
    shown = set(
        re.findall(r"signature_def\['(\w+)'\]", run_python("-c", SAVED_MODEL_CLI, *arguments))
    )
    assert shown - {"__saved_model_init_op"} == {name.partition("/")[0] for name in expected}
    given = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(given, expected["images/probabilities"], rtol=1e-4, atol=1e-5)


# Signatures.


def test_types_and_shapes(exported):
    (meta_graph,) = read_graph(exported.saved_model).meta_graphs

    def described(tensors):
        return {
            name: (
                tf.dtypes.as_dtype(one.dtype).name,
                tuple(dim.size for dim in one.tensor_shape.dim),
            )
            for name, one in tensors.items()
        }

    given = {
        name: (described(one.inputs), described(one.outputs))
        for name, one in meta_graph.signature_def.items()
        if not name.startswith("__")
    }
    images = {"images": ("uint8", (-1, 32, 32, 3))}
    probabilities = {"probabilities": ("float32", (-1, 10))}
    best = {"classes": ("int32", (-1, 5)), "labels": ("string", (-1, 5))}
    assert given == {
        "serving_default": ({"image_bytes": ("string", (-1,))}, {**probabilities, **best}),
        "images": (images, probabilities),
        "logits": (images, {"logits": ("float32", (-1, 10))}),
        "features": (images, {"features": ("float32", (-1, 16))}),
    }


def test_files_of_every_kind(exported, files, expected):
    _, signature = signatures(exported.saved_model)
    for count in (len(files), 1):
        given = signature["serving_default"](image_bytes=tf.constant(files[:count]))
        for name, value in given.items():
            wanted = expected[f"serving_default/{name}"][:count]
            if name == "probabilities":
                np.testing.assert_allclose(value, wanted, atol=1e-5)
            elif name == "labels":
                assert [[one.decode() for one in row] for row in value.numpy()] == wanted.tolist()
            else:
                np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({1: b"no photograph"}, "[1]"),
        ({0: b"", 5: b"BM no photograph"}, "[0 5]"),
        ({0: 0.5, 1: 0.9, 4: 0.5}, "[0 1 4]"),  # parts of the files
        (dict.fromkeys(range(6), b""), "[0 1 2 3 4 5]"),
    ],
)
def test_names_what_is_no_image(exported, files, bad, named):
    batch = list(files)
    for index, what in bad.items():
        whole = files[index]
        batch[index] = what if isinstance(what, bytes) else whole[: int(what * len(whole))]
    _, signature = signatures(exported.saved_model)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        signature["serving_default"](image_bytes=tf.constant(batch))
    message = f"No whole image file: image {named} (counted from 0) of a batch of 6"
    assert message in str(caught.value)


def test_names_what_is_too_large(exported, files):
    """No pixel of such a file is decoded: a server has many requests and one memory."""
    size = files[0].index(b"\xff\xc0") + 5
    bomb = files[0][:size] + b"\x32\xc8\x2e\xe0" + files[0][size + 4 :]  # 13,000 x 12,000
    _, signature = signatures(exported.saved_model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for batch, named in (
        ([*files, bomb], "[6] (counted from 0) of a batch of 7"),
        ([bomb] * 2, "[0 1]"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            signature["serving_default"](image_bytes=tf.constant(batch))
        assert f"More than 89,478,485 pixels: image {named}" in str(caught.value)
        assert "; the first of them has 12000 x 13000" in str(caught.value)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 200 << 10  # KiB; one such image has 468 MB
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"No whole image file: image \[1\]"):
        signature["serving_default"](image_bytes=tf.constant([bomb, b""]))


def test_empty_batch(exported):
    _, signature = signatures(exported.saved_model)
    for name, function in signature.items():
        empty = {"images": tf.zeros((0, 32, 32, 3), tf.uint8)}
        if name == "serving_default":
            empty = {"image_bytes": tf.zeros(0, tf.string)}
        with pytest.raises(tf.errors.InvalidArgumentError, match="A batch must hold an image"):
            function(**empty)


# What servers refuse.


def saved(folder, function, module=None):
    spec = tf.TensorSpec((None, 8), tf.float32, name="x")
    signature = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module or tf.Module(), str(folder), signatures=signature)
    return folder


def test_nothing_that_servers_refuse(exported):
    assert offending_ops(exported.saved_model) == []


def test_finds_calls_of_python(tmp_path):
    def function(x):
        return {"y": tf.ensure_shape(tf.py_function(lambda x: x + 1, [x], tf.float32), (None, 8))}

    found = offending_ops(saved(tmp_path / "saved", function))
    assert found and all("EagerPyFunc calls Python" in one for one in found)


def test_finds_what_must_be_compiled(tmp_path):
    compiled = tf.function(lambda x: x + 1, jit_compile=True)
    found = offending_ops(saved(tmp_path / "saved", lambda x: {"y": compiled(x)}))
    assert found and any("must be compiled with XLA" in one for one in found)


def test_finds_grouped_convolutions_of_keras(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3, groups=2)])
    model.export(tmp_path / "saved", verbose=False)
    assert any("must be compiled with XLA" in one for one in offending_ops(tmp_path / "saved"))


def test_no_saved_model(tmp_path):
    with pytest.raises(ValueError, match="is not a SavedModel"):
        offending_ops(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 10)
    with pytest.raises(ValueError, match="is not a SavedModel"):
        offending_ops(tmp_path)


# Weights as variables.


def constants(path):
    """Bytes of each constant of a SavedModel."""
    (meta_graph,) = read_graph(path).meta_graphs
    graph = meta_graph.graph_def
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    nodes = [node for nodes in bodies for node in nodes if node.op == "Const"]
    return [node.attr["value"].tensor.ByteSize() for node in nodes]


def test_large_networks_keep_variables(tmp_path):
    model, preprocessing = built(), Preprocessing(image_size=32)
    kernel = model.get_layer("head").kernel
    kernel.assign(100 * kernel)
    largest = 4 * max(np.prod(variable.shape) for variable in model.weights)  # bytes
    total = {}
    for name, options in (("constants", {}), ("variables", {"most_constants": 0})):
        network = Network(model, **options)
        write_saved_model(tmp_path / name, network, preprocessing, "abcdef")
        assert (max(constants(tmp_path / name)) > largest) == (name == "constants")
        total[name] = sum(constants(tmp_path / name))
    assert total["constants"] - total["variables"] > largest

    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    wanted = model(preprocessing.normalize(images), training=False)
    assert np.ptp(wanted, 0).max() > 1e-2
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "variables"))
        signature = graph.signature_def["images"]
        feed = {signature.inputs["images"].name: images}
        given = session.run(signature.outputs["probabilities"].name, feed)
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-5)


def test_damaged_fingerprint(exported, tmp_path, capfd):
    """TensorFlow would print a traceback, and go on."""
    folder = shutil.copytree(exported.saved_model, tmp_path / "1")
    path = folder / "fingerprint.pb"
    path.write_bytes(b"\xff" * 20)  # no message of protocol buffers
    with pytest.raises(UserError, match=r"cannot be read: SavedModel Fingerprint Error"):
        open_file(folder)
    assert "Traceback" not in capfd.readouterr().err
    path.unlink()  # TensorFlow before 2.12 writes none
    assert open_file(folder)(np.zeros((1, 32, 32, 3), "uint8")).shape == (1, 10)


# Networks of every kind.


def built(config=CONFIG, **options):
    options = {"input_shape": (32, 32, 3), "classes": 6, **options}
    return regnet_tf.build_regnet(config, **options)


def without_top(**options):
    return built(include_top=False, classes=None, **options)


def new_head(**options):
    model = without_top(pooling="avg", **options)
    return keras.Model(model.input, keras.layers.Dense(4, "softmax")(model.output))


NETWORKS = {
    "feature map": without_top,
    "pooled": lambda: without_top(pooling="avg"),
    "logits": lambda: built(classifier_activation=None),
    "sigmoid": lambda: built(classifier_activation="sigmoid"),
    "with preprocessing": lambda: built(include_preprocessing=True),
    "mixed_bfloat16": lambda: built(dtype="mixed_bfloat16"),
    "new head": new_head,
    "new head on a new input": lambda: new_head(
        input_shape=None, input_tensor=keras.Input((32, 32, 3))
    ),
    "RegNetX": lambda: built(CONFIG.replace(se_ratio=0.0)),
    "group norm": lambda: built(CONFIG.replace(normalization="group", activation="silu")),
    "RegNetV": lambda: built(CONFIG.replace(preactivation=True, shortcut="average")),
    "RegNetZ": lambda: built(
        CONFIG.replace(
            **{"shortcut": "none", "linear_output": True, "bottleneck_in": True},
            **{"stem_type": "tiered", "final_width": 32, "activation": "silu"},
        )
    ),
    "evonorm": lambda: built(CONFIG.replace(normalization="evonorm", activation="silu")),
    "any size": lambda: built(input_shape=(None, None, 3)),
}


#: `test_export_networks.py` and `test_openvino.py` have networks like them.
ELSEWHERE = ("pooled", "logits", "sigmoid", "with preprocessing", "new head", "RegNetX", "any size")
#: Group normalization is one that is not folded into kernels, as EvoNorm.
MARKS = {
    "mixed_bfloat16": pytest.mark.short_floats,
    **dict.fromkeys((*ELSEWHERE, "evonorm"), pytest.mark.slow),
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in NETWORKS],
)
def test_networks_of_every_kind(kind, tmp_path):
    model = NETWORKS[kind]()
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) == 1:  # biases and statistics; variances stay positive
            variable.assign(variable + 0.2 * np.abs(rng.normal(size=variable.shape)))
        elif len(variable.shape) == 2:  # a classifier that tells the images apart
            variable.assign(0.2 * rng.normal(size=variable.shape))
    model.save(tmp_path / "model.keras")
    source = load_source(tmp_path / "model.keras", image_size=32)
    write_saved_model(
        tmp_path / "saved", Network(source.model), source.preprocessing, source.labels
    )
    assert offending_ops(tmp_path / "saved") == []

    images = rng.integers(0, [[[[64]]], [[[128]]], [[[192]]], [[[256]]]], (4, 32, 32, 3), "uint8")
    fed = images if kind == "with preprocessing" else Preprocessing(image_size=32).normalize(images)
    wanted = np.asarray(model(fed, training=False), "float32")
    if wanted.ndim == 4:
        wanted = wanted.mean((1, 2))
    _, signature = signatures(tmp_path / "saved")
    classifier = kind not in ("feature map", "pooled")
    assert set(signature) == {"serving_default", "features"} | (
        {"images", "logits"} if classifier else set()
    )
    name = {"logits": "logits"}.get(kind, "images" if classifier else "features")
    (given,) = signature[name](images=tf.constant(images)).values()
    tolerance = 2e-2 if kind == "mixed_bfloat16" else 1e-5
    np.testing.assert_allclose(given, wanted, rtol=tolerance, atol=tolerance)
    assert np.ptp(wanted, 0).max() > 5 * tolerance
    if kind == "logits":
        (given,) = signature["images"](images=tf.constant(images)).values()
        np.testing.assert_allclose(given, tf.nn.softmax(wanted), atol=1e-5)


def test_features_from_files_without_a_classifier(files, tmp_path):
    model, preprocessing = without_top(pooling="avg"), Preprocessing(image_size=32)
    write_saved_model(tmp_path / "saved", Network(model), preprocessing, ())
    _, signature = signatures(tmp_path / "saved")
    given = signature["serving_default"](image_bytes=tf.constant(files))
    assert set(given) == {"features"}
    wanted = model(preprocessing(files), training=False)
    np.testing.assert_allclose(given["features"], wanted, rtol=1e-4, atol=1e-5)
