"""Client for the KServe v2 protocol over REST, also called Open Inference Protocol."""

import base64
import urllib.parse
import uuid

from .answers import OUTPUTS, Prediction, ServingError, VersionStatus, expecting, first_line
from .http import HttpClient, refusal

_BEST_CLASSES = 5
_NOT_READY = (400, 503)  # HTTP statuses, which the protocol leaves to the server


class V2Client(HttpClient):
    """Client for a server of the KServe v2 protocol; see `Client` for the other arguments.

    A model's input of BYTES gets the image files, in base64. If the model has none, its input of
    UINT8 gets images that `network` prepares.

    Args:
        network: an `export.classifier.Classifier` of the same network, for a server that takes
            prepared images only or names no classes.

    Raises:
        ValueError: for a `label`, which the protocol does not have.
    """

    def __init__(self, model, server="localhost", port=8080, *, network=None, **options):
        super().__init__(model, server, port, **options)
        if self.label is not None:
            raise ValueError("The v2 protocol has no labels of versions. Give a version instead.")
        self._network = network
        self._tensors = None

    def _predict(self, image_files):
        inputs, outputs = self._known_tensors()
        labels = self._known_network().labels if len(outputs) == 1 else None
        body = {
            "id": uuid.uuid4().hex,  # optional in the protocol, but KServe fails to answer without
            "inputs": [self._input(inputs, image_files)],
            "outputs": outputs,
        }
        answer = self._ask("POST", f"{self._path()}/infer", body, len(image_files))
        with expecting(OUTPUTS):
            tensors = {one["name"]: one for one in answer["outputs"]}
            columns = [_rows(tensors[one["name"]], len(image_files)) for one in outputs]
            if labels is not None:
                return [_best(row, labels) for row in columns[0]]
            return [Prediction.of(*row) for row in zip(*columns, strict=True)]

    def _status(self):
        newest = self._status_of(self.version)
        if self.version is not None or newest.state != "AVAILABLE":
            return [newest]
        versions = self._ask("GET", self._path()).get("versions")
        with expecting("a list of versions"):
            return [self._status_of(int(one)) for one in versions or ()] or [newest]

    def _status_of(self, version):
        """Returns the status of a version, or of the newest one for None."""
        if self._is_ready(version):
            return VersionStatus(version, "AVAILABLE")
        return VersionStatus(version, "UNKNOWN", "not ready")

    def _known_tensors(self):
        """Returns the inputs and the wanted outputs in the model's metadata, once it is ready.

        The outputs are the probabilities, the classes and the labels, or the probabilities alone.
        """
        if self._tensors is None:
            if not self._is_ready(self.version):  # its metadata may not be complete
                raise ServingError("UNAVAILABLE", "the model is not ready, or not there")
            metadata = self._ask("GET", self._path())
            with expecting("the metadata of a model"):
                inputs = [
                    {"name": one["name"], "datatype": one["datatype"], "shape": [*one["shape"]]}
                    for one in metadata["inputs"]
                ]
                names = {one["name"] for one in metadata["outputs"]}
            wanted = ["probabilities", "classes", "labels"]
            wanted = wanted if names.issuperset(wanted) else wanted[:1]
            self._tensors = inputs, [{"name": name} for name in wanted]
        return self._tensors

    def _input(self, inputs, image_files):
        """Returns the tensor to send."""
        for one in inputs:
            if one["datatype"] == "BYTES":
                return {
                    **one,
                    "shape": [len(image_files), *(1 for _ in one["shape"][1:])],
                    "parameters": {"content_type": "base64"},
                    "data": [base64.b64encode(file).decode("ascii") for file in image_files],
                }
        for one in inputs:
            if one["datatype"] == "UINT8":
                network = self._known_network()
                try:
                    images = network.crops(image_files)
                except ValueError as error:
                    raise ServingError("INVALID_ARGUMENT", str(error)) from error
                return {**one, "shape": [*images.shape], "data": images.ravel().tolist()}
        text = f"none of its inputs takes image files (BYTES) or images (UINT8): {inputs}"
        raise ServingError("UNIMPLEMENTED", first_line(text))

    def _known_network(self):
        if self._network is None:
            raise ServingError(
                "UNIMPLEMENTED",
                "it takes prepared images or names no classes: --network FILE, the exported file or"
                " the run, prepares and names them",
            )
        return self._network

    def _is_ready(self, version):
        """Returns whether a version is ready, or the newest one for None."""
        status, content = self._exchange("GET", f"{self._path(version)}/ready")
        if status not in (200, *_NOT_READY):
            raise refusal(status, content)
        return status == 200

    def _path(self, version=None):
        version = self.version if version is None else version
        path = "/v2/models/" + urllib.parse.quote(self.model, safe="")
        return path if version is None else f"{path}/versions/{version}"


def _best(probabilities, labels):
    """Returns the prediction for an image of a server that names no classes."""
    if len(probabilities) != len(labels):
        raise ValueError(f"it holds {len(probabilities)} probabilities of {len(labels)} classes")
    places = range(len(probabilities))
    best = sorted(places, key=lambda place: -probabilities[place])[:_BEST_CLASSES]
    return Prediction.of(probabilities, best, (labels[place] for place in best))


def _rows(tensor, count):
    """Returns the values of an output as `count` lists.

    Raises:
        ValueError: if it is not a matrix of `count` rows.
    """
    shape, values = tensor["shape"], tensor["data"]
    if len(shape) != 2 or shape[0] != count:
        raise ValueError(f"an output has the shape {shape} for {count} images")
    if values and isinstance(values[0], list):  # nested, which the protocol allows
        values = [value for row in values for value in row]
    if len(values) != shape[0] * shape[1]:
        raise ValueError(f"an output has the shape {shape} and {len(values)} values")
    return [values[shape[1] * place : shape[1] * (place + 1)] for place in range(count)]
