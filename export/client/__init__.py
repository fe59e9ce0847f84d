"""Clients for a RegNet on TensorFlow Serving. REST needs no other package.

gRPC needs `pip install 'regnet_tf[export]'`. The clients connect directly, not through a proxy.
"""

from .answers import Prediction, ServingError, VersionStatus
from .grpc import GrpcClient
from .rest import RestClient

__all__ = ["GrpcClient", "Prediction", "RestClient", "ServingError", "VersionStatus"]
