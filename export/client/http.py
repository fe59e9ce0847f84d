"""Base class of the clients over HTTP: one connection, with limits of time and size."""

import http.client
import json
import socket
import time

from .answers import ServingError, first_line
from .base import Client, largest_answer

_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class HttpClient(Client):
    """Base class of the clients over HTTP; see `Client` for the arguments.

    The connection is kept open.
    """

    def __init__(self, model, server, port, **options):
        super().__init__(model, server, port, **options)
        self._connection = _Connection(server, port)

    def close(self):
        """Closes the connection."""
        self._connection.close()

    def _ask(self, method, path, body=None, images=1):
        """Returns the JSON object that the server answers; raises a `ServingError` for others.

        Args:
            method: "GET" or "POST".
            path: path of the request.
            body: object to send as JSON, or None.
            images: number of images that the answer is about.
        """
        text = None if body is None else json.dumps(body)
        status, content = self._exchange(method, path, text, images)
        answer = _parsed(content)
        if status != 200 or "error" in answer:
            raise refusal(status, content)
        return answer

    def _exchange(self, method, path, body=None, images=1):
        """Returns the status and content of the answer; raises a `ServingError` if none comes."""
        most = largest_answer(images)
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


def refusal(status, content):
    """Returns the `ServingError` of an answer with an HTTP status and JSON content."""
    text = first_line(str(_parsed(content).get("error", "")))
    if status not in _HTTP_CODES:
        return ServingError("UNKNOWN", f"HTTP {status}, {text}")
    return ServingError(_HTTP_CODES[status], text)


def _parsed(content):
    """Returns the JSON object of an answer; one with an "error" if it is none."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):  # a proxy's page, or not a model server
        return {"error": "an answer that is no JSON"}
    return answer


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
