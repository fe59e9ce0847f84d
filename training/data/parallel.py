"""Data sets whose elements are made on all cores."""

import tensorflow as tf


def parallel_map(dataset, function) -> tf.data.Dataset:
    """`dataset.map` of a function that TensorFlow can trace as it is.

    AutoGraph would rewrite it first, and all that it calls: in vain, and it takes seconds.
    """
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)
