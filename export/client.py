"""`regnet ask`: classifies photographs with a RegNet on TensorFlow Serving.

REST needs no other package. gRPC needs `pip install 'regnet_tf[export]'`. The client connects
directly, not through a proxy.
"""

import argparse
import base64
import contextlib
import dataclasses
import http.client
import itertools
import json
import math
import random
import re
import sys
import time
import urllib.parse
from pathlib import Path

from regnet_command import run, start_tensorflow

_EPILOG = """\
examples:
  regnet ask photo.jpg other.png --model regnet
  regnet ask photo.jpg --model regnet --server gpu7 --grpc --label canary
  regnet ask --model regnet --status
  regnet ask photo.jpg --model regnet --load 30 --concurrency 8 --batch-size 4

Connections that fail, requests that time out and servers that are overloaded or starting (HTTP 429,
502, 503 and 504; UNAVAILABLE, RESOURCE_EXHAUSTED and DEADLINE_EXCEEDED) are tried again, after
pauses that double and vary by chance; what the server refuses for good is not.

The exit status is 0, or 2 for an error, or 1 where --status finds no version AVAILABLE or some
requests of --load failed."""

#: Temporary failures, by gRPC's names; the request is tried again. A prediction changes nothing on
#: the server, so it is safe to repeat one whose answer was lost.
TEMPORARY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")

_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_WORDS = {
    "UNAVAILABLE": "is not available",
    "RESOURCE_EXHAUSTED": "is overloaded",
    "DEADLINE_EXCEEDED": "does not answer in time",
    "INVALID_ARGUMENT": "refuses the request",
}
_OUTPUTS = "the probabilities, classes and labels of an exported RegNet"
_FIRST_PAUSE = 0.2  # seconds
_LONGEST_PAUSE = 5.0


class ServingError(ValueError):
    """Raised when a request fails; the message gives the reason in one line.

    Attributes:
        code: gRPC status code, over REST too: "INVALID_ARGUMENT", "UNAVAILABLE", ...
        images: indices in the batch of the images that the server's message names. A server that
            batches the requests of several clients counts in its own batch.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        named = re.search(r"\bimage\W+(\d+(?:[ .]+\d+)*)", message)
        bad = named[1] if named and code == "INVALID_ARGUMENT" else ""
        self.images = tuple(map(int, re.findall(r"\d+", bad)))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The model's prediction for one image.

    Attributes:
        probabilities: `classes` floats, one for each class, in the order of the classes.
        classes: `k` integers, the indices of the best classes, best first.
        labels: `k` strings, the names of the best classes.
    """

    probabilities: tuple[float, ...]
    classes: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def best(self) -> list[tuple[str, float]]:
        """Names and probabilities of the best classes, best first."""
        scores = (self.probabilities[index] for index in self.classes)
        return list(zip(self.labels, scores, strict=True))


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version of a model on the server.

    Attributes:
        version: version number.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error: why the version could not be loaded; empty without an error.
    """

    version: int
    state: str
    error: str = ""


class _Client:
    """Base class of the two clients. Use a client in one thread only.

    Args:
        model: name of the model on the server.
        server: host name or address.
        port: port of the server.
        version: version number to ask; the server's newest by default.
        label: label of the version to ask, such as "stable"; give it instead of `version`.
        timeout: seconds for one try.
        retries: maximum number of retries after one of the failures in `TEMPORARY`.

    Attributes:
        retried: number of retries so far, over all requests.
        deadline: time on the clock of `time.monotonic()` after which nothing is tried again.
    """

    def __init__(self, model, server, port, *, version=None, label=None, timeout=10.0, retries=3):
        if version is not None and label is not None:
            raise ValueError("Give a `version` or a `label`, not both.")
        self.model = model
        self.version = version
        self.label = label
        self.timeout = timeout
        self.retries = retries
        self.retried = 0
        self.deadline = math.inf
        self.address = f"[{server}]:{port}" if ":" in server else f"{server}:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def predict(self, image_files) -> list[Prediction]:
        """Classifies a batch of images.

        Args:
            image_files: contents of `batch` JPEG or PNG files, as bytes.

        Raises:
            ServingError: if the server cannot be reached or refuses the request.
        """
        image_files = list(image_files)
        return self._tried(self._predict, image_files) if image_files else []

    def status(self) -> list[VersionStatus]:
        """Returns the status of the model's versions on the server: all, or this client's.

        Raises:
            ServingError: if the server cannot be reached or does not know the model.
        """
        return self._tried(self._status)

    def _tried(self, ask, *arguments):
        for tries in itertools.count(1):
            try:
                return ask(*arguments)
            except ServingError as error:
                pause = _pause(tries)
                late = time.monotonic() + pause > self.deadline
                if error.code not in TEMPORARY or tries > self.retries or late:
                    raise self._told(error, tries) from error
            time.sleep(pause)
            self.retried += 1

    def _told(self, error, tries):
        """Returns the error with a message that names the server and what was asked for."""
        words = _WORDS.get(error.code, f"answers {error.code}")
        if error.code == "NOT_FOUND":
            version = "" if self.version is None else f", version {self.version}"
            label = "" if self.label is None else f", label {self.label!r}"
            words = f"has no model {self.model!r}{version}{label}"
        times = f" ({tries} tries)" if tries > 1 else ""
        return ServingError(error.code, f"{self.address} {words}: {error}{times}")


class RestClient(_Client):
    """Client for TensorFlow Serving over REST; see `_Client` for the arguments.

    The connection is kept open. The time-out applies to each wait for the server.
    """

    def __init__(self, model, server="localhost", port=8501, **options):
        super().__init__(model, server, port, **options)
        self._connection = http.client.HTTPConnection(server, port, timeout=self.timeout)

    def close(self):
        """Closes the connection."""
        self._connection.close()

    def _predict(self, image_files):
        encoded = (base64.b64encode(content).decode("ascii") for content in image_files)
        body = {
            "signature_name": "serving_default",
            "instances": [{"image_bytes": {"b64": text}} for text in encoded],
        }
        answer = self._ask("POST", ":predict", json.dumps(body))
        with _expecting(_OUTPUTS):
            return [
                _prediction(row["probabilities"], row["classes"], row["labels"])
                for row in answer["predictions"]
            ]

    def _status(self):
        answer = self._ask("GET")
        with _expecting("a list of versions"):
            return [
                VersionStatus(int(each["version"]), each["state"], each["status"]["error_message"])
                for each in answer["model_version_status"]
            ]

    def _ask(self, method, verb="", body=None):
        path = "/v1/models/" + urllib.parse.quote(self.model, safe="")
        if self.version is not None:
            path += f"/versions/{self.version}"
        if self.label is not None:
            path += "/labels/" + urllib.parse.quote(self.label, safe="")
        status, content = self._exchange(method, path + verb, body)
        try:
            answer = dict(json.loads(content))
        except (TypeError, ValueError):  # a proxy's page, or not a TensorFlow Serving server
            answer = {"error": "an answer that is no JSON"}
        if status != 200 or "error" in answer:
            text = _first_line(str(answer.get("error", "")))
            if status not in _HTTP_CODES:
                raise ServingError("UNKNOWN", f"HTTP {status}, {text}")
            raise ServingError(_HTTP_CODES[status], text)
        return answer

    def _exchange(self, method, path, body):
        """Returns the status and content of the answer; raises a `ServingError` if none comes."""
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            return response.status, response.read()
        except Exception as error:
            self._connection.close()  # or the next request would read the rest of this answer
            if isinstance(error, TimeoutError):
                text = f"nothing within {self.timeout:g} s"
                raise ServingError("DEADLINE_EXCEEDED", text) from error
            if isinstance(error, (OSError, http.client.IncompleteRead)):
                text = getattr(error, "strerror", None) or str(error)
                raise ServingError("UNAVAILABLE", text) from error
            if isinstance(error, http.client.HTTPException):
                text = f"no HTTP ({type(error).__name__})"
                raise ServingError("UNKNOWN", text) from error
            raise


class GrpcClient(_Client):
    """Client for TensorFlow Serving over gRPC; see `_Client` for the arguments.

    Raises:
        UserError: if gRPC or TensorFlow Serving's API is missing; it names the extra to install.
    """

    def __init__(self, model, server="localhost", port=8500, **options):
        super().__init__(model, server, port, **options)
        start_tensorflow()  # before TensorFlow Serving's API imports TensorFlow
        from regnet_tf._errors import import_optional

        self._grpc = import_optional("grpc", "export")
        self._apis = {
            name: import_optional(f"tensorflow_serving.apis.{name}", "export")
            for name in (
                "get_model_status_pb2",
                "model_service_pb2_grpc",
                "predict_pb2",
                "prediction_service_pb2_grpc",
            )
        }
        channel_options = {
            "grpc.enable_http_proxy": 0,
            "grpc.enable_retries": 0,  # this client retries, and counts the retries
            "grpc.initial_reconnect_backoff_ms": 100,  # or gRPC would repeat an outdated error
            "grpc.max_reconnect_backoff_ms": 1000,
            "grpc.max_receive_message_length": -1,
            "grpc.max_send_message_length": -1,
            "grpc.use_local_subchannel_pool": 1,  # one connection for each client
        }
        self._channel = self._grpc.insecure_channel(self.address, [*channel_options.items()])

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def _predict(self, image_files):
        import tensorflow as tf

        request = self._apis["predict_pb2"].PredictRequest()
        self._specify(request.model_spec)
        request.model_spec.signature_name = "serving_default"
        tensor = request.inputs["image_bytes"]
        tensor.dtype = tf.string.as_datatype_enum
        tensor.string_val.extend(image_files)
        tensor.tensor_shape.dim.add(size=len(image_files))
        service = self._apis["prediction_service_pb2_grpc"].PredictionServiceStub(self._channel)
        outputs = self._ask(service.Predict, request).outputs
        with _expecting(_OUTPUTS):
            names = ("probabilities", "classes", "labels")
            probabilities, classes, labels = (
                tf.make_ndarray(outputs[name]).tolist() for name in names
            )
            labels = [[label.decode() for label in row] for row in labels]
            rows = zip(probabilities, classes, labels, strict=True)
            return [_prediction(*row) for row in rows]

    def _status(self):
        request = self._apis["get_model_status_pb2"].GetModelStatusRequest()
        self._specify(request.model_spec)
        service = self._apis["model_service_pb2_grpc"].ModelServiceStub(self._channel)
        versions = self._ask(service.GetModelStatus, request).model_version_status
        return [
            VersionStatus(each.version, each.State.Name(each.state), each.status.error_message)
            for each in versions
        ]

    def _specify(self, model_spec):
        model_spec.name = self.model
        if self.version is not None:
            model_spec.version.value = self.version
        if self.label is not None:
            model_spec.version_label = self.label

    def _ask(self, method, request):
        try:
            return method(request, timeout=self.timeout)
        except self._grpc.RpcError as error:
            raise ServingError(error.code().name, _first_line(error.details())) from error


@contextlib.contextmanager
def _expecting(what):
    """Raises a `ServingError` if the code inside cannot parse the answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ServingError("UNKNOWN", f"the answer is not {what}") from error


def _prediction(probabilities, classes, labels):
    return Prediction(tuple(probabilities), tuple(classes), tuple(labels))


def _pause(tries):
    """Returns the seconds to wait after a number of tries.

    The pause doubles with each try. It is random, so that clients do not retry in step.
    """
    return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2 ** (tries - 1), _LONGEST_PAUSE)


def _first_line(message):
    """Returns the first line of a TensorFlow message, without node names."""
    lines = re.sub(r"\{\{.*?\}\}\s*", "", message or "").strip().splitlines()
    return lines[0].strip() if lines else "no reason given"


def main(arguments=None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)

    def job():
        _check(options)
        return _run(options)

    return run(job, parser)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet ask",
        description="Asks a RegNet on TensorFlow Serving what is on photographs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("files", metavar="FILE", nargs="*", type=Path, help="JPEG or PNG")
    add("--model", metavar="NAME", required=True, help="its name on the server")
    add("--server", metavar="HOST", default="localhost", help="(default: %(default)s)")
    add("--rest-port", metavar="N", type=_port, default=8501, help="(default: %(default)s)")
    add("--grpc-port", metavar="N", type=_port, default=8500, help="(default: %(default)s)")
    add("--grpc", action="store_true", help="instead of REST")
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--version", metavar="N", type=_count, help="default: the newest")
    version.add_argument("--label", metavar="NAME", help="of a version, such as stable")
    add("--timeout", metavar="S", type=_seconds, default=10.0, help="of a try (%(default)g s)")
    add("--retries", metavar="N", type=_retries, default=3, help="(default: %(default)s)")
    add("--batch-size", metavar="N", type=_count, default=16, help="images a request (%(default)s)")
    add("--top", metavar="N", type=_count, default=5, help="classes to print, of the server's best")
    add("--status", action="store_true", help="print the versions of the model and their states")
    load = parser.add_argument_group("measuring, with the files over and over")
    load.add_argument("--load", metavar="S", type=_seconds, help="send requests for S seconds")
    load.add_argument(
        "--concurrency", metavar="N", type=_count, default=4, help="in flight at most (%(default)s)"
    )
    return parser


def _count(text, minimum=1, maximum=math.inf):
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        limits = f"at least {minimum}" if maximum == math.inf else f"{minimum} to {maximum}"
        raise argparse.ArgumentTypeError(f"must be an integer of {limits}. Received: {text}")
    return int(text)


def _port(text):
    return _count(text, maximum=65535)


def _retries(text):
    return _count(text, minimum=0)


def _seconds(text):
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a finite number above 0. Received: {text}")


def _check(options):
    """Raises a ValueError for wrong options, before the server is asked."""
    if options.status and options.label is not None:
        raise ValueError("The server gives no status of a label: --status goes with --version.")
    if not options.status and not options.files:
        raise ValueError("Which files? Give JPEG or PNG files, or --status.")
    for path in options.files:
        if not path.is_file():
            raise ValueError(f"There is no file {path}.")


def _run(options):
    if options.status:
        return _print_status(options)
    if options.load is not None:
        return _print_load(options)
    with _connect(options) as client:
        for start in range(0, len(options.files), options.batch_size):
            _print_predictions(client, options.files[start : start + options.batch_size], options)
    return 0


def _connect(options):
    """Returns the client that the options ask for."""
    kind, port = RestClient, options.rest_port
    if options.grpc:
        kind, port = GrpcClient, options.grpc_port
    return kind(
        options.model,
        options.server,
        port,
        version=options.version,
        label=options.label,
        timeout=options.timeout,
        retries=options.retries,
    )


def _print_predictions(client, paths, options):
    try:
        predictions = client.predict(path.read_bytes() for path in paths)
    except ServingError as error:
        if not error.images or max(error.images) >= len(paths):
            raise
        files = ", ".join(str(paths[index]) for index in error.images)
        raise ValueError(f"{files}: {error}") from error
    for path, prediction in zip(paths, predictions, strict=True):
        print(path)
        for label, probability in prediction.best[: options.top]:
            print(f"  {100 * probability:6.2f} %  {label}")


def _print_status(options):
    with _connect(options) as client:
        versions = client.status()
    for each in versions:
        error = f", {_first_line(each.error)}" if each.error else ""
        print(f"version {each.version}: {each.state}{error}")
    return 0 if any(each.state == "AVAILABLE" for each in versions) else 1


def _print_load(options):
    from .load import send_load

    contents = [path.read_bytes() for path in options.files]
    load = send_load(
        lambda: _connect(options), contents, options.load, options.concurrency, options.batch_size
    )
    print("\n".join(load.lines()))
    return 1 if load.errors else 0


if __name__ == "__main__":
    sys.exit(main())
