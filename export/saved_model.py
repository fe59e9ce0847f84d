"""SavedModel for a server, with signatures from image files to class names."""

import tensorflow as tf

from regnet_tf.preprocessing import decode_image

#: Number of best classes that `serving_default` names.
BEST_CLASSES = 5
_IMAGES_AT_ONCE = 16


def write_saved_model(path, network, preprocessing, labels):
    """Writes a SavedModel of a network.

    The first dimension of every input and output is the batch. The signatures are:

    - `serving_default`: from `image_bytes`, the contents of JPEG or PNG files, string `(batch,)`,
      to `probabilities` float32 `(batch, classes)`; `classes` int32 `(batch, 5)`, the best classes,
      best first; and `labels` string `(batch, 5)`, their names. Without a classifier, to
      `features`.
    - `images`: from `images`, uint8 `(batch, height, width, 3)`, to `probabilities`.
    - `logits`: from `images` to `logits`.
    - `features`: from `images` to `features` float32 `(batch, channels)`, the pooled last feature
      map.

    If every pixel has a class, probabilities and logits are `(batch, height, width, classes)`.
    `serving_default` then returns the best class of each pixel as `classes`, int32 `(batch, height,
    width)`, and there are no `labels` and no `features`.

    Args:
        path: path of the folder, which must not exist.
        network: an `export.network.Network`.
        preprocessing: a `regnet_tf.Preprocessing`, which becomes part of the graph.
        labels: names of the classes.
    """
    module = _Classifier(network, preprocessing, labels)
    tf.saved_model.save(module, str(path), signatures=module.signatures())


class _Classifier(tf.Module):
    def __init__(self, network, preprocessing, labels):
        super().__init__()
        self._network = network.traced(None, network.size)
        self._variables = network.variables
        self._probabilities = network.probabilities
        self._preprocessing = preprocessing
        self._labels = list(labels)
        self._outputs = network.outputs
        self._size = network.size

    def signatures(self):
        images = tf.TensorSpec((None, *self._size, 3), tf.uint8, name="images")
        files = tf.TensorSpec((None,), tf.string, name="image_bytes")
        functions = {
            "serving_default": (self._from_files, files),
        }
        if "features" in self._outputs:
            functions["features"] = self._features, images
        if "logits" in self._outputs:
            functions["images"] = self._from_images, images
            functions["logits"] = self._logits, images
        return {
            name: tf.function(function, input_signature=[spec], autograph=False)
            for name, (function, spec) in functions.items()
        }

    def _from_files(self, image_bytes):
        crops = _decoded(image_bytes, self._preprocessing)
        if "logits" not in self._outputs:
            return {"features": self._of(crops)["features"]}
        probabilities = self._probabilities(self._of(crops)["logits"])
        if probabilities.shape.rank == 4:
            classes = tf.argmax(probabilities, -1, tf.int32)
            return {"probabilities": probabilities, "classes": classes}
        best = tf.math.top_k(probabilities, min(BEST_CLASSES, len(self._labels)))
        names = tf.gather(tf.constant(self._labels), best.indices)
        return {"probabilities": probabilities, "classes": best.indices, "labels": names}

    def _from_images(self, images):
        return {"probabilities": self._probabilities(self._of(images)["logits"])}

    def _logits(self, images):
        return {"logits": self._of(images)["logits"]}

    def _features(self, images):
        return {"features": self._of(images)["features"]}

    def _of(self, images):
        # oneDNN's fused convolutions return a wrong shape for an empty batch.
        some = tf.debugging.Assert(tf.shape(images)[0] > 0, ["A batch must hold an image"])
        with tf.control_dependencies([some]):
            images = tf.identity(images)
        return self._network(self._preprocessing.normalize(images))


def _decoded(image_bytes, preprocessing):
    """Decodes and crops a batch of files; an error names the files that are not images.

    A `tf.data.Dataset` decodes several files at a time and skips files that fail. A loop would stop
    at the first bad file without naming it.
    """
    size = preprocessing.image_size

    def crop(index, file):
        return index, preprocessing.resize_and_crop(decode_image(file))

    count = tf.size(image_bytes, tf.int64)
    files = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate()
    crops = files.map(crop, num_parallel_calls=_IMAGES_AT_ONCE).ignore_errors()
    batch = crops.batch(tf.maximum(count, 1))
    spec = crops.element_spec[1]
    nothing = tf.zeros(0, tf.int64), tf.zeros((0, size, size, 3), spec.dtype)
    batch = batch.concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    indices, images = batch.with_options(options).get_single_element()
    decoded = tf.scatter_nd(indices[:, None], tf.ones_like(indices), [count])
    failed = tf.where(decoded == 0)[:, 0]
    message = tf.strings.format(
        "No whole JPEG or PNG: image {} (counted from 0) of a batch of {}", (failed, count)
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.size(failed) == 0, [message])]):
        return tf.ensure_shape(tf.identity(images), (None, size, size, 3))
