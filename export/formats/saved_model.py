"""SavedModel for a server, with signatures from image files to class names."""

from pathlib import Path

import tensorflow as tf

from regnet_tf._boxes import suppressed
from regnet_tf._decoding import CHANNELS
from regnet_tf._errors import UserError

from ..crops import crops_of
from ..descriptions import descriptions
from ..graph import offending_ops
from ..network import DETECTIONS
from ..serving import write_warm_up
from .base import Artefact, Format

#: Number of best classes that `serving_default` names.
BEST_CLASSES = 5
_MAIN = ("probabilities", DETECTIONS)  # outputs of the signature `images`


def write_saved_model(path, network, preprocessing, labels, files=None):
    """Writes a SavedModel of a network.

    The first dimension of every input and output is the batch. The signatures are:

    - `serving_default`: from `image_bytes`, the contents of image files, string `(batch,)`, to
      `probabilities` float32 `(batch, classes)`; `classes` int32 `(batch, 5)`, the best classes,
      best first; and `labels` string `(batch, 5)`, their names. Without a head, to `features`.
      There is no `serving_default` if files cannot have the network's number of channels.
    - `images`: from `images`, uint8 `(batch, height, width, channels)`, to `probabilities`.
    - `logits`: from `images` to `logits`.
    - `features`: from `images` to `features` float32 `(batch, features)`, the input of the head.

    A detector has `serving_default`, from `image_bytes` to the detections after non-maximum
    suppression: `boxes` float32 `(batch, 100, 4)`, top, left, bottom and right as shares of the
    image; `scores` and `classes` `(batch, 100)`; `labels`, their names; `counts` int32 `(batch,)`,
    the number of detections; the rest is zeros. `detections` is the same from `images`. `images`
    returns `detections` before the suppression, `(batch, anchors, 4 + classes)`.

    If every pixel has a class, probabilities and logits are `(batch, height, width, classes)`.
    `serving_default` then returns the best class of each pixel as `classes`, int32 `(batch, height,
    width)`, and there are no `labels` and no `features`.

    Args:
        path: path of the folder, which must not exist.
        network: an `export.network.Network`.
        preprocessing: a `regnet_tf.Preprocessing`, which becomes part of the graph.
        labels: names of the classes in words.
        files: texts to write to the folder `assets.extra`, by name.
    """
    module = _Served(network, preprocessing, labels)
    tf.saved_model.save(module, str(path), signatures=module.signatures())
    extra = Path(path, "assets.extra")
    extra.mkdir()
    for name, text in (files or {}).items():
        (extra / name).write_text(text, encoding="utf-8")


class _Served(tf.Module):
    def __init__(self, network, preprocessing, labels):
        super().__init__()
        self._network = network.traced(None, network.size)
        self._variables = network.variables
        self._preprocessing = preprocessing
        self._labels = list(labels)
        self._outputs = network.outputs
        self._shape = (None, *network.size, network.channels)

    def signatures(self):
        images = tf.TensorSpec(self._shape, tf.uint8, name="images")
        functions = {
            "images" if name in _MAIN else name: (self._from_images(name), images)
            for name in self._outputs
        }
        if DETECTIONS in self._outputs:
            functions[DETECTIONS] = lambda images: self._detected(self._of(images)), images
        if self._shape[-1] in CHANNELS:
            files = tf.TensorSpec((None,), tf.string, name="image_bytes")
            functions["serving_default"] = self._from_files, files
        return {
            name: tf.function(function, input_signature=[spec], autograph=False)
            for name, (function, spec) in functions.items()
        }

    def _from_files(self, image_bytes):
        outputs = self._of(crops_of(image_bytes, self._preprocessing))
        if DETECTIONS in outputs:
            return {**outputs, **self._detected(outputs)}
        if "probabilities" not in outputs:
            return {"features": outputs["features"]}
        probabilities = outputs["probabilities"]
        if probabilities.shape.rank == 4:
            classes = tf.argmax(probabilities, -1, tf.int32)
            return {"probabilities": probabilities, "classes": classes}
        best = tf.math.top_k(probabilities, min(BEST_CLASSES, len(self._labels)))
        names = tf.gather(tf.constant(self._labels), best.indices)
        return {"probabilities": probabilities, "classes": best.indices, "labels": names}

    def _detected(self, outputs):
        boxes, scores, classes, counts = suppressed(outputs[DETECTIONS])
        labels = tf.gather(tf.constant(self._labels), classes)
        return {
            **{"boxes": boxes, "scores": scores, "classes": classes},
            **{"labels": labels, "counts": counts},
        }

    def _from_images(self, name):
        return lambda images: {name: self._of(images)[name]}

    def _of(self, images):
        # oneDNN's fused convolutions return a wrong shape for an empty batch.
        some = tf.debugging.Assert(tf.shape(images)[0] > 0, ["A batch must hold an image"])
        with tf.control_dependencies([some]):
            images = tf.identity(images)
        return self._network(self._preprocessing.normalize(images))


def _artefacts(job):
    source = job.source

    def write(path):
        files = descriptions(source, job.network)
        write_saved_model(path, job.network, source.preprocessing, source.labels, files)
        offending = offending_ops(path)
        if offending:
            raise UserError(
                "The SavedModel contains operations that TensorFlow Serving refuses:"
                f" {'; '.join(offending[:3])}"
            )
        write_warm_up(path, source.name, job.images)

    path = f"serving/{source.name}/{job.version}"
    return [Artefact("SavedModel", path, "float32", write)]


FORMAT = Format(
    name="saved_model",
    title="SavedModel",
    folder="serving",
    what="for TensorFlow Serving",
    modules=("tensorflow_serving.apis.prediction_log_pb2",),
    extra="export",
    artefacts=_artefacts,
    precisions=(),
    has_texts=False,
)
