"""A KServe server as others write it: ONNX Runtime alone; images in, probabilities out.

kserve_images.py FILE.onnx NAME PORT
"""

import sys

import kserve
import onnxruntime


class Images(kserve.Model):
    """An `.onnx` file of images, uint8 `(batch, height, width, channels)`."""

    def __init__(self, name, file):
        super().__init__(name)
        self._session = onnxruntime.InferenceSession(file)
        self.ready = True

    def get_input_types(self):
        return [
            {"name": each.name, "datatype": "UINT8", "shape": [-1, *each.shape[1:]]}
            for each in self._session.get_inputs()
        ]

    def get_output_types(self):
        return [
            {"name": each.name, "datatype": "FP32", "shape": [-1, *each.shape[1:]]}
            for each in self._session.get_outputs()
        ]

    def predict(self, payload, headers=None, response_headers=None):
        (given,) = payload.inputs
        names = [each.name for each in payload.request_outputs]
        outputs = []
        for name, array in zip(
            names, self._session.run(names, {given.name: given.as_numpy()}), strict=True
        ):
            output = kserve.InferOutput(name, list(array.shape), "FP32")
            output.set_data_from_numpy(array, binary_data=False)
            outputs.append(output)
        return kserve.InferResponse(payload.id, self.name, outputs)


if __name__ == "__main__":
    file, name, port = sys.argv[1:]
    kserve.ModelServer(http_port=int(port), enable_grpc=False).start([Images(name, file)])
