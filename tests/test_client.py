"""The client of TensorFlow Serving over real sockets, against a stand-in and the real server."""

import contextlib
import gzip
import http.server
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import serving_server
import tensorflow as tf
from serving_server import Fault, ServingServer

from export.client import GrpcClient, RestClient, ServingError, VersionStatus, base
from export.client.command import main
from export.client.load import Load, send_load

CLASSES = 7
LABELS = ("ant", "bee", "Gürteltier", 'a "quoted" cat', "dog, or cat", "emu", "fox")


class Served(NamedTuple):
    """A model as a server finds it.

    Attributes:
        base: folder with `NAME/1/saved_model.pb`.
        name: of the model.
        labels: names of the classes, in their order.
        expected: gives the probabilities `(batch, classes)` of a list of image files (bytes).
    """

    base: Path
    name: str
    labels: list[str]
    expected: Callable


class TinyModel(tf.Module):
    """A linear classifier of 8 x 8 pixels with the signatures of an exported RegNet."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.kernel = tf.constant(rng.normal(0, 2, (8 * 8 * 3, CLASSES)), tf.float32)
        self.labels = tf.constant(LABELS)

    def logits(self, images):
        flat = tf.reshape(tf.cast(images, tf.float32) / 255 - 0.5, [-1, 8 * 8 * 3])
        return {"logits": flat @ self.kernel}

    def images(self, images):
        return {"probabilities": tf.nn.softmax(self.logits(images)["logits"])}

    def serve(self, image_bytes):
        numbers = tf.range(tf.size(image_bytes))
        images = tf.map_fn(_decode, (numbers, image_bytes), fn_output_signature=tf.uint8)
        probabilities = self.images(images)["probabilities"]
        classes = tf.math.top_k(probabilities, 5).indices
        labels = tf.gather(self.labels, classes)
        return {"probabilities": probabilities, "classes": classes, "labels": labels}

    def save(self, folder):
        image = tf.TensorSpec([None, 8, 8, 3], tf.uint8, name="images")
        content = tf.TensorSpec([None], tf.string, name="image_bytes")
        signatures = {
            "serving_default": tf.function(self.serve, input_signature=[content]),
            "images": tf.function(self.images, input_signature=[image]),
            "logits": tf.function(self.logits, input_signature=[image]),
        }
        tf.saved_model.save(self, str(folder), signatures)

    def expected(self, image_files):
        return self.serve(tf.constant(image_files))["probabilities"].numpy()


def _decode(numbered):
    number, content = numbered
    known = tf.reduce_any(tf.strings.substr(content, 0, 2) == tf.constant([b"\xff\xd8", b"\x89P"]))
    message = tf.strings.format("image {} is neither JPEG nor PNG", number)
    with tf.control_dependencies([tf.debugging.Assert(known, [message])]):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
    return tf.cast(tf.image.resize(image, (8, 8)), tf.uint8)


@pytest.fixture(scope="module")
def served_models(exported, two_versions, tmp_path_factory):
    """The models that are asked, as `Served`: one with odd labels, and an exported RegNet."""
    twice, models = two_versions
    base, model = tmp_path_factory.mktemp("models"), models[1]
    shutil.copytree(twice / "1", base / "tiny" / "1")

    def expected(image_files):
        images = exported.source.preprocessing(image_files)
        return exported.source.model(images, training=False).numpy()

    return {
        "tiny": Served(base, "tiny", list(LABELS), model.expected),
        "digits": Served(
            exported.folder / "serving", "digits", list(exported.source.labels), expected
        ),
    }


@pytest.fixture(params=["tiny", "digits"])
def served_model(request, served_models):
    return served_models[request.param]


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory):
    """Folder of the model "twice", whose version 1 is labelled stable; the versions' models."""
    folder = tmp_path_factory.mktemp("models") / "twice"
    models = {version: TinyModel(version) for version in (1, 2)}
    for version, model in models.items():
        model.save(folder / str(version))
    return folder, models


@pytest.fixture(scope="module")
def folders(served_models, two_versions):
    """Folders of the models by name."""
    models = {name: served.base / name for name, served in served_models.items()}
    return {**models, "twice": two_versions[0]}


@pytest.fixture(scope="module")
def stand_in(folders):
    with ServingServer(folders, {"twice": {"stable": 1}}) as server:
        yield server


@pytest.fixture(
    scope="module",
    params=[
        "stand-in",
        *(
            pytest.param(server, marks=pytest.mark.serving)
            for server in ("tensorflow_model_server", "docker")
        ),
    ],
)
def address(request, folders, tmp_path_factory):
    """Where a server of all models listens."""
    if request.param == "stand-in":
        yield request.getfixturevalue("stand_in").address
        return
    start, missing = {
        "tensorflow_model_server": (
            serving_server.model_server,
            serving_server.missing_model_server,
        ),
        "docker": (serving_server.docker_server, serving_server.missing_docker),
    }[request.param]
    if missing():
        pytest.skip(missing())
    with start(folders, {"twice": {"stable": 1}}, tmp_path_factory.mktemp("serving")) as started:
        yield started


@pytest.fixture(params=["REST", "gRPC"])
def api(request):
    if request.param == "gRPC":
        pytest.importorskip("grpc")
        pytest.importorskip("tensorflow_serving")
    return request.param


@pytest.fixture
def connect(api):
    """Makes clients: `connect(address, model, **options)`."""
    with contextlib.ExitStack() as stack:

        def connected(address, model, **options):
            kind, port = RestClient, address.rest_port
            if api == "gRPC":
                kind, port = GrpcClient, address.grpc_port
            return stack.enter_context(kind(model, address.host, port, **options))

        yield connected


@pytest.fixture
def command(api):
    """Runs the command: `command(address, model, *arguments)`."""

    def run(address, model, *arguments):
        over = ["--port", address.rest_port]
        if api == "gRPC":
            over = ["--protocol", "grpc", "--port", address.grpc_port]
        options = ["--server", address.host, *over, "--model", model, *arguments]
        return main([str(option) for option in options])

    return run


@pytest.fixture
def faulty(stand_in):
    """The stand-in, to be made to fail; as new again afterwards."""
    stand_in.forget()
    yield stand_in
    stand_in.forget()


@pytest.fixture
def pauses(monkeypatch):
    """Seconds that the client waited before it tried again; nothing waits."""
    waited = []
    monkeypatch.setattr(base.time, "sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Files of three images; the second is a PNG."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png", "c.jpg"):
        image = rng.integers(0, 256, (40, 30, 3), dtype="uint8")
        encode = tf.io.encode_png if name.endswith("png") else tf.io.encode_jpeg
        (folder / name).write_bytes(encode(image).numpy())
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def contents(photographs):
    return [path.read_bytes() for path in photographs]


@pytest.fixture
def no_photograph(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no photograph")
    return path


def one_line(capsys):
    """The only line on stderr."""
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1, printed
    return printed.removeprefix("regnet ask: error: ").rstrip("\n")


# Predictions.


def test_predictions(address, connect, served_model, contents):
    predictions = connect(address, served_model.name).predict(contents)
    expected = served_model.expected(contents)
    for prediction, probabilities in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(prediction.probabilities, probabilities, rtol=1e-4, atol=1e-6)
        best = list(np.argsort(-np.array(prediction.probabilities))[:5])
        assert list(prediction.classes) == best
        assert list(prediction.labels) == [served_model.labels[index] for index in best]
        assert prediction.best[0] == (prediction.labels[0], max(prediction.probabilities))


def test_one_client_asks_often(address, connect, served_model, contents):
    client = connect(address, served_model.name)
    with pytest.raises(ServingError):
        client.predict([b"no photograph"])
    one_by_one = [client.predict([content])[0] for content in contents]
    together = client.predict(contents)
    for one, other in zip(one_by_one, together, strict=True):
        assert one.classes == other.classes
    assert client.predict([]) == [] and client.retried == 0


def test_versions_and_labels(address, connect, two_versions, contents):
    _, models = two_versions
    for options, version in (({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1)):
        predictions = connect(address, "twice", **options).predict(contents)
        np.testing.assert_allclose(
            [prediction.probabilities for prediction in predictions],
            models[version].expected(contents),
            rtol=1e-4,
            atol=1e-6,
        )
    with pytest.raises(ValueError, match="`version` or a `label`"):
        connect(address, "twice", version=1, label="stable")


def test_status(address, connect):
    both = [VersionStatus(1, "AVAILABLE"), VersionStatus(2, "AVAILABLE")]
    status = connect(address, "twice").status()
    assert sorted(status, key=lambda each: each.version) == both
    assert connect(address, "twice", version=2).status() == both[1:]


def test_what_is_not_there(address, connect, contents):
    for name, options, code, message in (
        ("nothing", {}, "NOT_FOUND", "has no model 'nothing': .*nothing"),
        ("a ü", {}, "NOT_FOUND", "has no model 'a ü': .*a ü"),
        ("twice", {"version": 7}, "NOT_FOUND", "has no model 'twice', version 7: .*7"),
        ("twice", {"label": "new"}, "INVALID_ARGUMENT", "refuses the request: .*label: new"),
    ):
        with pytest.raises(ServingError, match=message) as caught:
            connect(address, name, **options).predict(contents)
        assert (caught.value.code, caught.value.images) == (code, ())
    with pytest.raises(ServingError, match="versions of model nothing"):
        connect(address, "nothing").status()


def test_bad_image(address, connect, served_model, contents):
    with pytest.raises(ServingError, match=r"refuses the request: .*image \[?2\b") as caught:
        connect(address, served_model.name).predict([*contents[:2], b"no photograph", contents[2]])
    assert (caught.value.code, caught.value.images) == ("INVALID_ARGUMENT", (2,))
    assert "\n" not in str(caught.value) and "{{" not in str(caught.value)


def test_bad_images(address, connect, contents):
    photograph, *_ = contents
    batch = [photograph, b"no photograph", photograph[:-200], photograph]
    message = r"No whole image file: image \[1 2\] \(counted from 0\) of a batch of 4"
    with pytest.raises(ServingError, match=message) as caught:
        connect(address, "digits").predict(batch)
    assert caught.value.images == (1, 2)


def test_the_server_checks_signatures(address, two_versions):
    """The client never gets them wrong: that the stand-in is as strict as the real server."""
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    def ask(signature, inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "twice"
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        with grpc.insecure_channel(f"{address.host}:{address.grpc_port}") as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return service.Predict(request, timeout=30)

    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype="uint8")
    answer = ask("logits", {"images": images})
    logits = tf.make_ndarray(answer.outputs["logits"])
    expected = two_versions[1][2].logits(images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert (answer.model_spec.version.value, answer.model_spec.name) == (2, "twice")
    for signature, inputs, code in (
        ("logitz", {"images": images}, "FAILED_PRECONDITION"),
        ("logits", {"images": images.astype("float32")}, "INVALID_ARGUMENT"),
        ("logits", {"pictures": images}, "INVALID_ARGUMENT"),
        ("logits", {"images": images, "pictures": images}, "INVALID_ARGUMENT"),
        ("", {"image_bytes": images}, "INVALID_ARGUMENT"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask(signature, inputs)
        assert caught.value.code().name == code


# Failures that pass, and others.


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
def test_tries_again(faulty, connect, contents, pauses, code):
    faulty.inject(*[Fault(code)] * 3)
    client = connect(faulty.address, "tiny")
    assert len(client.predict(contents)) == 3
    assert (faulty.requests, client.retried) == (4, 3)
    for pause, longest in zip(pauses, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= pause <= longest


def test_gives_up(faulty, connect, contents, pauses):
    faulty.inject(*[Fault("UNAVAILABLE")] * 3)
    with pytest.raises(ServingError, match=r"is not available: injected \(3 tries\)") as caught:
        connect(faulty.address, "tiny", retries=2).predict(contents)
    assert (caught.value.code, faulty.requests) == ("UNAVAILABLE", 3)


def test_does_not_ask_again_what_is_refused(faulty, connect, no_photograph, pauses):
    faulty.inject(Fault("INVALID_ARGUMENT"), Fault("INTERNAL"))
    client = connect(faulty.address, "tiny")
    for message in ("injected", "injected", "image 0"):
        with pytest.raises(ServingError, match=message):
            client.predict([no_photograph.read_bytes()])
    assert (faulty.requests, client.retried, pauses) == (3, 0, [])


def test_a_connection_that_ends(faulty, contents, pauses):
    faulty.inject(Fault("RESET"), Fault("RESET"))
    with RestClient("tiny", faulty.address.host, faulty.address.rest_port) as client:
        assert len(client.predict(contents)) == 3
        assert client.retried == 2
        faulty.inject(Fault("RESET"))
        client.retries = 0
        with pytest.raises(ServingError, match="is not available: Remote end closed"):
            client.predict(contents)


def test_time_out(faulty, connect, contents, pauses):
    client = connect(faulty.address, "tiny", timeout=0.2, retries=1)
    faulty.inject(Fault(seconds=30), Fault(seconds=30))
    with pytest.raises(ServingError, match=r"does not answer in time: .* \(2 tries\)") as caught:
        client.predict(contents)
    assert (caught.value.code, client.retried) == ("DEADLINE_EXCEEDED", 1)


def test_an_answer_after_a_time_out(faulty, connect, contents, pauses):
    connect(faulty.address, "tiny").predict(contents)  # the next answer is quick
    client = connect(faulty.address, "tiny", timeout=1.5)
    faulty.inject(Fault(seconds=30))
    assert len(client.predict(contents)) == 3
    assert client.retried == 1


def test_no_server(connect, contents, pauses):
    port = serving_server._free_port()
    client = connect(serving_server.Address("127.0.0.1", port, port), "tiny")
    message = rf"127.0.0.1:{port} is not available: .*Connection refused.* \(4 tries\)"
    with pytest.raises(ServingError, match=message):
        client.predict(contents)
    with pytest.raises(ServingError, match=message):
        client.status()
    client.deadline = time.monotonic()
    with pytest.raises(ServingError, match=r"Connection refused[^(]*$"):
        client.status()
    assert client.retried == len(pauses) == 6


@contextlib.contextmanager
def http_server(send):
    """Address of a server that answers each request by `send(wfile)`, after its content."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with contextlib.suppress(OSError):  # the client has gone
                send(self.wfile)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield serving_server.Address(*server.server_address, None)
        server.shutdown()
        thread.join()


def answer(body, status=200):
    body = body if isinstance(body, bytes) else body.encode()
    return b"HTTP/1.0 %d OK\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


def sending(content):
    """For `http_server`: sends the same bytes to each request."""
    return lambda file: file.write(content)


def row(probabilities="[0.5, 0.25]", classes="[0, 1]", labels='["a", "b"]'):
    return f'{{"probabilities": {probabilities}, "classes": {classes}, "labels": {labels}}}'


def predictions(*rows):
    return f'{{"predictions": [{", ".join(rows)}]}}'


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, "<html>", "has no model 'tiny': an answer that is no JSON"),
        (200, "<html>", "answers UNKNOWN: HTTP 200, an answer that is no JSON"),
        (200, "[1]", "answers UNKNOWN: HTTP 200, an answer that is no JSON"),
        (302, "", "answers UNKNOWN: HTTP 302, an answer that is no JSON"),
        (200, "[" * 200_000, "answers UNKNOWN: HTTP 200, an answer that is no JSON"),
        (200, gzip.compress(predictions(row()).encode(), mtime=0), "an answer that is no JSON"),
        (403, '{"error": "no"}', "answers UNKNOWN: HTTP 403, no"),
        (500, '{"detail": 1}', "answers UNKNOWN: HTTP 500, no reason given"),
        (400, '{"error": "image \\u001b[2J\\u202e 7"}', r"image \\x1b\[2J\\u202e 7$"),
        (400, '{"error": "image 1%s"}' % ("0" * 5000), "image 10000"),
        (503, '{"error": "%s"}' % ("{{" * 500_000), r"is not available: \{\{"),
        (200, '{"predictions": [[0.5]]}', "answers UNKNOWN: the answer is not the probabilities"),
        (200, '{"predictions": [{"probabilities": 1}]}', "the answer is not the probabilities"),
        (200, '{"predictions": 7}', "the answer is not the probabilities"),
        (200, predictions(), "it holds 0 predictions for 1 images"),
        (200, predictions(row(), row()), "it holds 2 predictions for 1 images"),
        (200, predictions(row("[2.0, 0.25]")), "it holds 2.0"),
        (200, predictions(row("[NaN, 0.25]")), "it holds nan"),
        (200, predictions(row("[0.5, -Infinity]")), "it holds -inf"),
        (200, predictions(row(f"[1{'0' * 400}, 0.25]")), r"it holds 10+\.\.\."),
        (200, predictions(row('["0.5", 0.25]')), "it holds '0.5'"),
        (200, predictions(row("[true, 0.25]")), "it holds True"),
        (200, predictions(row(classes="[-1, 0]")), "it holds -1"),
        (200, predictions(row(classes="[0, 2]")), "it holds 2"),
        (200, predictions(row(classes='["0", 1]')), "it holds '0'"),
        (200, predictions(row(classes="[0]")), "it holds 1 classes and 2 labels of 2"),
        (200, predictions(row("[]", "[]", "[]")), "it holds 0 classes and 0 labels of 0"),
        (200, predictions(row(labels='["a", null]')), "it holds None"),
        (200, predictions(row("[" * 900 + "]" * 900)), "the answer is not the probabilities"),
    ],
)
def test_another_kind_of_server(status, body, message):
    with http_server(sending(answer(body, status))) as address:
        with RestClient("tiny", address.host, address.rest_port, retries=0) as client:
            with pytest.raises(ServingError, match=message) as caught:
                client.predict([b""])
    assert len(str(caught.value)) < 700 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        *('{"model_version_status": [7]}', '{"model_version_status": [{"version": "1"}]}'),
        '{"model_version_status": [{"version": "x", "state": "END", "status": {}}]}',
        '{"model_version_status": [{"version": 1, "state": "\\u001b[2J", "status":'
        ' {"error_message": ""}}]}',
    ],
)
def test_another_kind_of_status(body):
    with http_server(sending(answer(body))) as address:
        with RestClient("tiny", address.host, address.rest_port) as client:
            with pytest.raises(
                ServingError, match="the answer is not a list of versions"
            ) as caught:
                client.status()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_a_server_that_drips(begin):
    """The time-out is one of the whole answer, of its headers and of its content."""

    def drip(file):
        file.write(begin)
        for _ in range(2400):  # two minutes
            file.write(b"H")
            time.sleep(0.05)

    with http_server(drip) as address:
        with RestClient("tiny", address.host, address.rest_port, timeout=0.3, retries=0) as client:
            start = time.monotonic()
            with pytest.raises(ServingError, match=r"no whole answer within 0\.3 s"):
                client.predict([b""])
            assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        ("Content-Length: 1000000000000\r\n\r\n", "of more than 3,145,728 bytes"),
        ("\r\n", "of more than 3,145,728 bytes"),
        ("Transfer-Encoding: chunked\r\n\r\n-1\r\n", "of more than 3,145,728 bytes"),
        ("Transfer-Encoding: chunked\r\n\r\n-5\r\n", "no HTTP"),
        ("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", "of more than 3,145,728"),
        ("Content-Length: 1000\r\n\r\n", "is not available: IncompleteRead"),
        ("X: 1\r\n" * 200, "no HTTP"),
    ],
)
def test_an_answer_without_end(begin, message):
    def send(file):
        file.write(f"HTTP/1.1 200 OK\r\n{begin}".encode())
        for _ in range(0 if "1000\r" in begin else 1000):
            file.write(bytes(1 << 16))

    with http_server(send) as address:
        with RestClient("tiny", address.host, address.rest_port, retries=0) as client:
            with pytest.raises(ServingError, match=message):
                client.predict([b""])


OUTPUTS = {
    "probabilities": [[0.5, 0.25], [0.25, 0.5]],
    "classes": [[0, 1], [1, 0]],
    "labels": [["a", "b"], ["b", "a"]],
}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"probabilities": [[2.0, 0.5], [0.5, 0.5]]}, "it holds 2.0"),
        ({"classes": [[0, 1], [1, 2]]}, "it holds 2"),
        ({"classes": [[0.0, 1.0], [1.0, 0.0]]}, "it holds 0.0"),
        ({"labels": [[b"a", b"\xff"], [b"b", b"a"]]}, "codec can't decode"),
        ({"labels": [[1, 2], [3, 4]]}, "has no attribute 'decode'"),
        ({"probabilities": [[0.5, 0.5]]}, r"an output has the shape \[1, 2\] for 2 images"),
        ({"probabilities": None}, r"an output has the shape \[\] for 2 images"),
        ({"probabilities": (2, 1 << 40)}, r"an output has the shape \[2, 1099511627776\]"),
    ],
)
def test_another_kind_of_server_over_grpc(outputs, message, monkeypatch):
    pytest.importorskip("grpc")
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    response = predict_pb2.PredictResponse()
    for name, value in {**OUTPUTS, **outputs}.items():
        if isinstance(value, tuple):  # one number, said to be many
            proto = tf.make_tensor_proto(0.5)
            for side in value:
                proto.tensor_shape.dim.add(size=side)
            response.outputs[name].CopyFrom(proto)
        elif value is not None:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    with GrpcClient("tiny", "127.0.0.1", 1) as client:
        monkeypatch.setattr(client, "_ask", lambda *_: response)
        with pytest.raises(ServingError, match=f"the answer is not the probabilities.*{message}"):
            client.predict([b"", b""])


# The command.


def test_command(address, command, served_model, photographs, contents, capsys):
    arguments = ["--top", 2, "--batch-size", 2, *photographs]
    assert command(address, served_model.name, *arguments) == 0
    lines = iter(capsys.readouterr().out.splitlines())
    for path, probabilities in zip(photographs, served_model.expected(contents), strict=True):
        assert next(lines) == str(path)
        for index in np.argsort(-probabilities)[:2]:
            percent, label = next(lines).split(" %  ")
            assert float(percent) == pytest.approx(100 * probabilities[index], abs=0.02)
            assert label == served_model.labels[index]
    assert not list(lines)


def test_command_draws_each_photograph(stand_in, tmp_path, capsys):
    """Photographs of the same name get pictures of their own, and each picture has its pixels."""
    colors, files = ((250, 20, 20), (20, 20, 250)), []
    for folder, color in zip(("one", "two"), colors, strict=True):
        files.append(tmp_path / folder / "same.png")
        files[-1].parent.mkdir()
        plain = np.full((40, 30, 3), color, "uint8")
        files[-1].write_bytes(tf.io.encode_png(plain).numpy())
    out = tmp_path / "new" / "pictures"
    where = ["--port", str(stand_in.address.rest_port), "--model", "tiny", "--batch-size", "1"]
    assert main([*where, "--top", "2", "--out", str(out), *map(str, files)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[::4] == [str(path) for path in files]
    assert printed[3::4] == [f"  {out}/same.png", f"  {out}/same_2.png"]
    for name, color in zip(("same.png", "same_2.png"), colors, strict=True):
        picture = tf.io.decode_png((out / name).read_bytes(), channels=3).numpy()
        assert (picture == color).all(-1).sum() > 10_000


def test_command_needs_matplotlib_to_draw(monkeypatch, photographs, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["--model", "tiny", "--out", str(tmp_path), str(photographs[0])]) == 2
    assert one_line(capsys).endswith("pip install 'regnet_tf[pictures]'")


def test_command_prints_one_line_for_each_class(tmp_path, capsys):
    """Labels and names of files may hold anything."""
    photograph = tmp_path / "a\nb.jpg"
    photograph.write_bytes(b"")
    body = predictions(row(labels='["a\\nb", "\\u001b[31mGürteltier"]'))
    with http_server(sending(answer(body))) as address:
        where = ["--server", address.host, "--port", str(address.rest_port)]
        assert main([*where, "--model", "tiny", str(photograph)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"{tmp_path}/a\\nb.jpg",
        *("   50.00 %  a\\nb", "   25.00 %  \\x1b[31mGürteltier"),
    ]


def test_command_names_the_bad_file(
    address, command, served_model, photographs, no_photograph, capsys
):
    files = [*photographs, no_photograph]
    assert command(address, served_model.name, *files, "--batch-size", 2) == 2
    assert one_line(capsys).startswith(f"{no_photograph}: {address.host}:")


def test_command_names_all_bad_files(address, command, photographs, no_photograph, capsys):
    files = [no_photograph, photographs[0], no_photograph, *photographs]
    assert command(address, "digits", photographs[1], *files) == 2
    assert one_line(capsys).startswith(f"{no_photograph}, {no_photograph}: {address.host}:")


def test_command_status(address, command, capsys):
    assert command(address, "twice", "--status") == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == ["version 1: AVAILABLE", "version 2: AVAILABLE"]
    assert command(address, "twice", "--status", "--version", 2) == 0
    assert capsys.readouterr().out == "version 2: AVAILABLE\n"
    assert command(address, "nothing", "--status") == 2
    assert "has no model 'nothing'" in one_line(capsys)


def test_command_status_of_a_server_that_starts(faulty, command, capsys):
    faulty.set_state("twice", 2, "LOADING")
    assert command(faulty.address, "twice", "--status") == 0
    assert capsys.readouterr().out == "version 1: AVAILABLE\nversion 2: LOADING\n"
    faulty.set_state("twice", 1, "START")
    assert command(faulty.address, "twice", "--status") == 1


def test_errors_are_one_line(tmp_path, photographs, capsys):
    port = serving_server._free_port()
    for arguments, message in (
        ([], "No files were given."),
        ([tmp_path / "none.jpg"], f"There is no file {tmp_path / 'none.jpg'}."),
        ([tmp_path], f"There is no file {tmp_path}."),
        (["--status", "--label", "stable"], "no status of a label"),
        (["--status", "--out", tmp_path], "with neither --status nor --load"),
        ([*photographs, "--load", 1, "--out", tmp_path], "with neither --status nor --load"),
        ([*photographs, "--retries", 0], f"localhost:{port} is not available: Connection refused"),
        (["--status", "--retries", 1], "Connection refused (2 tries)"),
        ([*photographs, "--load", 1, "--retries", 0], "Connection refused"),
    ):
        arguments = ["--model", "tiny", "--port", port, *arguments]
        assert main([str(argument) for argument in arguments]) == 2
        assert message in one_line(capsys)


def test_arguments_out_of_range(capsys):
    for option, value in (
        ("--batch-size", "0"),
        ("--concurrency", "two"),
        ("--retries", "-1"),
        ("--port", "65536"),
        ("--timeout", "0"),
        ("--load", "inf"),
        ("--load", "soon"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["--model", "tiny", f"{option}={value}"])
        assert caught.value.code == 2
        assert f"argument {option}: must be" in capsys.readouterr().err


def test_grpc_is_not_installed(monkeypatch, photographs, capsys):
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert main(["--model", "tiny", "--protocol", "grpc", str(photographs[0])]) == 2
    assert one_line(capsys) == "This needs the package `grpc`: pip install 'regnet_tf[export]'"


@pytest.mark.program
def test_grpc_without_messages_of_tensorflow(photographs):
    port = serving_server._free_port()
    arguments = ["--model", "tiny", "--protocol", "grpc", "--port", str(port), "--retries", "0"]
    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-m", "export.client", *arguments, str(photographs[0])],
        cwd=Path(__file__).parent.parent,
        env=quiet,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"regnet ask: error: localhost:{port} is not")
    assert done.stderr.count("\n") == 1


def test_rest_needs_no_tensorflow(stand_in, photographs, run_python):
    program = f"""
import sys
from export.client.command import main
assert main(["--model", "tiny", "--port", "{stand_in.address.rest_port}", *sys.argv[1:]]) == 0
assert not {{"tensorflow", "numpy", "keras", "matplotlib"}} & set(sys.modules)
"""
    assert str(photographs[0]) in run_python("-c", program, photographs[0])
    assert "--load" in run_python("-m", "export.client", "--help")


# The load.


def test_load(faulty, command, photographs, capsys):
    arguments = ["--load", 0.5, "--concurrency", 3, "--batch-size", 2, *photographs]
    assert command(faulty.address, "tiny", *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{faulty.requests - 1} requests of 2 in ")
    assert "requests/s" in lines[1] and "images/s" in lines[1]
    assert [part.split()[-2] for part in lines[2].split(",")] == ["p50", "p90", "p95", "p99", "max"]
    assert lines[3:] == ["errors: 0, retries: 0"]
    assert 1 <= faulty.most_in_flight <= 3


def test_load_with_failures(faulty, command, photographs, pauses, capsys):
    faulty.inject(Fault(), Fault("UNAVAILABLE"), Fault("INVALID_ARGUMENT"))
    arguments = ["--load", 0.7, "--concurrency", 1, *photographs]
    assert command(faulty.address, "tiny", *arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "errors: 1, retries: 1"
    assert lines[4].startswith("  1 x 127.0.0.1:") and "injected" in lines[4]


@pytest.mark.program
@pytest.mark.parametrize("words", [["export.client"], ["regnet_command", "ask"]])
def test_load_with_failures_in_a_process(words, tmp_path):
    """A program's own classes would be others under the name `__main__`."""
    contents = [
        answer(predictions(row())),
        answer(predictions(row("[2, 2]"))),
        answer('{"error": "no"}', 400),
        answer("[" * 200_000),
    ]
    contents = itertools.chain(contents, itertools.repeat(contents[0]))
    photograph = tmp_path / "a.jpg"
    photograph.write_bytes(b"")
    with http_server(lambda file: file.write(next(contents))) as address:
        arguments = ["--server", address.host, "--port", address.rest_port, "--model", "tiny"]
        arguments += ["--load", 1, "--concurrency", 1, "--batch-size", 1, photograph]
        done = subprocess.run(
            [sys.executable, "-m", *words, *map(str, arguments)],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=1800,
        )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, len(lines)) == (1, "", 7)
    assert lines[0].endswith(" s") and " requests of 1 in " in lines[0]
    assert lines[3] == "errors: 3, retries: 0"
    assert all(line.startswith("  1 x 127.0.0.1:") for line in lines[4:])
    assert "it holds 2" in lines[4] and "request: no" in lines[5] and "no JSON" in lines[6]


def test_load_of_a_server_that_hangs(faulty, connect, contents):
    connect(faulty.address, "tiny").predict(contents)
    faulty.inject(Fault(), *[Fault(seconds=30)] * 8)

    def client():
        return connect(faulty.address, "tiny", timeout=1.5, retries=100)

    load = send_load(client, contents, seconds=0.5, concurrency=4, batch_size=1)
    assert (load.errors, load.retries, load.latencies) == (4, 0, ())
    assert "p50 nan" in "\n".join(load.lines())


def test_what_a_load_tells():
    latencies = tuple(number / 1000 for number in range(1, 201))
    load = Load(2.0, 8, latencies, 3, {"no": 2, "never": 1})
    assert [load.percentile(percent) for percent in (50, 99, 100)] == [0.1, 0.198, 0.2]
    assert load.errors == 3
    assert load.lines() == [
        "200 requests of 8 in 2.0 s",
        "100.0 requests/s, 800.0 images/s",
        "latency in ms: p50 100.0, p90 180.0, p95 190.0, p99 198.0, max 200.0",
        "errors: 3, retries: 3",
        "  2 x no",
        "  1 x never",
    ]
    assert Load(1.0, 8, (0.1,), 0, {}).percentile(50) == 0.1
    many = Load(1.0, 8, (), 0, {f"no {number}": 1 for number in range(13)}).lines()
    assert many[-2:] == ["  1 x no 9", "  3 x other messages"]
