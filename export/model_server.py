"""MLServer runtime for exported files: the KServe v2 protocol, also called Open Inference Protocol.

Write `model-settings.json` next to the file, and run `mlserver start FOLDER`:

    {
      "name": "digits",
      "implementation": "regnet_tf.export.model_server.ServedNetwork",
      "parameters": {"uri": "digits_float32.onnx", "version": "1"}
    }

`uri` is any file or folder that `regnet predict` opens: a SavedModel, a `.tflite`, `.onnx` or
OpenVINO `.xml` file, or a run. `regnet ask photo.jpg --model digits --protocol v2` asks the server.
"""

import asyncio
import threading

import numpy as np
from mlserver import MLModel, types
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.errors import InferenceError
from mlserver.utils import get_model_uri

from .classifier import Classifier
from .formats.saved_model import BEST_CLASSES
from .photographs import encoded


class ServedNetwork(MLModel):
    """A network on MLServer.

    A request holds one of two inputs:

    - `image_bytes`, BYTES `[batch]`: contents of image files, in JSON as base64. The server decodes
      and crops them as the network's preprocessing says.
    - `images`, UINT8 `[batch, height, width, channels]`: images that are already cropped.

    The answer holds the outputs that the request names, by default all:

    - `probabilities`, FP32 `[batch, classes]`.
    - `classes`, INT32 `[batch, 5]`: the best classes, best first.
    - `labels`, BYTES `[batch, 5]`: the names of these classes.

    A network for segmentation returns `probabilities` `[batch, height, width, classes]`, and as
    `classes` the best class of each pixel, `[batch, height, width]`.
    """

    async def load(self) -> bool:
        """Opens the file that the settings name.

        Raises:
            UserError: if it cannot be opened, or does not know its preprocessing or class names.
        """
        await asyncio.to_thread(self._open, await get_model_uri(self.settings))
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Answers a request.

        Raises:
            InferenceError: for a request that is not as above. It names files that are no images.
        """
        return await asyncio.to_thread(self._answer, payload)

    def _open(self, uri):
        self._classifier = network = Classifier(uri)
        self._one_at_a_time = threading.Lock()  # interpreters cannot run twice at the same time
        blank = np.zeros((1, *network.shape), "uint8")
        network.probabilities(blank)  # the first images take seconds
        if network.takes_files:
            network.crops([encoded(blank[0])])
        self.inputs = [_tensor("images", "UINT8", -1, *network.shape)]
        if network.takes_files:
            self.inputs = [_tensor("image_bytes", "BYTES", -1), *self.inputs]
        classes, best = len(network.labels), min(BEST_CLASSES, len(network.labels))
        if network.of_pixels:
            self.outputs = [
                _tensor("probabilities", "FP32", -1, *network.shape[:2], classes),
                _tensor("classes", "INT32", -1, *network.shape[:2]),
            ]
        else:
            self.outputs = [
                _tensor("probabilities", "FP32", -1, classes),
                _tensor("classes", "INT32", -1, best),
                _tensor("labels", "BYTES", -1, best),
            ]
        self.settings.versions = [self.version] if self.version else []

    def _answer(self, request):
        known = [each.name for each in self.outputs]
        wanted = [each.name for each in request.outputs or ()] or known
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise InferenceError(f"Unknown output {unknown[0]!r}. Known: {', '.join(known)}")
        images = self._images(request.inputs)
        with self._one_at_a_time:
            outputs = self._outputs(self._classifier.probabilities(images))
        return types.InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[outputs[name] for name in wanted],
        )

    def _images(self, inputs):
        """Returns the crops of a request; raises an `InferenceError` for another request."""
        names = [one.name for one in inputs]
        try:
            if names == ["image_bytes"]:
                images = self._classifier.crops(Base64Codec.decode_input(inputs[0]))
            elif names == ["images"]:
                images = NumpyCodec.decode_input(inputs[0])
            else:
                text = f"The input must be `image_bytes` or `images`. Received: {names}"
                raise InferenceError(text)
        except (OverflowError, TypeError, ValueError) as error:
            raise InferenceError(str(error)) from error
        shape = self._classifier.shape
        if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            raise InferenceError(
                f"`images` must be UINT8 of shape {[-1, *shape]}, with at least one image."
                f" Received: {images.dtype} of shape {list(images.shape)}"
            )
        return images

    def _outputs(self, probabilities):
        """Returns the tensors of the answer by name."""
        outputs = {"probabilities": NumpyCodec.encode_output("probabilities", probabilities)}
        if self._classifier.of_pixels:
            classes = probabilities.argmax(-1)
        else:
            classes = np.argsort(-probabilities, axis=-1, kind="stable")[:, :BEST_CLASSES]
            outputs["labels"] = types.ResponseOutput(
                name="labels",
                datatype="BYTES",
                shape=list(classes.shape),
                data=[self._classifier.labels[index] for index in classes.ravel()],
                parameters=types.Parameters(content_type="str"),
            )
        outputs["classes"] = NumpyCodec.encode_output("classes", classes.astype("int32"))
        return outputs


def _tensor(name, datatype, *shape):
    return types.MetadataTensor(name=name, datatype=datatype, shape=list(shape))
