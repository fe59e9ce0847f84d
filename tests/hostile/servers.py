"""Servers whose answers are bombs, lies, or do not end."""

import json
import socket
import threading
import time
from collections.abc import Iterator

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_ROW = {"probabilities": [0.5, 0.5], "classes": [0, 1], "labels": ["cat", "dog"]}
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def _answer(text):
    """Returns a whole answer."""
    body = text.encode()
    return _OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def _row(**changes):
    """Returns an answer with one prediction."""
    return _answer(json.dumps({"predictions": [{**_ROW, **changes}]}))


def _deep(text):
    return _answer('{"predictions": ' + text)


def _forever(start, part, pause=0.0) -> Iterator[bytes]:
    yield start
    while True:
        yield part
        time.sleep(pause)


#: Answers by what is wrong with them: bytes, or a function that gives an iterator of bytes.
ANSWERS = {
    "right": _row(),
    "[ 200,000 times": _deep("[" * 200_000),
    "10**400": _row(probabilities=[10**400, 0]),
    "probability 2": _row(probabilities=[2.0, 0.5]),
    "probability -1": _row(probabilities=[-1.0, 0.5]),
    "probability NaN": _row(probabilities=[float("nan"), 0.5]),
    "probability Infinity": _row(probabilities=[float("inf"), 0.5]),
    "probability as text": _row(probabilities=["0.5", "0.5"]),
    "probability null": _row(probabilities=[None, None]),
    "class -1": _row(classes=[-1, 0]),
    "class 9": _row(classes=[9, 0]),
    "class 10**30": _row(classes=[10**30, 0]),
    "class as text": _row(classes=["0", "1"]),
    "class 0.5": _row(classes=[0.5, 1]),
    "class true": _row(classes=[True, False]),
    "terminal escapes in a label": _row(labels=[ESCAPE, "dog"]),
    "line breaks in a label": _row(labels=["a\n  99.00 %  b", "dog"]),
    "label as number": _row(labels=[1, 2]),
    "too few labels": _row(labels=["cat"]),
    "too many predictions": _answer(json.dumps({"predictions": [_ROW] * 3})),
    "no prediction": _answer(json.dumps({"predictions": []})),
    "empty rows": _row(probabilities=[], classes=[], labels=[]),
    "predictions as text": _answer(json.dumps({"predictions": "abc"})),
    "a list": _answer("[[1, 2]]"),
    "no JSON": _answer("<html>"),
    "empty": _answer(""),
    "error with escapes": _answer(json.dumps({"error": ESCAPE + "image 0"})),
    "error about image 10**9": _answer(json.dumps({"error": f"image {10**9}"})),
    "error of 50 MB": _answer(json.dumps({"error": "x" * 50_000_000})),
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "HTTP 500": b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 x\r\nLocation: http://localhost:9/\r\nContent-Length: 0\r\n\r\n",
    "length 10**18": _OK + b"Content-Length: 1000000000000000000\r\n\r\n{",
    "length -5": _OK + b"Content-Length: -5\r\n\r\n{}",
    "length as text": _OK + b"Content-Length: abc\r\n\r\n{}",
    "chunk of 10**15": _OK + b"Transfer-Encoding: chunked\r\n\r\n38D7EA4C68000\r\n{",
    "closed at once": b"",
    "endless body": lambda: _forever(_OK + b"\r\n", b'{"a": ' * 100_000),
    "endless headers": lambda: _forever(_OK, b"X-A: b\r\n" * 1000),
    "a header line without end": lambda: _forever(_OK, b"x" * 100_000),
    "drips its body": lambda: _forever(_OK + b"Content-Length: 1000\r\n\r\n", b" ", 0.3),
    "drips its headers": lambda: _forever(_OK, b"X", 0.3),
    "says nothing": lambda: _forever(b"", b"", 0.3),
}


def start(answer) -> int:
    """Starts a server in a thread of this process; returns its port.

    Args:
        answer: one of `ANSWERS`, for each request.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, answer), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def _serve(connection, answer):
    with connection:
        try:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(2**16)
            for part in [answer] if isinstance(answer, bytes) else answer():
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.1)  # the client's request may not be read to its end
        except OSError:
            pass  # the client has left
