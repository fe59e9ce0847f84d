"""Client for TensorFlow Serving over REST."""

import base64
import urllib.parse

from .answers import OUTPUTS, Prediction, VersionStatus, check_count, expecting
from .http import HttpClient


class RestClient(HttpClient):
    """Client for TensorFlow Serving over REST; see `Client` for the arguments."""

    def __init__(self, model, server="localhost", port=8501, **options):
        super().__init__(model, server, port, **options)
        self._path = "/v1/models/" + urllib.parse.quote(self.model, safe="")
        if self.version is not None:
            self._path += f"/versions/{self.version}"
        if self.label is not None:
            self._path += "/labels/" + urllib.parse.quote(self.label, safe="")

    def _predict(self, image_files):
        encoded = (base64.b64encode(content).decode("ascii") for content in image_files)
        body = {
            "signature_name": "serving_default",
            "instances": [{"image_bytes": {"b64": text}} for text in encoded],
        }
        answer = self._ask("POST", f"{self._path}:predict", body, len(image_files))
        with expecting(OUTPUTS):
            check_count(answer["predictions"], len(image_files))
            return [
                Prediction.of(row["probabilities"], row["classes"], row["labels"])
                for row in answer["predictions"]
            ]

    def _status(self):
        answer = self._ask("GET", self._path)
        with expecting("a list of versions"):
            return [
                VersionStatus(
                    int(each["version"]), each["state"], str(each["status"]["error_message"])
                )
                for each in answer["model_version_status"]
            ]
