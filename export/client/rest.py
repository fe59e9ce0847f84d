"""Client for TensorFlow Serving over REST."""

import base64
import http.client
import json
import urllib.parse

from .answers import OUTPUTS, Prediction, ServingError, VersionStatus, expecting, first_line
from .base import Client

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
        with expecting(OUTPUTS):
            return [
                Prediction.of(row["probabilities"], row["classes"], row["labels"])
                for row in answer["predictions"]
            ]

    def _status(self):
        answer = self._ask("GET")
        with expecting("a list of versions"):
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
            text = first_line(str(answer.get("error", "")))
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
