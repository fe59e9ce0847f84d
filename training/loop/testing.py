"""Tests a network during training on all devices, with every image exactly once."""

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from ..data.batches import test_examples
from ..data.parallel import made_ahead, parallel_map
from ..data.splits import Split
from ..recipes.parts import Images, Schedule


class Test:
    """Computes means of metrics over the images of a split.

    Each worker tests a part of the images. Its replicas share each batch evenly. The last batches
    are padded with images that are not counted.

    Args:
        model: a model with variables created under the strategy.
        measure: function from a batch of labels and network outputs to metrics of each image,
            float32 `(metrics, batch)`.
        split: a split of a `training.data.DataSet`.
        images: the `Images` of the recipe, which prepare the images of the split.
        schedule: the `Schedule` of the recipe, with `batch_size` and `max_steps`.
        strategy: a `tf.distribute.Strategy`.

    Attributes:
        steps: number of batches.
        tracing_seconds: how much longer the first batch of the last test took than the others.
    """

    def __init__(
        self,
        model: keras.Model,
        measure: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        split: Split,
        images: Images,
        schedule: Schedule,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._model = model
        self._measure = measure
        self._strategy = strategy
        self.tracing_seconds = 0.0
        steps = -(-split.size // schedule.batch_size)
        self.steps = steps if schedule.max_steps is None else min(steps, schedule.max_steps)
        self._batches = strategy.distribute_datasets_from_function(
            lambda context: _padded(
                split, images.preprocessing, schedule.batch_size, self.steps, context
            )
        )

    def __call__(self) -> tuple[list[float], int]:
        """Tests the network with its current weights.

        Returns:
            `(means, images)`: the mean of each metric, float64 `(metrics,)`, and the number of
            counted images.
        """
        batches, ends = iter(self._batches), [time.perf_counter()]
        total = np.zeros(())
        for _ in range(self.steps):
            total = total + self._sums(*next(batches)).numpy().astype("float64")
            ends.append(time.perf_counter())
        first, rest = ends[1] - ends[0], (ends[-1] - ends[1]) / max(self.steps - 1, 1)
        self.tracing_seconds = max(first - rest, 0) if self.steps > 1 else 0.0
        *sums, images = total
        return [one / images for one in sums], round(images)

    @tf.function(reduce_retracing=True, autograph=False)
    def _sums(self, images, labels, counted):
        def on_replica(images, labels, counted):
            outputs = tf.cast(self._model(images, training=False), tf.float32)
            figures = self._measure(labels, outputs)
            figures = tf.concat([figures, tf.ones_like(counted)[None]], 0)
            return tf.reduce_sum(figures * counted, axis=-1)

        sums = self._strategy.run(on_replica, (images, labels, counted))
        return self._strategy.reduce("SUM", sums, axis=None)


def _padded(split, preprocessing, batch_size, steps, context):
    """Returns a worker's `(images, labels, counted)` batches, for its replicas in turns."""
    workers, index = context.num_input_pipelines, context.input_pipeline_id
    examples = test_examples(split, preprocessing, (index, workers))
    examples = parallel_map(examples, lambda image, label: (image, label, 1.0))
    nothing = tf.data.Dataset.from_tensors(
        tuple(tf.zeros(spec.shape, spec.dtype) for spec in examples.element_spec)
    )
    examples = examples.concatenate(nothing.repeat()).take(steps * batch_size // workers)
    share = context.get_per_replica_batch_size(batch_size)
    return made_ahead(examples.batch(share, drop_remainder=True))
