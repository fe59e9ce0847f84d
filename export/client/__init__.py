"""Clients for a RegNet on a model server.

`RestClient` and `GrpcClient` ask TensorFlow Serving, and `V2Client` a server of the KServe v2
protocol. gRPC needs `pip install 'regnet_tf[export]'`; the others need no other package. All
connect directly, not through a proxy.
"""

from .answers import Prediction, ServingError, VersionStatus
from .grpc import GrpcClient
from .rest import RestClient
from .v2 import V2Client

__all__ = [
    "GrpcClient",
    "Prediction",
    "RestClient",
    "ServingError",
    "V2Client",
    "VersionStatus",
]
