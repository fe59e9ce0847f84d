"""Random lighting of photographs (AlexNet's PCA lighting)."""

import numpy as np
import tensorflow as tf

# Eigenvalues and eigenvectors of the covariance of ImageNet's R, G and B, scaled to 0 to 1, as in
# pycls.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array(  # one per column
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)
_DIRECTIONS = (255 * _EIGENVECTORS * _EIGENVALUES).astype("float32")


def lighting(image, seed, std):
    """Adds one random color shift to all pixels, along the principal components of ImageNet.

    From "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky et al.,
    2012), section 4.1. pycls applies it before normalization, with `std` 0.1.

    Args:
        image: float32 `(height, width, 3)`, RGB levels from 0 to 255.
        seed: int64 `(2,)`; determines the shift.
        std: standard deviation of the random weights of the three components.

    Returns:
        float32 of the same shape; not clipped to 0 to 255.
    """
    weights = tf.random.stateless_normal([3], seed, stddev=std)
    shift = tf.linalg.matvec(_DIRECTIONS, weights)
    # Add rows: TensorFlow is several times slower at adding three numbers to all pixels.
    width = tf.shape(image)[1]
    shifted = tf.reshape(image, [-1, 3 * width]) + tf.tile(shift, width[None])
    return tf.reshape(shifted, tf.shape(image))
