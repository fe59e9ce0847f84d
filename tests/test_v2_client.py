"""The client of the KServe v2 protocol, against a server that answers as it is told."""

import base64
import http.server
import json
import threading

import numpy as np
import pytest

from export.client import ServingError, V2Client, VersionStatus, base
from export.client.command import main

LABELS = ["ant", "bee", "Gürteltier", 'a "quoted" cat', "dog, or cat", "emu"]
FILES = {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}
IMAGES = {"name": "images", "datatype": "UINT8", "shape": [-1, 2, 2, 3]}
OUTPUTS = [{"name": name} for name in ("probabilities", "classes", "labels")]


def tensor(name, rows):
    """An output of an answer, as a JSON object."""
    return {
        "name": name,
        "shape": [len(rows), len(rows[0])],
        "data": [value for row in rows for value in row],
    }


def outputs(count=1, **changes):
    """An answer about `count` images, with some of its tensors changed."""
    tensors = {
        "probabilities": tensor("probabilities", [[0.25, 0.5, 0.125]] * count),
        "classes": tensor("classes", [[1, 0]] * count),
        "labels": tensor("labels", [["bee", "ant"]] * count),
    }
    return {"outputs": [{**one, **changes.get(name, {})} for name, one in tensors.items()]}


class Server:
    """A server of the protocol that answers as it is told; a context that ends it.

    Attributes:
        answers: lists of `(status, body)` by "METHOD path"; the last one stays.
        requests: bodies of the requests that asked for predictions.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, inputs=(FILES,), outputs_=OUTPUTS, versions=()):
        metadata = {"inputs": [*inputs], "outputs": [*outputs_], "versions": [*versions]}
        self.answers = {
            "GET /v2/models/net/ready": [(200, "")],
            "GET /v2/models/net": [(200, metadata)],
            "POST /v2/models/net/infer": [(200, outputs())],
        }
        self.requests = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port = self._server.server_address[1]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, **options):
        return V2Client("net", "127.0.0.1", self.port, **{"retries": 0, **options})

    def _handler(server):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if body:
                    server.requests.append(json.loads(body))
                left = server.answers.get(f"{self.command} {self.path}", [(404, {"error": "no"})])
                status, answer = left.pop(0) if len(left) > 1 else left[0]
                content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        return Handler


class Network2x2:
    """What the client needs of a `Classifier`, for images of 2 x 2 pixels."""

    labels = LABELS

    def crops(self, files):
        if b"" in files:
            raise ValueError(f"No whole image file: image [{files.index(b'')}]")
        return np.stack([np.arange(12, dtype="uint8").reshape(2, 2, 3) + len(one) for one in files])


@pytest.fixture
def pauses(monkeypatch):
    """Seconds that the client waited before it tried again; nothing waits."""
    waited = []
    monkeypatch.setattr(base.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("shape", [[-1], [-1, 1]])
def test_files_are_sent(shape):
    with Server([IMAGES, {**FILES, "shape": shape}]) as server, server.client() as client:
        server.answers["POST /v2/models/net/infer"] = [(200, outputs(2))]
        one, other = client.predict([b"\xff\xd8 one", b"two"])
    assert one == other
    assert one.probabilities == (0.25, 0.5, 0.125)
    assert one.best == [("bee", 0.5), ("ant", 0.25)]
    (request,) = server.requests
    assert request["outputs"] == OUTPUTS
    (sent,) = request["inputs"]
    assert (sent["name"], sent["datatype"]) == ("image_bytes", "BYTES")
    assert sent["shape"] == [2, *shape[1:]]
    assert sent["parameters"] == {"content_type": "base64"}
    assert [base64.b64decode(one) for one in sent["data"]] == [b"\xff\xd8 one", b"two"]


def test_images_are_sent_and_classes_named():
    """To a server that knows nothing of files and names."""
    probabilities = [[0.25, 0.5, 0.1, 0.0625, 0.03125, 0.05]]
    names = [{"name": "logits"}, {"name": "probabilities"}]
    with Server([IMAGES], names) as server, server.client(network=Network2x2()) as client:
        answer = {"outputs": [tensor("probabilities", probabilities)]}
        server.answers["POST /v2/models/net/infer"] = [(200, answer)]
        (prediction,) = client.predict([b"four"])
        assert prediction.classes == (1, 0, 2, 3, 5)
        assert prediction.labels == tuple(LABELS[place] for place in (1, 0, 2, 3, 5))
        with pytest.raises(ServingError, match=r"No whole image file: image \[1\]") as caught:
            client.predict([b"four", b""])
    assert (caught.value.code, caught.value.images) == ("INVALID_ARGUMENT", (1,))
    (request,) = server.requests
    assert request["outputs"] == [{"name": "probabilities"}]
    (sent,) = request["inputs"]
    assert (sent["name"], sent["datatype"], sent["shape"]) == ("images", "UINT8", [1, 2, 2, 3])
    assert sent["data"] == [*range(4, 16)]


@pytest.mark.parametrize(
    ("inputs", "names", "message"),
    [
        ([IMAGES], OUTPUTS, "cannot be asked: it takes prepared images or names no classes: --net"),
        ([FILES], OUTPUTS[:1], "cannot be asked: it takes prepared images or names no classes"),
        (
            [{**IMAGES, "datatype": "FP32"}],
            OUTPUTS,
            r"cannot be asked: none of its inputs takes .*: \[\{'name'",
        ),
        ([], OUTPUTS, r"cannot be asked: none of its inputs takes .*: \[\]"),
        ([{**IMAGES, "datatype": "\x1b[2J" * 500}], OUTPUTS, "cannot be asked: none of its inputs"),
        ([7], OUTPUTS, "the answer is not the metadata of a model"),
        ([FILES], [{}], "the answer is not the metadata of a model: 'name'"),
    ],
)
def test_a_model_that_cannot_be_asked(inputs, names, message):
    with Server(inputs, names) as server, server.client() as client:
        server.answers["POST /v2/models/net/infer"] = [
            (200, {"outputs": [tensor("probabilities", [[0.5, 0.25]])]})
        ]
        with pytest.raises(ServingError, match=message) as caught:
            client.predict([b"a"])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "<html>", "answers UNKNOWN: HTTP 200, an answer that is no JSON"),
        (200, {"outputs": 7}, "the answer is not the probabilities"),
        (200, {"outputs": []}, "the answer is not the probabilities, .*: 'probabilities'"),
        (200, outputs(2), r"an output has the shape \[2, 3\] for 1 images"),
        (200, outputs(probabilities={"shape": [1, 1, 3]}), r"has the shape \[1, 1, 3\]"),
        (200, outputs(probabilities={"shape": [1, 2]}), r"shape \[1, 2\] and 3 values"),
        (200, outputs(probabilities={"shape": [1, 1e30]}), r"shape \[1, 1e\+30\] and 3 values"),
        (200, outputs(probabilities={"shape": [1, 0], "data": []}), "it holds 1"),
        (200, outputs(probabilities={"data": [0.5, 2.0, 0.1]}), "it holds 2.0"),
        (200, outputs(probabilities={"data": [0.5, None, 0.1]}), "it holds None"),
        (200, outputs(probabilities={"data": {"a": 1}}), "the answer is not the probabilities"),
        (200, outputs(classes={"data": [1, 3]}), "it holds 3"),
        (200, outputs(classes={"data": [1.0, 0.0]}), "it holds 1.0"),
        (200, outputs(labels={"data": [1, "ant"]}), "it holds 1"),
        (200, outputs(labels={"shape": [1, 1], "data": ["a"]}), "2 classes and 1 labels of 3"),
        (400, {"error": "bad\nnews"}, "refuses the request: bad"),
        (404, {"error": "gone"}, "has no model 'net': gone"),
        (503, {"error": "busy"}, "is not available: busy"),
        (422, {"detail": []}, "answers UNKNOWN: HTTP 422, no reason given"),
    ],
)
def test_wrong_answers(status, body, message):
    with Server() as server, server.client() as client:
        server.answers["POST /v2/models/net/infer"] = [(status, body)]
        with pytest.raises(ServingError, match=message) as caught:
            client.predict([b"a"])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 700


def test_nested_values():
    """The protocol allows rows for the values of a tensor."""
    nested = outputs(2, probabilities={"data": [[0.25, 0.5, 0.125]] * 2})
    with Server() as server, server.client() as client:
        server.answers["POST /v2/models/net/infer"] = [(200, nested)]
        assert [one.classes for one in client.predict([b"a", b"b"])] == [(1, 0)] * 2


def test_too_long_an_answer():
    with Server() as server, server.client() as client:
        server.answers["POST /v2/models/net/infer"] = [(200, "[" * (4 << 20))]
        with pytest.raises(ServingError, match="an answer of more than 3,145,728 bytes"):
            client.predict([b"a"])


@pytest.mark.parametrize("status", [400, 503])
def test_a_model_that_is_loaded_later(status, pauses):
    with Server() as server, server.client(retries=3) as client:
        server.answers["GET /v2/models/net/ready"] = [(status, "")] * 2 + [(200, "")]
        assert len(client.predict([b"a"])) == 1
        assert (client.retried, len(pauses)) == (2, 2)
        server.answers["POST /v2/models/net/infer"] = [(503, ""), (200, outputs())]
        assert len(client.predict([b"a"])) == 1
        assert client.retried == 3
        server.answers["GET /v2/models/net/ready"] = [(status, "")]
        assert client.status() == [VersionStatus(None, "UNKNOWN", "not ready")]
        with server.client(retries=1) as other, pytest.raises(ServingError) as caught:
            other.predict([b"a"])
    assert str(caught.value).endswith(": the model is not ready, or not there (2 tries)")


def test_status_and_versions():
    with Server(versions=["1", "3"]) as server:
        server.answers |= {
            "GET /v2/models/net/versions/1/ready": [(200, "")],
            "GET /v2/models/net/versions/3/ready": [(400, "")],
            "GET /v2/models/net/versions/1": server.answers["GET /v2/models/net"],
            "POST /v2/models/net/versions/1/infer": [(200, outputs())],
        }
        with server.client() as client:
            one, three = client.status()
        assert one == VersionStatus(1, "AVAILABLE")
        assert three == VersionStatus(3, "UNKNOWN", "not ready")
        with server.client(version=1) as client:
            assert client.status() == [one]
            assert len(client.predict([b"a"])) == 1
        with server.client(version=2) as client:
            with pytest.raises(ServingError, match="has no model 'net', version 2: no"):
                client.predict([b"a"])
        server.answers["GET /v2/models/net"] = [(200, {"versions": ["new"]})]
        with server.client() as client:
            with pytest.raises(ServingError, match=r"is not a list of versions: .*'new'"):
                client.status()
        with pytest.raises(ValueError, match="v2 protocol has no labels"):
            server.client(label="stable")


def test_command(tmp_path, capsys):
    photograph = tmp_path / "a.jpg"
    photograph.write_bytes(b"photograph")
    with Server() as server:
        words = ["--protocol", "v2", "--port", str(server.port), "--model", "net"]
        assert main([*words, str(photograph), "--top", "1"]) == 0
        assert capsys.readouterr().out == f"{photograph}\n   50.00 %  bee\n"
        assert main([*words, "--status"]) == 0
        assert capsys.readouterr().out == "the only version: AVAILABLE\n"
        assert main([*words, str(photograph), "--load", "0.2", "--batch-size", "1"]) == 0
        assert "errors: 0, retries: 0" in capsys.readouterr().out
        server.answers["GET /v2/models/net/ready"] = [(503, "")]
        assert main([*words, "--status"]) == 1
        assert capsys.readouterr().out == "the only version: UNKNOWN, not ready\n"
        for options, message in (
            (["--label", "stable"], "The v2 protocol has no labels of versions: give --version."),
            (["--protocol", "rest", "--network", "a"], "--network goes with --protocol v2."),
            (["--network", str(photograph)], str(photograph)),
        ):
            assert main([*words, str(photograph), *options]) == 2
            printed = capsys.readouterr().err
            assert message in printed and printed.count("\n") == 1


def test_files_need_no_tensorflow(tmp_path, run_python):
    photograph = tmp_path / "a.jpg"
    photograph.write_bytes(b"photograph")
    with Server() as server:
        program = f"""
import sys
from export.client.command import main
options = ["--protocol", "v2", "--port", "{server.port}", "--model", "net"]
assert main([*options, *sys.argv[1:]]) == 0
assert not {{"tensorflow", "numpy", "keras"}} & set(sys.modules)
"""
        assert "bee" in run_python("-c", program, photograph)
