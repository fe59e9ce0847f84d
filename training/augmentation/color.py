"""Random changes of the light that a photograph was taken in."""

import numpy as np
import tensorflow as tf

# Of the covariance of ImageNet's R, G and B on a scale of 0 to 1; the numbers that pycls uses.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array(  # one a column
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)
_DIRECTIONS = (255 * _EIGENVECTORS * _EIGENVALUES).astype("float32")


def lighting(image, seed, std):
    """Shifts all pixels alike, along the principal components of ImageNet's colors.

    From "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky et al.,
    2012), section 4.1; as pycls has it, with `std` 0.1, before normalization.

    Args:
        image: float32 `(height, width, 3)`, R, G, B, levels of 0 to 255.
        seed: int64 `(2,)`; alone decides the shift.
        std: standard deviation of the three components' random weights.

    Returns:
        float32 of the same shape; not clipped to 0 to 255.
    """
    weights = tf.random.stateless_normal([3], seed, stddev=std)
    shift = tf.linalg.matvec(_DIRECTIONS, weights)
    # As rows: TensorFlow takes several times as long to add three numbers to all pixels.
    width = tf.shape(image)[1]
    shifted = tf.reshape(image, [-1, 3 * width]) + tf.tile(shift, width[None])
    return tf.reshape(shifted, tf.shape(image))
