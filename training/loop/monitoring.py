"""Logs of a run for TensorBoard."""

import contextlib
import functools
from pathlib import Path

import keras
import tensorflow as tf

from regnet_tf._errors import UserError, first_line

from .checkpoints import Progress


class TensorBoardLog(keras.callbacks.Callback):
    """Logs scalars of steps and epochs, the network's graph, and some training images.

    Add it before `Bookkeeping`: each point is on disk before the checkpoint that follows it. So a
    run that is killed in between logs the point again, and loses none.

    Args:
        folder: folder for the log files.
        image_size: side of the training images, in pixels.
        progress: the `Progress` of the run, which counts the steps.
        images: a few training images `(count, height, width, channels)`, 0 to 1. Of another number
            of channels than 1, 3 or 4, the first one is shown.
        every: steps between two logged points of the step curves.
    """

    def __init__(
        self,
        folder: Path,
        image_size: int,
        progress: Progress,
        images: tf.Tensor,
        every: int = 20,
    ) -> None:
        super().__init__()
        self._folder = str(folder)
        self._image_size = image_size
        self._progress = progress
        self._images = images
        self._every = every

    @functools.cached_property
    def _writer(self):
        return tf.summary.create_file_writer(self._folder)

    @contextlib.contextmanager
    def _writing(self, step):
        """Context manager whose points are on disk at its end."""
        try:
            with self._writer.as_default(step=step):
                yield
            self._writer.flush()
        except tf.errors.OpError as error:
            reason = first_line(error.message).rpartition("; ")[2]  # after the path
            raise UserError(f"{self._folder} could not be written: {reason}.") from error

    def on_train_begin(self, logs=None):
        if self._progress.step == 0:
            with self._writing(0):
                network = keras.Model(self.model.inputs, self.model.outputs)
                shape = (1, self._image_size, self._image_size, self._images.shape[-1])
                inference = tf.function(
                    lambda images: network(images, training=False), autograph=False
                )
                graph = inference.get_concrete_function(tf.TensorSpec(shape, tf.float32)).graph
                tf.summary.graph(graph.as_graph_def())
                shown = self._images if shape[-1] in (1, 3, 4) else self._images[..., :1]
                tf.summary.image("training images", shown, max_outputs=16)

    def on_train_batch_end(self, batch, logs=None):
        step = self._progress.step + 1
        if step % self._every:
            return
        with self._writing(step):
            for name, value in logs.items():
                tf.summary.scalar(f"steps/{name}", tf.reduce_sum(value))
            tf.summary.scalar("steps/learning_rate", self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        with self._writing(self._progress.step):
            for name, value in logs.items():
                tf.summary.scalar(f"epochs/{name}", float(value))
