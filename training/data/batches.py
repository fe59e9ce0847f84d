"""Batches of prepared images, for training and tests.

All randomness depends only on the recipe's seed and an image's position in the run. So a run that
resumes sees the same batches as a run without interruption.
"""

import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf.preprocessing import Preprocessing

from ..augmentation import batch_augmentation, decoded, image_augmentation
from ..recipes import Recipe
from ..recipes.parts import Images, Schedule
from .maps import cropped_map, decode_map
from .parallel import made_ahead, parallel_map
from .splits import Split


def steps_per_epoch(split: Split, schedule: Schedule) -> int:
    """Returns the number of batches in an epoch.

    An incomplete last batch counts if `schedule.last_batch` is "fill".

    Raises:
        UserError: if `schedule.last_batch` is "drop" and there are fewer images than in a batch.
    """
    steps = split.size // schedule.batch_size
    if schedule.last_batch == "fill":
        steps = -(-split.size // schedule.batch_size)
    if not steps:
        raise UserError(
            f"`schedule.batch_size` must be at most {split.size}, the number of training images,"
            " where `schedule.last_batch` is drop."
            f" Received: schedule.batch_size={schedule.batch_size}"
        )
    return steps if schedule.max_steps is None else min(steps, schedule.max_steps)


def coverage(split: Split, schedule: Schedule) -> str | None:
    """Returns a line about images that an epoch leaves out or has again; None if there are none."""
    steps, batch_size = steps_per_epoch(split, schedule), schedule.batch_size
    missing = split.size - steps * batch_size
    if missing == 0:
        return None
    if missing < 0:
        again = "1 image that comes" if missing == -1 else f"{-missing:,} images that come"
        return f"The last batch of each epoch is filled with {again} again (schedule.last_batch)."
    why = f"an incomplete batch of {batch_size} is dropped (schedule.last_batch)"
    if steps == schedule.max_steps:
        why = f"it ends after {steps:,} batches of {batch_size} (schedule.max_steps)"
    return f"Each epoch leaves out {missing:,} of {split.size:,} images, others each time: {why}."


def training_batches(
    split: Split,
    recipe: Recipe,
    classes: int,
    first_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Returns the batches of all epochs in sequence. Each epoch has a different order.

    All batches have the same size. If `schedule.last_batch` is "fill", the last batch of an epoch
    is filled with the epoch's first images.

    Args:
        split: a split of a `training.data.DataSet`.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        first_step: number of batches to skip, to resume a run.
        context: the `tf.distribute.InputContext` of a worker. The worker reads its part of each
            batch and distributes it evenly over its replicas, in turns. None for whole batches.

    Returns:
        `(images, labels)` batches: images float32 `(batch, size, size, channels)`; labels float32.
        Labels are one-hot vectors, or 1 for each class of an image, `(batch, classes)`. For
        segmentation they are one-hot vectors of pixels, `(batch, size, size, classes)`, with zeros
        only for ignored pixels. For detection they are boxes, `(batch, most, 5)`.
    """
    context = context or tf.distribute.InputContext()
    workers, index = context.num_input_pipelines, context.input_pipeline_id
    schedule, target = recipe.schedule, split.target
    batch_size = schedule.batch_size // workers
    steps = steps_per_epoch(split, schedule)
    count = steps * batch_size
    first_epoch, first_batch = divmod(first_step, steps)
    augment_image = image_augmentation(recipe.augmentation, recipe.images)
    augment_batch = batch_augmentation(recipe.augmentation, recipe.seed)

    def prepare(number, example):
        image, label = example
        # Workers take the images of a batch in turns.
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), number * workers + index])
        if target == "pixels":
            return augment_image(image, seed, pixels=_as_map(label, recipe.images))
        if target == "boxes":
            return augment_image(image, seed, boxes=label)
        label = tf.one_hot(label, classes) if target == "class" else tf.cast(label, tf.float32)
        return augment_image(image, seed), label

    def finish(number, batch):
        if target == "boxes":
            return batch
        images, labels = augment_batch(*batch, number)
        return images, tf.one_hot(labels, classes) if target == "pixels" else labels

    @tf.autograph.experimental.do_not_convert
    def examples_of(epoch):
        # The epoch's first images fill its last batch. When each worker reads whole files, one
        # worker may also have a few images too few.
        return split.shuffled(recipe.seed, epoch, (index, workers)).repeat().take(count)

    examples = tf.data.Dataset.range(first_epoch, schedule.epochs).flat_map(examples_of)
    examples = examples.skip(first_batch * batch_size).enumerate(first_step * batch_size)
    examples = parallel_map(examples, prepare)
    batches = examples.batch(batch_size, drop_remainder=True).enumerate(first_step)
    batches = parallel_map(batches, finish)
    share = context.get_per_replica_batch_size(schedule.batch_size)
    return made_ahead(batches if share == batch_size else batches.rebatch(share))


def test_examples(
    split: Split,
    preprocessing: Preprocessing,
    shard: tuple[int, int] = (0, 1),
    normalized: bool = True,
) -> tf.data.Dataset:
    """Returns every image of a split exactly once, in a fixed order.

    Args:
        split: a split of a `training.data.DataSet`.
        preprocessing: a `regnet_tf.Preprocessing`.
        shard: `(index, count)`, as in the split's `examples`.
        normalized: whether to normalize images; if False, they are uint8.

    Returns:
        `(image, label)`: images float32 `(image_size, image_size, channels)`. Labels are int64
        indices of classes; or float32 `(classes,)`, 1 for each class of the image; or int64 maps
        `(image_size, image_size)`, with 255 for ignored pixels; or boxes, float32 `(most, 5)`.
    """

    def prepare(image, label):
        image, label = test_crop(image, label, split.target, preprocessing)
        return preprocessing.normalize(image) if normalized else image, label

    return parallel_map(split.examples(shard), prepare)


def test_crop(image, label, target, preprocessing):
    """Returns an example of a split as `test_examples` does, before normalization.

    Args:
        image: the example's image.
        label: the example's label.
        target: the split's `target`.
        preprocessing: a `regnet_tf.Preprocessing`.
    """
    form = (preprocessing.channels, preprocessing.exif_orientation, preprocessing.max_pixels)
    image = preprocessing.resize_and_crop(decoded(image, *form))
    if target == "pixels":
        label = tf.cast(cropped_map(_as_map(label, preprocessing), preprocessing), tf.int64)
    return image, tf.cast(label, tf.float32) if target == "classes" else label


def test_batches(
    split: Split, preprocessing: Preprocessing, batch_size: int, normalized: bool = True
) -> tf.data.Dataset:
    """Returns `test_examples` in batches; the last batch may be smaller."""
    examples = test_examples(split, preprocessing, normalized=normalized)
    return made_ahead(examples.batch(batch_size))


def limited_test_batches(split: Split, images: Images, schedule: Schedule) -> tf.data.Dataset:
    """Returns `test_batches` of a recipe's `Images` and `Schedule`, at most `max_steps`."""
    batches = test_batches(split, images.preprocessing, schedule.batch_size)
    return batches if schedule.max_steps is None else batches.take(schedule.max_steps)


def _as_map(label, images):
    """Returns a map of classes, uint8 `(height, width)`, from the label of an example.

    `images` are the `Images` of a recipe, or a `Preprocessing`.
    """
    return decode_map(label, images.max_pixels) if label.dtype == tf.string else label
