"""Client for TensorFlow Serving over REST."""

import base64
import http.client
import json
import socket
import time
import urllib.parse

from .answers import (
    OUTPUTS,
    Prediction,
    ServingError,
    VersionStatus,
    check_count,
    expecting,
    first_line,
)
from .base import Client, largest_answer

_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestClient(Client):
    """Client for TensorFlow Serving over REST; see `Client` for the arguments.

    The connection is kept open.
    """

    def __init__(self, model, server="localhost", port=8501, **options):
        super().__init__(model, server, port, **options)
        self._connection = _Connection(server, port)

    def close(self):
        """Closes the connection."""
        self._connection.close()

    def _predict(self, image_files):
        encoded = (base64.b64encode(content).decode("ascii") for content in image_files)
        body = {
            "signature_name": "serving_default",
            "instances": [{"image_bytes": {"b64": text}} for text in encoded],
        }
        answer = self._ask("POST", ":predict", json.dumps(body), len(image_files))
        with expecting(OUTPUTS):
            check_count(answer["predictions"], len(image_files))
            return [
                Prediction.of(row["probabilities"], row["classes"], row["labels"])
                for row in answer["predictions"]
            ]

    def _status(self):
        answer = self._ask("GET")
        with expecting("a list of versions"):
            return [
                VersionStatus(
                    int(each["version"]), each["state"], str(each["status"]["error_message"])
                )
                for each in answer["model_version_status"]
            ]

    def _ask(self, method, verb="", body=None, images=1):
        path = "/v1/models/" + urllib.parse.quote(self.model, safe="")
        if self.version is not None:
            path += f"/versions/{self.version}"
        if self.label is not None:
            path += "/labels/" + urllib.parse.quote(self.label, safe="")
        status, content = self._exchange(method, path + verb, body, largest_answer(images))
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):  # a proxy's page, or not a TensorFlow Serving server
            answer = {"error": "an answer that is no JSON"}
        if status != 200 or "error" in answer:
            text = first_line(str(answer.get("error", "")))
            if status not in _HTTP_CODES:
                raise ServingError("UNKNOWN", f"HTTP {status}, {text}")
            raise ServingError(_HTTP_CODES[status], text)
        return answer

    def _exchange(self, method, path, body, most):
        """Returns the status and content of the answer; raises a `ServingError` if none comes."""
        self._connection.limit(self.timeout, most)
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            content = response.read(most)
            if response.length:
                raise http.client.IncompleteRead(content, response.length)
            return response.status, content
        except Exception as error:
            self._connection.close()  # or the next request would read the rest of this answer
            if isinstance(error, _TooLong):
                text = f"an answer of more than {most:,} bytes"
                raise ServingError("UNKNOWN", text) from error
            if isinstance(error, TimeoutError):
                text = f"no whole answer within {self.timeout:g} s"
                raise ServingError("DEADLINE_EXCEEDED", text) from error
            if isinstance(error, (OSError, http.client.IncompleteRead)):
                text = first_line(getattr(error, "strerror", None) or str(error))
                raise ServingError("UNAVAILABLE", text) from error
            if isinstance(error, (http.client.HTTPException, ValueError)):
                text = f"no HTTP ({type(error).__name__})"
                raise ServingError("UNKNOWN", text) from error
            raise


class _TooLong(Exception):
    """An answer has more bytes than are allowed."""


class _Connection(http.client.HTTPConnection):
    """A connection with limits of the seconds and bytes of a request and its answer."""

    def limit(self, seconds, received):
        """Sets the limits, which begin now; `TimeoutError` and `_TooLong` are raised above them."""
        self._deadline, self._room = time.monotonic() + seconds, received

    def connect(self):
        """Connects to the first address of the server that answers."""
        failed = None
        for *_, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            try:
                where = str(address[0]), self.port
                connected = socket.create_connection(where, self.seconds_left())
            except OSError as error:
                failed = failed or error
            else:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sock = _Socket(self, fileno=connected.detach())
                return
        raise failed or OSError("the server has no address")

    def seconds_left(self):
        """Returns the seconds until the limit."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def count(self, received):
        """Counts received bytes."""
        self._room -= received
        if self._room < 0:
            raise _TooLong


class _Socket(socket.socket):
    """A socket that keeps the limits of its connection, also in the middle of an answer."""

    def __init__(self, connection, **options):
        super().__init__(**options)
        self._connection = connection

    def sendall(self, *arguments):
        self.settimeout(self._connection.seconds_left())
        return super().sendall(*arguments)

    def recv_into(self, *arguments):
        self.settimeout(self._connection.seconds_left())
        received = super().recv_into(*arguments)
        self._connection.count(received)
        return received
