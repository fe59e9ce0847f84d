"""Client for TensorFlow Serving over gRPC."""

from regnet_command import start_tensorflow

from .answers import OUTPUTS, Prediction, ServingError, VersionStatus, expecting, first_line
from .base import Client, largest_answer

_MOST_IMAGES = 64  # in a request, for the size of an answer: gRPC's limit is one of the connection
_MOST_VALUES = 1 << 16  # of an output, for an image


class GrpcClient(Client):
    """Client for TensorFlow Serving over gRPC; see `Client` for the arguments.

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
            "grpc.max_receive_message_length": largest_answer(_MOST_IMAGES),
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
        with expecting(OUTPUTS):
            rows = zip(
                _rows(tf, outputs["probabilities"], len(image_files)),
                _rows(tf, outputs["classes"], len(image_files)),
                _rows(tf, outputs["labels"], len(image_files)),
                strict=True,
            )
            return [
                Prediction.of(probabilities, classes, [label.decode() for label in labels])
                for probabilities, classes, labels in rows
            ]

    def _status(self):
        request = self._apis["get_model_status_pb2"].GetModelStatusRequest()
        self._specify(request.model_spec)
        service = self._apis["model_service_pb2_grpc"].ModelServiceStub(self._channel)
        versions = self._ask(service.GetModelStatus, request).model_version_status
        with expecting("a list of versions"):
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
            raise ServingError(error.code().name, first_line(error.details())) from error


def _rows(tf, proto, count):
    """Returns the values of an output as `count` lists.

    Raises:
        ValueError: if it is not a matrix of `count` rows. A small message may claim a large one.
    """
    shape = [side.size for side in proto.tensor_shape.dim]
    if len(shape) != 2 or shape[0] != count or not 0 <= shape[1] <= _MOST_VALUES:
        raise ValueError(f"an output has the shape {shape} for {count} images")
    return tf.make_ndarray(proto).tolist()
