"""SavedModel for a server, with signatures from image files to class names."""

from pathlib import Path

import tensorflow as tf

from regnet_tf._decoding import CHANNELS
from regnet_tf._decoding import decode as decode_image
from regnet_tf._errors import UserError
from regnet_tf._headers import size_of

from ..descriptions import descriptions
from ..graph import offending_ops
from ..serving import write_warm_up
from .base import Artefact, Format

#: Number of best classes that `serving_default` names.
BEST_CLASSES = 5
_IMAGES_AT_ONCE = 16


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
            "images" if name == "probabilities" else name: (self._from_images(name), images)
            for name in self._outputs
        }
        if self._shape[-1] in CHANNELS:
            files = tf.TensorSpec((None,), tf.string, name="image_bytes")
            functions["serving_default"] = self._from_files, files
        return {
            name: tf.function(function, input_signature=[spec], autograph=False)
            for name, (function, spec) in functions.items()
        }

    def _from_files(self, image_bytes):
        outputs = self._of(_decoded(image_bytes, self._preprocessing))
        if "probabilities" not in outputs:
            return {"features": outputs["features"]}
        probabilities = outputs["probabilities"]
        if probabilities.shape.rank == 4:
            classes = tf.argmax(probabilities, -1, tf.int32)
            return {"probabilities": probabilities, "classes": classes}
        best = tf.math.top_k(probabilities, min(BEST_CLASSES, len(self._labels)))
        names = tf.gather(tf.constant(self._labels), best.indices)
        return {"probabilities": probabilities, "classes": best.indices, "labels": names}

    def _from_images(self, name):
        return lambda images: {name: self._of(images)[name]}

    def _of(self, images):
        # oneDNN's fused convolutions return a wrong shape for an empty batch.
        some = tf.debugging.Assert(tf.shape(images)[0] > 0, ["A batch must hold an image"])
        with tf.control_dependencies([some]):
            images = tf.identity(images)
        return self._network(self._preprocessing.normalize(images))


def _decoded(image_bytes, preprocessing):
    """Decodes and crops a batch of files; an error names the files that cannot be decoded.

    WebP is left out: TensorFlow before 2.20 lacks the operation, and would not load the graph.

    A `tf.data.Dataset` decodes several files at a time and skips files that fail. A loop would stop
    at the first bad file without naming it.
    """
    shape = preprocessing.image_size, preprocessing.image_size, preprocessing.channels
    form = preprocessing.channels, preprocessing.exif_orientation, preprocessing.max_pixels
    dtype = tf.float32 if preprocessing.interpolation == "pycls" else tf.uint8

    def decoded(file):
        image = decode_image(file, *form, "encoded bytes", webp=False)
        return preprocessing.resize_and_crop(image)

    def crop(index, file):
        size = size_of(file)
        fits = tf.reduce_prod(size) <= preprocessing.max_pixels
        return index, size, tf.cond(fits, lambda: decoded(file), lambda: tf.zeros(shape, dtype))

    count = tf.size(image_bytes, tf.int64)
    files = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate()
    crops = files.map(crop, num_parallel_calls=_IMAGES_AT_ONCE).ignore_errors()
    batch = crops.batch(tf.maximum(count, 1))
    nothing = tf.zeros(0, tf.int64), tf.zeros((0, 2), tf.int64), tf.zeros((0, *shape), dtype)
    batch = batch.concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    indices, sizes, images = batch.with_options(options).get_single_element()
    with tf.control_dependencies(_refused(indices, sizes, count, preprocessing.max_pixels)):
        return tf.ensure_shape(tf.identity(images), (None, *shape))


def _refused(indices, sizes, count, max_pixels):
    """Returns assertions that all files of a batch are images, and none of them is too large.

    Args:
        indices: places of the decoded files in the batch, int64 `(decoded,)`.
        sizes: heights and widths of these files, int64 `(decoded, 2)`.
        count: number of files in the batch, int64.
        max_pixels: largest number of pixels in a file.
    """
    decoded = tf.scatter_nd(indices[:, None], tf.ones_like(indices), [count])
    failed = tf.where(decoded == 0)[:, 0]
    damaged = tf.strings.format(
        "No whole image file: image {} (counted from 0) of a batch of {}", (failed, count)
    )
    large = tf.where(tf.reduce_prod(sizes, 1) > max_pixels)[:, 0]
    first = tf.concat([tf.gather(sizes, large), tf.zeros((1, 2), tf.int64)], 0)[0]
    too_large = tf.strings.format(
        f"More than {max_pixels:,} pixels: image {{}} (counted from 0) of a batch of {{}}; the"
        " first of them has {} x {}",
        (tf.gather(indices, large), count, first[1], first[0]),
    )
    whole = tf.debugging.Assert(tf.size(failed) == 0, [damaged])
    with tf.control_dependencies([whole]):
        return [tf.debugging.Assert(tf.size(large) == 0, [too_large])]


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
