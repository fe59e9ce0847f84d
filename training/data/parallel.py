"""Parallel mapping and prefetching of `tf.data` data sets."""

import os
from collections.abc import Callable

import tensorflow as tf


def parallel_map(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """Maps a function over a data set on all cores, without AutoGraph.

    TensorFlow must be able to trace the function as it is. AutoGraph would rewrite it and all
    functions that it calls, which takes seconds and is not needed.
    """
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=os.cpu_count())


def made_ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the data set with prefetching. Use it as the last step of every pipeline.

    Autotuning is off. TensorFlow 2.21 stops the tuning thread with a signal that the thread may
    miss. The end of an iterator would then wait up to a minute for that thread.

    Each operation has one thread, as `parallel_map` gives every core an image or a batch.
    """
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
