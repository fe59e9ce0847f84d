"""The files of an export on model servers of the KServe v2 protocol: MLServer and KServe's own."""

import asyncio
import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
import serving_server
import skimage.data
import tensorflow as tf

import regnet_tf
from export.client import ServingError, V2Client, VersionStatus
from export.client.command import main
from export.formats.onnx import write_onnx
from export.network import Network

ROOT = Path(__file__).parents[1]


def needs(package):
    """Skips a test, before its fixtures are made, unless a package is installed."""
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


def of_mlserver(test):
    """Marks a test that starts MLServer."""
    return pytest.mark.program(needs("mlserver")(test))


@pytest.fixture(scope="module")
def onnx_file(exported, tmp_path_factory):
    """The network of `exported` in ONNX."""
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    source = exported.source
    write_onnx(path, Network(source.model, is_classifier=True), source, "float32")
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Files of three photographs; the second is a PNG."""
    folder = tmp_path_factory.mktemp("photographs")
    pictures = {"a.jpg": skimage.data.chelsea(), "b.png": skimage.data.rocket()[:300]}
    for name, picture in {**pictures, "c.jpg": skimage.data.astronaut()}.items():
        encode = tf.io.encode_png if name.endswith("png") else tf.io.encode_jpeg
        (folder / name).write_bytes(encode(picture).numpy())
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def expected(exported, photographs):
    """The Keras model's probabilities of the photographs."""
    images = exported.source.preprocessing([path.read_bytes() for path in photographs])
    return np.asarray(exported.source.model(images, training=False))


@contextlib.contextmanager
def started(command, port, models, folder):
    """Runs a server; waits until its models are ready."""
    log = folder / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT)
    try:
        end = time.monotonic() + 1800
        for name in models:
            while not is_ready(name, port):
                assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
                time.sleep(0.3)
        yield port
    finally:
        process.terminate()
        process.wait(600)


def is_ready(name, port):
    with V2Client(name, "127.0.0.1", port, retries=0) as client:
        try:
            return client.status()[0].state == "AVAILABLE"
        except ServingError:
            return False


@pytest.fixture(scope="module")
def mlserver(exported, onnx_file, tmp_path_factory):
    """Port of MLServer with a SavedModel, a `.tflite` and a `.onnx` file, set up as documented."""
    from export import model_server

    example = re.search(r"\n    \{.*?\n    \}\n", model_server.__doc__, re.DOTALL)[0]
    folder, port = tmp_path_factory.mktemp("mlserver"), serving_server._free_port()
    files = {
        "saved_model": exported.saved_model,
        "tflite": exported.folder / "tflite" / "digits_float32.tflite",
        "onnx": onnx_file,
    }
    for name, path in files.items():
        settings = json.loads(example)
        settings["name"], settings["parameters"]["uri"] = name, str(path)
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps(settings))
    server = {"host": "127.0.0.1", "http_port": port, "grpc_port": serving_server._free_port()}
    server |= {"metrics_endpoint": None, "parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(server))
    command = [sys.executable, "-c", "from mlserver.cli import main; main()", "start", folder]
    with started(command, port, files, folder):
        yield port


@pytest.fixture(scope="module")
def kserve(onnx_file, tmp_path_factory):
    """Port of KServe with the `.onnx` file as "digits", which it runs without this project."""
    port = serving_server._free_port()
    command = [sys.executable, ROOT / "tests" / "kserve_images.py", onnx_file, "digits", str(port)]
    with started(command, port, ["digits"], tmp_path_factory.mktemp("kserve")):
        yield port


def check_printed(printed, photographs, expected, labels):
    """Checks what `regnet ask --top 2` printed."""
    lines = iter(printed.splitlines())
    for path, probabilities in zip(photographs, expected, strict=True):
        assert next(lines) == str(path)
        for index in np.argsort(-probabilities)[:2]:
            percent, label = next(lines).split(" %  ")
            assert float(percent) == pytest.approx(100 * probabilities[index], abs=0.02)
            assert label == labels[index]
    assert not list(lines)


@of_mlserver
@pytest.mark.parametrize("name", ["saved_model", "tflite", "onnx"])
def test_mlserver(mlserver, name, exported, photographs, expected, capsys):
    with V2Client(name, "127.0.0.1", mlserver, timeout=600.0) as client:
        predictions = client.predict(path.read_bytes() for path in photographs)
    for prediction, probabilities in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(prediction.probabilities, probabilities, atol=1e-4)
        best = np.argsort(-probabilities)[:5]
        assert prediction.classes == (*best,)
        assert prediction.labels == tuple(exported.source.labels[index] for index in best)
    options = ["--protocol", "v2", "--port", str(mlserver), "--model", name, "--timeout", "60"]
    assert main([*options, "--top", "2", *map(str, photographs)]) == 0
    check_printed(capsys.readouterr().out, photographs, expected, exported.source.labels)


@of_mlserver
def test_mlserver_tells_what_is_wrong(mlserver, photographs, capsys):
    photograph = photographs[0].read_bytes()
    with V2Client("onnx", "127.0.0.1", mlserver, timeout=600.0) as client:
        message = r"refuses the request: No whole image file: image \[1 2\] \(counted from 0\)"
        with pytest.raises(ServingError, match=message) as caught:
            client.predict([photograph, b"none", photograph[:-200], photograph])
        assert (caught.value.code, caught.value.images) == ("INVALID_ARGUMENT", (1, 2))
        assert client.status() == [VersionStatus(1, "AVAILABLE")]
    for name, options in (("nothing", {}), ("onnx", {"version": 7})):
        with V2Client(name, "127.0.0.1", mlserver, **options) as client:
            with pytest.raises(ServingError, match=f"has no model '{name}'") as caught:
                client.predict([photograph])
        assert caught.value.code == "NOT_FOUND"
    options = ["--protocol", "v2", "--port", str(mlserver), "--model", "tflite", "--timeout", "60"]
    options += ["--load", "1", "--concurrency", "2", "--batch-size", "2"]
    assert main([*options, *map(str, photographs)]) == 0
    assert "errors: 0, retries: 0" in capsys.readouterr().out


def infer(port, body):
    """Returns the answer of a model, or its error."""
    address = f"http://127.0.0.1:{port}/v2/models/onnx/infer"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        assert error.code == 400
        return json.loads(error.read())["error"]


@of_mlserver
def test_mlserver_takes_images(mlserver, exported):
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    images = {"name": "images", "datatype": "UINT8", "shape": [3, 32, 32, 3]}
    images["data"] = crops.ravel().tolist()
    body = {"inputs": [images], "outputs": [{"name": "probabilities"}]}
    (output,) = infer(mlserver, body)["outputs"]
    assert (output["name"], output["shape"]) == ("probabilities", [3, 10])
    normalized = exported.source.preprocessing.normalize(crops)
    expected = np.asarray(exported.source.model(normalized, training=False))
    np.testing.assert_allclose(np.reshape(output["data"], (3, 10)), expected, atol=1e-4)
    allowed = r"UINT8 of shape \[-1, 32, 32, 3\], with at least one image\. Received: "
    for changes, message in (
        ({"inputs": [images, images]}, "`image_bytes` or `images`. Received: .*'images', 'images'"),
        ({"inputs": [{**images, "name": "image"}]}, r"Received: \['image'\]"),
        ({"outputs": [{"name": "logits"}]}, "Unknown output 'logits'. Known: probabilities, cla"),
        ({"inputs": [{**images, "shape": [3, 32, 96]}]}, allowed + r"uint8 of shape \[3, 32, 96\]"),
        ({"inputs": [{**images, "datatype": "FP32"}]}, allowed + "float32"),
        ({"inputs": [{**images, "data": [], "shape": [0, 32, 32, 3]}]}, allowed),
        ({"inputs": [{**images, "data": [300]}]}, "out of bounds for uint8"),
        ({"inputs": [{**images, "shape": [2, 32, 32, 3]}]}, "cannot reshape"),
        ({"inputs": [{**images, "name": "image_bytes"}]}, "object"),
    ):
        assert re.search(message, infer(mlserver, {**body, **changes}))


@needs("kserve")
def test_kserve(kserve, onnx_file, exported, photographs, expected, capsys):
    """A server that takes images only: the client prepares them."""
    options = ["--protocol", "v2", "--port", str(kserve), "--model", "digits", "--timeout", "60"]
    assert main([*options, "--status"]) == 0
    assert capsys.readouterr().out == "the only version: AVAILABLE\n"
    options += ["--top", "2", *map(str, photographs)]
    assert main(options) == 2
    assert "--network FILE" in capsys.readouterr().err
    assert main([*options, "--network", str(onnx_file)]) == 0
    check_printed(capsys.readouterr().out, photographs, expected, exported.source.labels)
    broken = ROOT / "setup.cfg"
    assert main([*options, str(broken), "--network", str(onnx_file)]) == 2
    assert capsys.readouterr().err.startswith(f"regnet ask: error: {broken}: localhost:")


@needs("mlserver")
def test_segmentation_on_mlserver(tmp_path, photographs):
    from mlserver import ModelSettings, types

    keras.utils.set_random_seed(0)
    stages = regnet_tf.StageConfig(8, 1, 4), regnet_tf.StageConfig(16, 1, 8)
    config = regnet_tf.RegNetConfig(explicit_stages=stages, stem_width=8)
    preprocessing = regnet_tf.Preprocessing(image_size=32)
    trunk = regnet_tf.backbone(
        config, outputs=(2, 3), input_shape=(32, 32, 3), preprocessing=preprocessing
    )
    model = regnet_tf.segmentation_model(trunk, 4, width=8, class_names=list("abcd"))
    model.save(tmp_path / "net.keras")

    async def ask():
        from export.model_server import ServedNetwork

        parameters = {"uri": str(tmp_path / "net.keras")}
        settings = ModelSettings(name="net", implementation=ServedNetwork, parameters=parameters)
        network = ServedNetwork(settings)
        assert await network.load()
        content = photographs[0].read_bytes()
        files = types.RequestInput(name="image_bytes", datatype="BYTES", shape=[1], data=[content])
        return await network.metadata(), await network.predict(
            types.InferenceRequest(inputs=[files])
        )

    metadata, answer = asyncio.run(ask())
    assert [(one.name, one.shape) for one in metadata.outputs] == [
        ("probabilities", [-1, 32, 32, 4]),
        ("classes", [-1, 32, 32]),
    ]
    tensors = {one.name: np.reshape(one.data.root, one.shape) for one in answer.outputs}
    expected = np.asarray(model(preprocessing([photographs[0].read_bytes()]), training=False))
    np.testing.assert_allclose(tensors["probabilities"], expected, atol=1e-4)
    assert (tensors["classes"] == expected.argmax(-1)).mean() > 0.99
