"""Batches of prepared images, for training and tests.

All randomness depends only on the recipe's seed and an image's position in the run. So a run that
resumes sees the same batches as a run without interruption.
"""

import tensorflow as tf

from regnet_tf.preprocessing import Preprocessing, decode_image

from ..augmentation import batch_augmentation, image_augmentation
from ..recipes import Recipe
from ..recipes.parts import Images, Schedule
from .parallel import made_ahead, parallel_map
from .splits import Split


def steps_per_epoch(split: Split, schedule: Schedule) -> int:
    """Returns the number of batches in an epoch; an incomplete last batch is dropped."""
    steps = split.size // schedule.batch_size
    return steps if schedule.max_steps is None else min(steps, schedule.max_steps)


def training_batches(
    split: Split,
    recipe: Recipe,
    classes: int,
    first_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Returns the batches of all epochs in sequence. Each epoch has a different order.

    Args:
        split: a split of a `training.data.DataSet`.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        first_step: number of batches to skip, to resume a run.
        context: the `tf.distribute.InputContext` of a worker. The worker reads its part of each
            batch and distributes it evenly over its replicas, in turns. None for whole batches.

    Returns:
        `(images, labels)` batches: images float32 `(batch, size, size, 3)`; one-hot labels float32
        `(batch, classes)`, or `(batch, size, size, classes)` for segmentation.
    """
    context = context or tf.distribute.InputContext()
    workers, index = context.num_input_pipelines, context.input_pipeline_id
    schedule, size = recipe.schedule, recipe.images.size
    batch_size = schedule.batch_size // workers
    steps = steps_per_epoch(split, schedule)
    count = steps * batch_size
    first_epoch, first_batch = divmod(first_step, steps)
    augment_image = image_augmentation(recipe.augmentation, recipe.images)
    augment_batch = batch_augmentation(recipe.augmentation, recipe.seed)

    def prepare(number, example):
        image, label = example
        label = resized_label(label, size)
        # Workers take the images of a batch in turns.
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), number * workers + index])
        return augment_image(image, seed), tf.one_hot(label, classes)

    def finish(number, batch):
        return augment_batch(*batch, number)

    @tf.autograph.experimental.do_not_convert
    def examples_of(epoch):
        # When each worker reads whole files, one worker may have a few images too few: repeat.
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
        `(image, label)`: images float32 `(image_size, image_size, 3)`; labels int64, or maps
        `(image_size, image_size)`.
    """

    def prepare(image, label):
        image = preprocessing.resize_and_crop(decoded(image))
        label = resized_label(label, preprocessing.image_size)
        return preprocessing.normalize(image) if normalized else image, label

    return parallel_map(split.examples(shard), prepare)


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


def resized_label(label, size):
    """Resizes a map of classes, int64; returns a scalar class unchanged."""
    if label.shape.rank == 0:
        return label
    resized = tf.image.resize(label[..., None], (size, size), "nearest")
    return tf.cast(resized[..., 0], tf.int64)


def decoded(image):
    """Decodes an image of a split's examples if necessary, uint8 `(height, width, 3)`."""
    return decode_image(image) if image.dtype == tf.string else image
