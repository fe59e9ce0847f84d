"""Image data sets of tensorflow-datasets, with encoded images and labels or masks."""

import dataclasses
import functools
import importlib.util
import shlex
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError, import_optional, nearest
from regnet_tf.class_names import imagenet_subset

from .maps import IGNORED, decode_map
from .parallel import parallel_map


class Masks(NamedTuple):
    """The masks of a data set: key of the feature, its value for the first class, class names."""

    key: str
    first: int
    class_names: tuple[str, ...]


#: Data sets with masks that can be trained on; other values than those of the classes are ignored.
MASKS = {
    "oxford_iiit_pet": Masks("segmentation_mask", 1, ("pet", "background", "outline")),
}
_FILES_IN_TURNS = 16
_SHUFFLE_BUFFER = 10_000  # encoded images; about 110 KB each in ImageNet


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsSplit:
    """A split of a prepared data set.

    Args:
        builder: a `tfds.core.DatasetBuilder` with prepared data.
        name: name of the split, such as "train".
        image_key: key of the image in an example.
        label_key: key of the label in an example.
        masks: the `Masks` that are the labels, or None.
        kept: the labels of the data set's classes, in the order of the classes; None if they are
            the numbers of the classes.
    """

    builder: Any
    name: str
    image_key: str
    label_key: str
    masks: Masks | None = None
    kept: tuple[int, ...] | None = None

    @property
    def target(self) -> str:
        """What has classes: "class" or "classes" of an image, or "pixels"."""
        if self.masks is not None:
            return "pixels"
        return "classes" if _are_several(self._label) else "class"

    @property
    def paths(self) -> None:
        """Nothing: the images have no files of their own."""
        return None

    @property
    def size(self) -> int:
        """The number of images; of several labels an image, with those that have none."""
        return self.builder.info.splits[self.name].num_examples

    def examples(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns each image once, encoded, in the order of the files.

        Args:
            shard: `(index, count)`: every `count`-th image, starting at `index`.
        """
        return self._with_maps(self._examples(tf.data.TFRecordDataset(self._files), shard))

    def shuffled(self, seed: int, epoch: Any, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns each image once, encoded, in a random order.

        The files are shuffled and 16 of them are read in turns. The images are then shuffled within
        a buffer. Outside of graphs, the order also depends on TensorFlow's global seed.

        Args:
            seed: an integer.
            epoch: number or scalar tensor; each epoch has a different order.
            shard: `(index, count)`. Shards of one epoch are disjoint. If the number of files is a
                multiple of `count`, each shard reads different files.
        """
        seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
        files = tf.random.experimental.stateless_shuffle(tf.constant(self._files), seeds)
        index, count = shard
        if len(self._files) % count == 0:
            files, shard = files[index::count], (0, 1)
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=_FILES_IN_TURNS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # `shuffle` takes a single seed, so derive one from seed and epoch.
        seed = tf.random.stateless_uniform([], seeds, 1, tf.int64.max, tf.int64)
        if not tf.executing_eagerly():
            # This affects only this function's graph. With global seed 0, `shuffle` would reject a
            # tensor as seed.
            tf.random.set_seed(1)
        return self._with_maps(
            self._examples(records, shard).shuffle(
                _SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=False
            )
        )

    @property
    def _label(self):
        return self.builder.info.features[self.label_key]

    @property
    def _files(self):
        return [str(path) for path in self.builder.info.splits[self.name].filepaths]

    def _examples(self, records, shard):
        """Parses serialized examples to (encoded image, label or encoded mask).

        Images without any of several labels are left out.
        """
        tfds = import_optional("tensorflow_datasets")
        index, count = shard
        features = self.builder.info.features
        encoded = [self.image_key] if self.masks is None else [self.image_key, self.label_key]
        decoders = {key: tfds.decode.SkipDecoding() for key in encoded}

        def parse(record):
            example = features.deserialize_example(record, decoders=decoders)
            label = example[self.label_key]
            return example[self.image_key], label if self.masks else self._as_number(label)

        records = records.shard(count, index) if count > 1 else records
        examples = parallel_map(records, parse)
        if self.target != "classes":
            return examples
        return examples.filter(lambda _, label: tf.reduce_any(label > 0))

    def _as_number(self, label):
        """Returns the number of a label's class; of several labels a vector of 0 and 1."""
        label = tf.cast(label, tf.int64)
        if _are_several(self._label):
            return tf.reduce_max(tf.one_hot(label, self._label.num_classes, dtype=tf.uint8), 0)
        if self.kept is None:
            return label
        numbers = np.full(self._label.num_classes, -1)
        numbers[list(self.kept)] = np.arange(len(self.kept))
        return tf.gather(tf.constant(numbers, tf.int64), label)

    def _with_maps(self, examples):
        """Decodes the masks, if these are the labels, to maps of classes."""
        if self.masks is None:
            return examples
        first = tf.constant(self.masks.first, tf.int32)
        classes = len(self.masks.class_names)

        def with_map(image, mask):
            pixels = tf.cast(decode_map(mask), tf.int32) - first
            pixels = tf.where((pixels >= 0) & (pixels < classes), pixels, IGNORED)
            return image, tf.cast(pixels, tf.uint8)

        return parallel_map(examples, with_map)


def load(name, data_dir, target=None):
    """Loads a prepared data set. ImageNet-A and ImageNet-R have 200 of ImageNet's classes.

    Args:
        name: name in tensorflow-datasets, such as "imagenet2012" or "imagenet_v2/topimages".
        data_dir: data directory; None for the default of tensorflow-datasets.
        target: "pixels" for masks; None for labels.

    Returns:
        `(class_names, train, test)`; a missing split is None.

    Raises:
        UserError: as in `find`; if the data is not prepared (with the command to prepare it); if
            its file format is not TFRecord; or if it has no masks that `MASKS` knows.
    """
    builder = find(name, data_dir)
    masks = MASKS.get(builder.name) if target == "pixels" else None
    if target == "pixels" and masks is None:
        raise UserError(f"{name} holds no masks. Data sets with masks: {', '.join(MASKS)}.")
    if not is_prepared(builder):
        told = f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else ""
        raise UserError(
            f"{name} is not prepared in {builder.data_dir}. Command:"
            f" regnet data prepare {name}{told}"
        )
    if builder.info.file_format.value != "tfrecord":
        raise UserError(
            f"{name} must be prepared as TFRecords. Received: {builder.info.file_format.value}, in"
            f" {builder.data_dir}"
        )
    features, keys = builder.info.features, builder.info.supervised_keys
    names = builder.info.splits
    keys = (keys[0], keys[1] if masks is None else masks.key)
    class_names = features[keys[1]].names if masks is None else masks.class_names
    subset, kept = imagenet_subset(builder.name), None
    if subset is not None:
        class_names, kept = subset, tuple(map(class_names.index, subset))
    splits = [
        TfdsSplit(builder, kind, *keys, masks, kept) if kind in names else None
        for kind in ("train", "validation" if "validation" in names else "test")
    ]
    return tuple(class_names), *splits


def find(name, data_dir=None):
    """Returns the builder of a data set in tensorflow-datasets, prepared or not.

    Args:
        name: name in tensorflow-datasets, optionally with a configuration or version.
        data_dir: data directory; None for the default of tensorflow-datasets.

    Returns:
        A `tfds.core.DatasetBuilder`.

    Raises:
        UserError: if tensorflow-datasets is missing; if it lacks the data set (with the nearest
            names) or configuration; or if the data set is not one of images with labels.
    """
    tfds = import_optional("tensorflow_datasets")
    if not is_known(name):
        raise UserError(
            f"tensorflow-datasets has no data set called {name!r}.{nearest(name, known())}"
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # unknown configuration, unknown version
        raise UserError(f"{name} does not exist: {_reason(error)}") from error
    features, keys = builder.info.features, builder.info.supervised_keys
    if not keys or not _are_image_and_label(tfds, features, keys):
        raise UserError(f"{name} holds no images with labels.")
    return builder


def is_prepared(builder: Any) -> bool:
    """Returns whether the data of a builder is completely prepared."""
    return bool(builder.info.splits)


def is_known(name: str) -> bool:
    """Returns whether tensorflow-datasets has this data set; the name may have a configuration."""
    return name.partition("/")[0].partition(":")[0] in known()


@functools.cache
def known() -> tuple[str, ...]:
    """Returns all names in tensorflow-datasets, or an empty tuple if it is not installed."""
    if importlib.util.find_spec("tensorflow_datasets") is None:
        return ()
    return tuple(
        import_optional("tensorflow_datasets").list_builders(with_community_datasets=False)
    )


def _reason(error):
    """Returns the reason in an error, without the arguments before and the names after it."""
    return str(error).partition('}": ')[2].partition(". Here are")[0].rstrip(".") + "."


def _are_image_and_label(tfds, features, keys):
    """Returns whether an example is a uint8 image with a class label, or with several."""
    image, label = (features[key] for key in keys[:2])
    is_image = isinstance(image, tfds.features.Image) and np.dtype(image.np_dtype) == np.uint8
    label = label.feature if _are_several(label) else label
    return is_image and isinstance(label, tfds.features.ClassLabel)


def _are_several(label):
    """Returns whether a feature is a sequence of labels."""
    return isinstance(label, import_optional("tensorflow_datasets").features.Sequence)
