"""scikit-learn's handwritten digits: 1,797 scans of 8x8 pixels that come with the package."""

import numpy as np

from regnet_tf._errors import import_optional

from .table import TableSplit

_TEST_SHARE = 0.25
_SPLIT_SEED = 0  # fixed, so that every run is tested on the same images


def load():
    """Loads the digits as RGB images, white on black. A quarter of each class is held out.

    Returns:
        `(class_names, train, test)`.

    Raises:
        UserError: if scikit-learn is not installed.
    """
    digits = import_optional("sklearn.datasets").load_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")  # 0 to 16 in the scans
    images = np.repeat(images[..., None], 3, axis=-1)
    train_images, test_images, train_labels, test_labels = import_optional(
        "sklearn.model_selection"
    ).train_test_split(
        images,
        digits.target.astype("int64"),
        test_size=_TEST_SHARE,
        stratify=digits.target,
        random_state=_SPLIT_SEED,
    )
    train, test = TableSplit(train_images, train_labels), TableSplit(test_images, test_labels)
    return tuple("0123456789"), train, test
