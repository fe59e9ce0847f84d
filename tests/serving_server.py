"""Servers of SavedModels for tests: TensorFlow Serving itself where it is, and a stand-in for it.

The stand-in answers over real sockets, with TensorFlow Serving's protobufs, paths, status codes and
messages; what it answers is computed by the SavedModels. It makes no promises about speed.
"""

import base64
import collections
import concurrent.futures
import contextlib
import dataclasses
import http.server
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import tensorflow as tf

from export.client import RestClient, ServingError

_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<predict>:predict)?"
)


class Refusal(Exception):
    """What the server answers instead of a prediction."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclasses.dataclass(frozen=True)
class Fault:
    """What befalls a request.

    Attributes:
        code: of the answer, such as "UNAVAILABLE"; "RESET" ends a REST connection without one; None
            for no fault but the delay.
        seconds: before it.
    """

    code: str | None = None
    seconds: float = 0


@dataclasses.dataclass
class _Version:
    signatures: dict
    state: str = "AVAILABLE"


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    rest_port: int
    grpc_port: int | None


class ServingServer:
    """The stand-in; a context that ends it.

    Args:
        models: folders by name, each with a folder of a SavedModel for each version.
        labels: version numbers by label, by the model's name.

    Attributes:
        address: `grpc_port` is None where gRPC or TensorFlow Serving's API is not installed.
        requests: number of predictions asked for.
        most_in_flight: predictions at the same time.
    """

    def __init__(self, models, labels):
        self._models = {name: _load(folder) for name, folder in models.items()}
        self._labels = labels
        self._faults = collections.deque()
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._in_flight = 0
        self.forget()
        self._rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _rest_handler(self))
        self._thread = threading.Thread(target=self._rest.serve_forever, args=(0.05,))
        self._thread.start()
        has_grpc = all(map(importlib.util.find_spec, ("grpc", "tensorflow_serving")))
        self._grpc, grpc_port = _start_grpc(self) if has_grpc else (None, None)
        self.address = Address("127.0.0.1", self._rest.server_address[1], grpc_port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.forget()
        self._rest.shutdown()
        self._thread.join()
        self._rest.server_close()
        if self._grpc is not None:
            self._grpc.stop(None).wait()

    def inject(self, *faults):
        """Lets faults befall the next predictions, one each."""
        self._faults.extend(faults)

    def forget(self):
        """Takes back faults and states, ends what hangs, and counts from zero."""
        with self._changed:
            self._faults.clear()
            self._hurry.set()
            self._changed.wait_for(lambda: self._in_flight == 0, 30)
            self._hurry.clear()
            self.requests = self.most_in_flight = 0
        for versions in self._models.values():
            for version in versions.values():
                version.state = "AVAILABLE"

    def set_state(self, name, version, state):
        """Pretends that a version is in a state, such as "LOADING"."""
        self._models[name][version].state = state

    def status(self, name, version=None):
        """States by version, as GetModelStatus tells them."""
        versions = self._models.get(name)
        if not versions:
            raise Refusal("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is None:
            return {number: each.state for number, each in versions.items()}
        if version not in versions:
            raise Refusal("NOT_FOUND", f"Could not find version {version} of model {name}")
        return {version: versions[version].state}

    def predict(self, name, version, label, signature, inputs):
        """Runs a signature.

        Args:
            name: of the model.
            version: its number, or None.
            label: of the version, or None.
            signature: name; of the default one if empty.
            inputs: gives a dict of tensors, given the specifications of the signature's inputs (or
                None for a signature that is not there).

        Returns:
            The version's number and a dict of arrays.
        """
        with self._admitted():
            version, servable = self._find(name, version, label)
            function = servable.signatures.get(signature or "serving_default")
            tensors = inputs(function and function.structured_input_signature[1])
            if function is None:
                raise Refusal(
                    "FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.'
                )
            return version, _run(function, tensors)

    @contextlib.contextmanager
    def _admitted(self):
        with self._changed:
            fault = self._faults.popleft() if self._faults else Fault()
            self.requests += 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            if fault.seconds:
                self._hurry.wait(fault.seconds)
            if fault.code is not None:
                raise Refusal(fault.code, "injected")
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _find(self, name, version, label):
        if label is not None:
            if label not in self._labels.get(name, {}):
                text = f"Unrecognized servable version label: {label}"
                raise Refusal("INVALID_ARGUMENT", text)
            version = self._labels[name][label]
        versions = self._models.get(name, {})
        ready = {number for number in versions if versions[number].state == "AVAILABLE"}
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        if version is None:
            version = max(ready, default=None)
        if version not in ready:
            raise Refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
        return version, versions[version]


def _load(folder):
    """The versions of a model, by number."""
    numbers = sorted(int(path.name) for path in Path(folder).iterdir() if path.name.isdecimal())
    return {
        number: _Version(dict(tf.saved_model.load(str(Path(folder) / str(number))).signatures))
        for number in numbers
    }


def _run(function, tensors):
    """Outputs of a signature, as arrays; refuses what the signature does not take."""
    specs = function.structured_input_signature[1]
    if set(tensors) != set(specs):
        extra, missing = sorted(set(tensors) - set(specs)), sorted(set(specs) - set(tensors))
        raise Refusal(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(tensors)}!={len(specs)}"
            f" Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}.",
        )
    for index, (name, spec) in enumerate(specs.items()):
        given = tensors[name]
        if given.dtype != spec.dtype:
            text = (
                f"Expects arg[{index}] to be {spec.dtype.name} but {given.dtype.name} is provided"
            )
            raise Refusal("INVALID_ARGUMENT", text)
    try:
        outputs = function(**tensors)
    except tf.errors.InvalidArgumentError as error:
        raise Refusal("INVALID_ARGUMENT", _session_message(error.message)) from error
    return {name: output.numpy() for name, output in outputs.items()}


def _session_message(message):
    """An error of a function as the session tells it that TensorFlow Serving runs."""
    about_python = r"\AGraph execution error:.*?<stack traces unavailable>\n| \[Op:\S*\]\Z"
    return re.sub(about_python, "", message, flags=re.DOTALL)


# REST.


def _rest_handler(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            self._answer(_rest_status)

        def do_POST(self):
            self._answer(_rest_predict)

        def _answer(self, answer):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = 200
            try:
                matched = _PATH.fullmatch(self.path)
                if not matched or bool(matched["predict"]) != (self.command == "POST"):
                    text = f"Malformed request: {self.command} {self.path}"
                    raise Refusal("INVALID_ARGUMENT", text)
                content = answer(server, _RestPath(matched), body)
            except Refusal as refusal:
                if refusal.code == "RESET":
                    self.close_connection = True
                    return
                status, content = _HTTP_STATUS[refusal.code], {"error": refusal.message}
            content = json.dumps(content, indent=4).encode()
            # A client that did not wait for the answer is none of this thread's business.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


class _RestPath:
    """Name, version number or None and label or None of a request's path."""

    def __init__(self, matched):
        self.name = urllib.parse.unquote(matched["name"])
        self.version = None if matched["version"] is None else int(matched["version"])
        self.label = None if matched["label"] is None else urllib.parse.unquote(matched["label"])


def _rest_status(server, path, _):
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": state,
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version, state in server.status(path.name, path.version).items()
        ]
    }


def _rest_predict(server, path, body):
    request = json.loads(body)
    signature = request.get("signature_name", "")

    def inputs(specs):
        if specs is None:
            text = f'Serving signature name: "{signature}" not found in signature def'
            raise Refusal("INVALID_ARGUMENT", text)
        return _tensors(specs, request["instances"])

    _, outputs = server.predict(path.name, path.version, path.label, signature, inputs)
    columns = {name: _json_rows(name, array) for name, array in outputs.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {"predictions": [next(iter(row.values())) if len(row) == 1 else row for row in rows]}


def _tensors(specs, instances):
    """The tensors that a JSON list of objects, one for each row, gives."""
    for number, row in enumerate(instances):
        if set(row) != set(specs):
            raise Refusal(
                "INVALID_ARGUMENT",
                f"Failed to process element: {number} of 'instances' list. JSON object:"
                f" {json.dumps(row)} must only have keys: {','.join(specs)}",
            )
    try:
        return {
            name: tf.constant([_from_json(row[name]) for row in instances], spec.dtype)
            for name, spec in specs.items()
        }
    except (TypeError, ValueError) as error:
        text = f"Failed to process element: 0 of 'instances' list. Error: {error}"
        raise Refusal("INVALID_ARGUMENT", text) from error


def _from_json(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value


def _json_rows(name, array):
    def to_json(value):
        if isinstance(value, list):
            return [to_json(each) for each in value]
        if isinstance(value, bytes):
            return (
                {"b64": base64.b64encode(value).decode()}
                if name.endswith("_bytes")
                else value.decode()
            )
        return value

    return to_json(array.tolist())


# gRPC.


def _start_grpc(server):
    """A running gRPC server and its port."""
    import grpc
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    def predict(request):
        spec = request.model_spec
        version, outputs = server.predict(
            *_model(spec),
            spec.signature_name,
            lambda _: {
                name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()
            },
        )
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = spec.signature_name or "serving_default"
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response

    def status(request):
        name, version, _ = _model(request.model_spec)
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, state in server.status(name, version).items():
            response.model_version_status.add(version=number, state=state)
        return response

    def refusing(answer):
        def method(_, request, context):
            try:
                return answer(request)
            except Refusal as refusal:
                context.abort(grpc.StatusCode[refusal.code], refusal.message)

        return method

    prediction = prediction_service_pb2_grpc.PredictionServiceServicer
    model = model_service_pb2_grpc.ModelServiceServicer
    started = grpc.server(
        concurrent.futures.ThreadPoolExecutor(16),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        type("Prediction", (prediction,), {"Predict": refusing(predict)})(), started
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        type("Model", (model,), {"GetModelStatus": refusing(status)})(), started
    )
    port = started.add_insecure_port("127.0.0.1:0")
    started.start()
    return started, port


def _model(spec):
    """Name, version number or None and label or None."""
    version = spec.version.value if spec.HasField("version") else None
    label = spec.version_label if spec.HasField("version_label") else None
    return spec.name, version, label


# TensorFlow Serving itself.


def missing_model_server() -> str:
    """Why `model_server` cannot run; empty if it can."""
    return (
        "" if shutil.which("tensorflow_model_server") else "no tensorflow_model_server on the PATH"
    )


def missing_docker() -> str:
    """Why `docker_server` cannot run; empty if it can."""
    try:
        command = ["docker", "image", "inspect", "tensorflow/serving"]
        done = subprocess.run(command, capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return "no docker"
    return "no docker image tensorflow/serving" if done.returncode else ""


@contextlib.contextmanager
def model_server(models, labels, folder):
    """Runs `tensorflow_model_server`; gives its `Address`. Arguments as for `docker_server`."""
    address = Address("127.0.0.1", _free_port(), _free_port())
    config = Path(folder) / "models.config"
    config.write_text(_config(models, labels))
    with (Path(folder) / "server.log").open("w") as log:
        process = subprocess.Popen(
            [
                "tensorflow_model_server",
                f"--port={address.grpc_port}",
                f"--rest_api_port={address.rest_port}",
                f"--model_config_file={config}",
                "--allow_version_labels_for_unavailable_models=true",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(address, models)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def docker_server(models, labels, folder):
    """Runs TensorFlow Serving in docker; gives its `Address`.

    Args:
        models: folders by name, each with a folder of a SavedModel for each version.
        labels: version numbers by label, by the model's name.
        folder: for the server's configuration and log.
    """
    inside = {name: f"/served/{number}" for number, name in enumerate(models)}
    config = Path(folder) / "models.config"
    config.write_text(_config(inside, labels))
    mounts = [f"--volume={config}:/models.config:ro"]
    mounts += [f"--volume={models[name]}:{inside[name]}:ro" for name in models]
    container = _docker(
        *("run", "--rm", "--detach", "--publish=127.0.0.1::8500", "--publish=127.0.0.1::8501"),
        *(*mounts, "tensorflow/serving", "--model_config_file=/models.config"),
        "--allow_version_labels_for_unavailable_models=true",
    )
    try:
        ports = (_docker("port", container, f"{port}/tcp").split(":")[-1] for port in (8501, 8500))
        address = Address("127.0.0.1", *map(int, ports))
        _wait(address, models)
        yield address
    finally:
        _docker("rm", "--force", container)


def _docker(*arguments):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _config(models, labels):
    """TensorFlow Serving's configuration: all versions of all models; in protobuf's text format."""
    lines = []
    for name, folder in models.items():
        lines += [
            f"config {{ name: {json.dumps(name)} base_path: {json.dumps(str(folder))}",
            'model_platform: "tensorflow" model_version_policy { all {} }',
        ]
        lines += [
            f"version_labels {{ key: {json.dumps(label)} value: {version} }}"
            for label, version in labels.get(name, {}).items()
        ]
        lines.append("}")
    return "\n".join(["model_config_list {", *lines, "}\n"])


def _wait(address, models, seconds=60):
    """Until all versions are there."""
    end = time.monotonic() + seconds
    for name in models:
        while True:
            with RestClient(name, address.host, address.rest_port) as client:
                try:
                    states = {each.state for each in client.status()}
                except ServingError as error:
                    states = {str(error)}
            if states == {"AVAILABLE"}:
                break
            assert time.monotonic() < end, f"{name}: {states}"
            time.sleep(0.2)
