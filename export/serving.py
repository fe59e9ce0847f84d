"""The folder that TensorFlow Serving reads: versions, warm-up requests, configuration."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import replacing

from .graph import signature_names
from .photographs import encoded

_WARM_UP = Path("assets.extra", "tf_serving_warmup_requests")
_LARGEST_BATCH = 32

#: Files in the folder next to the models: name -> description.
FILES = {
    "models.config": "the models, their versions and labels",
    "batching.config": "how single requests become batches",
    "monitoring.config": "metrics for Prometheus",
    "docker-compose.yml": "a server",
    "README.md": "how to start, check, roll back",
}


def versions(folder: Path) -> list[int]:
    """Returns the versions in a model's folder, in order."""
    if not folder.is_dir():
        return []
    return sorted(int(one.name) for one in folder.iterdir() if one.name.isdecimal())


def next_version(folder: Path, version: int | None = None, overwrite: bool = False) -> int:
    """Returns the number of a new version.

    Args:
        folder: a `Path`, `<out>/serving/<name>`.
        version: requested number; by default the one after the last version.
        overwrite: whether the version may exist.

    Raises:
        UserError: if the version exists, or is not positive.
    """
    there = versions(folder)
    if version is None:
        return max(there, default=0) + 1
    if version < 1:
        raise UserError(f"`version` must be at least 1. Received: {version}")
    if version in there and not overwrite:
        raise UserError(
            f"{folder / str(version)} already exists. Omit --version to write the next version,"
            " or give --overwrite to replace it."
        )
    return version


def write_warm_up(saved_model, name, images):
    """Adds warm-up requests, which a server sends to itself after it has loaded a model.

    Without them, the first request of each signature and batch size is slow, since TensorFlow then
    optimizes its graph.

    Args:
        saved_model: a `Path`, the folder of a SavedModel.
        name: name of the model.
        images: images for the requests, uint8 `(count, height, width, channels)`.
    """
    logs = import_optional("tensorflow_serving.apis.prediction_log_pb2", extra="export")

    def inputs(signature, batch_size):
        batch = np.resize(images, (batch_size, *images.shape[1:]))
        if signature == "serving_default":
            return {"image_bytes": [encoded(image) for image in batch]}
        return {"images": batch}

    path = saved_model / _WARM_UP
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signature_names(saved_model):
            for batch_size in (1, _LARGEST_BATCH):
                log = logs.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for key, value in inputs(signature, batch_size).items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
                writer.write(log.SerializeToString())


def read_warm_up(saved_model: Path) -> list:
    """Returns a SavedModel's warm-up requests, as `tensorflow_serving.apis.predict_pb2` objects."""
    logs = import_optional("tensorflow_serving.apis.prediction_log_pb2", extra="export")
    records = tf.data.TFRecordDataset(str(saved_model / _WARM_UP)).as_numpy_iterator()
    return [logs.PredictionLog.FromString(record).predict_log.request for record in records]


def write_configuration(folder):
    """Writes `FILES` for the models of a folder.

    A model's label `stable` stays at its version. A model without the label gets it at its first
    version. The label `canary` is at the newest version. Without models nothing is written.

    Args:
        folder: a `Path`, `<out>/serving`.

    Raises:
        UserError: if `models.config` exists and cannot be read.
    """
    cores = os.cpu_count() or 1
    names = sorted(one.name for one in folder.glob("*/") if versions(one))
    if not names:
        return
    values = {"name": names[0], "cores": cores, "largest": _LARGEST_BATCH}
    texts = {
        "models.config": _models(folder, names),
        "batching.config": _batching(cores),
        "monitoring.config": _MONITORING,
        "docker-compose.yml": _filled("docker-compose.yml", values),
        "README.md": _filled("README.md", values),
    }
    for file, text in texts.items():
        with replacing(folder / file) as path:
            path.write_text(text)


def read_stable(folder: Path) -> dict[str, int]:
    """Returns a dict: name of a model -> version with the label `stable`, or 0 without one.

    Args:
        folder: a `Path`, `<out>/serving`.

    Raises:
        UserError: if `models.config` exists and cannot be read.
    """
    config = _config_pb2().ModelServerConfig()
    file = folder / "models.config"
    if file.is_file():
        try:
            text_format.Parse(file.read_bytes(), config)
        except (text_format.ParseError, UnicodeDecodeError) as error:
            raise UserError(
                f"{file} is not a configuration of TensorFlow Serving: {error}"
            ) from error
    return {one.name: one.version_labels["stable"] for one in config.model_config_list.config}


def _config_pb2():
    return import_optional("tensorflow_serving.config.model_server_config_pb2", "export")


def _models(folder, names):
    stable = read_stable(folder)
    new = _config_pb2().ModelServerConfig()
    for name in names:
        there = versions(folder / name)
        model = new.model_config_list.config.add()
        model.name, model.base_path = name, f"/models/{name}"
        model.model_platform = "tensorflow"
        kept = stable.get(name, 0)
        kept = kept if kept in there else there[0]
        for version in sorted({kept, there[-1]}):
            model.model_version_policy.specific.versions.append(version)
        model.version_labels["stable"] = kept
        model.version_labels["canary"] = there[-1]
    return text_format.MessageToString(new)


def _batching(cores):
    sizes = [1 << power for power in range(_LARGEST_BATCH.bit_length())]
    return "\n".join(
        [
            f"max_batch_size {{ value: {_LARGEST_BATCH} }}",
            "batch_timeout_micros { value: 2000 }",
            f"num_batch_threads {{ value: {cores} }}",
            f"max_enqueued_batches {{ value: {8 * cores} }}",
            *(f"allowed_batch_sizes: {size}" for size in sizes),
            "",
        ]
    )


_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def _filled(template, values):
    """Returns a template of this package with each `@NAME@` replaced by its value."""
    text = (Path(__file__).parent / "templates" / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", str(value))
    return text
