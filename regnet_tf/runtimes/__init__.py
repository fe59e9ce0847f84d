"""Files of networks as functions of images: SavedModel, TFLite, ONNX and OpenVINO."""

from regnet_tf.runtimes.opening import open_file
from regnet_tf.runtimes.runtime import Runtime

__all__ = ["Runtime", "open_file"]
