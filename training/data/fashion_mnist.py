"""Fashion-MNIST: 70,000 gray photographs of clothes, 28x28 pixels, by Zalando Research.

Its four files come with Debian's package dataset-fashion-mnist, from Zalando, or through
tensorflow-datasets.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError

from . import tfds_catalog
from .table import TableSplit

NAME = "fashion_mnist"
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FILES = ("{}-images-idx3-ubyte.gz", "{}-labels-idx1-ubyte.gz")
_SPLITS = ("train", "t10k")


def load(data_dir: str | Path | None = None) -> tuple:
    """Loads the data set.

    Args:
        data_dir: folder of the four `.gz` files, or data directory of tensorflow-datasets. None
            for the folder of Debian's package, then the default of tensorflow-datasets.

    Returns:
        `(class_names, train, test)`; images uint8 `(count, 28, 28, 1)`.

    Raises:
        UserError: if there is no data set (with the three ways to get it), or a file is damaged.
    """
    folders = [_DEBIAN] if data_dir is None else [Path(data_dir).expanduser()]
    for folder in folders:
        if all((folder / name.format(one)).is_file() for one in _SPLITS for name in _FILES):
            return CLASS_NAMES, *(_read_split(folder, one) for one in _SPLITS)
    try:
        _, *splits = tfds_catalog.load(NAME, data_dir)
    except UserError as error:
        raise UserError(
            f"{NAME} is not here. Either install Debian's package dataset-fashion-mnist; or"
            f" name the folder of its four files ({_FILES[0].format('train')}, ...): --data-dir"
            f" FOLDER; or run: regnet data prepare {NAME}"
        ) from error
    return CLASS_NAMES, *splits


def _read_split(folder, name):
    images, labels = (_read(folder / file.format(name)) for file in _FILES)
    shapes_fit = images.ndim == 3 and labels.shape == images.shape[:1]
    if not shapes_fit or labels.max(initial=0) >= len(CLASS_NAMES):
        raise UserError(f"The images and labels of {name} in {folder} do not fit.")
    return TableSplit(images[..., None], labels.astype("int64"))


def _read(path):
    """Returns the array of bytes in an IDX file."""
    try:
        with gzip.open(path) as file:
            content = file.read()
        _, _, kind, rank = struct.unpack(">4B", content[:4])
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        if kind != 8:  # bytes
            raise ValueError("it holds no bytes")
        return np.frombuffer(content, "uint8", offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise UserError(f"{path} is damaged: {error}") from error
