"""Data sets whose elements are made on all cores."""

import os

import tensorflow as tf


def parallel_map(dataset, function) -> tf.data.Dataset:
    """`dataset.map` of a function that TensorFlow can trace as it is.

    AutoGraph would rewrite it first, and all that it calls: in vain, and it takes seconds.
    """
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=os.cpu_count())


def made_ahead(dataset) -> tf.data.Dataset:
    """The data set with elements made before they are asked for: the last step of every pipeline.

    It is not tuned while it runs. TensorFlow 2.21 ends the thread that tunes with a signal that it
    may miss, and then an iterator's end waits for that thread's next turn: up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
