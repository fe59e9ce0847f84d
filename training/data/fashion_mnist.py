"""Fashion-MNIST: 70,000 gray photographs of clothes, 28x28 pixels, by Zalando Research.

Its four files come with Debian's package dataset-fashion-mnist, from Zalando, or through
tensorflow-datasets.
"""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError
from regnet_tf._files import naming_file, replacing

from . import tfds_catalog
from .parallel import parallel_map
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
#: Zalando's files -> SHA-256, as in tensorflow-datasets.
SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FILES = ("{}-images-idx3-ubyte.gz", "{}-labels-idx1-ubyte.gz")
_SPLITS = ("train", "t10k")
_WRITTEN = {"train": 1504176606, "t10k": 1504176627}  # when Zalando did, in the headers of gzip
_HAS_NAME = 8  # flag of gzip
_BATCH = 1000


def load(data_dir: str | Path | None = None) -> tuple:
    """Loads the data set.

    Args:
        data_dir: folder of the four `.gz` files, or data directory of `prepare` or of
            tensorflow-datasets. None for their default, or the folder of Debian's package.

    Returns:
        `(class_names, train, test)`; images uint8 `(count, 28, 28, 1)`.

    Raises:
        UserError: if there is no data set (with the three ways to get it), or a file is damaged.
    """
    folders = [prepared_folder(data_dir), Path(data_dir or _DEBIAN).expanduser()]
    for folder in folders:
        if all((folder / name).is_file() for name in SHA256):
            return CLASS_NAMES, *(_read_split(folder, one) for one in _SPLITS)
    try:
        _, train, test = tfds_catalog.load(NAME, data_dir)
    except UserError as error:
        raise UserError(
            f"{NAME} is not here. Either install Debian's package dataset-fashion-mnist; or"
            f" name the folder of its four files ({_FILES[0].format('train')}, ...): --data-dir"
            f" FOLDER; or run: regnet data prepare {NAME}"
        ) from error
    return CLASS_NAMES, _in_memory(train), _in_memory(test)


def prepare(source: str | Path, data_dir: str | Path | None = None) -> Path:
    """Checks the four files in a folder, and copies them to where `load` finds them.

    Args:
        source: folder with the files of Zalando or of Debian's package.
        data_dir: data directory; None for the default of tensorflow-datasets.

    Returns:
        Their folder in the data directory.

    Raises:
        UserError: before any file is written, if a file is missing or has another checksum;
            if a file cannot be written.
    """
    contents = {name: _checked(Path(source).expanduser() / name) for name in SHA256}
    folder = prepared_folder(data_dir)
    with naming_file(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with replacing(folder / name) as partial:
            partial.write_bytes(content)
    return folder


def prepared_folder(data_dir: str | Path | None = None) -> Path:
    """Returns where `prepare` puts the files."""
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return Path(data_dir or default).expanduser() / NAME


def _checked(path):
    """Returns the content of one of the four files; raises a `UserError` if it is another one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    received, expected = hashlib.sha256(content).hexdigest(), SHA256[path.name]
    published = hashlib.sha256(_with_name(content, path.name)).hexdigest()
    if expected not in (received, published):
        raise UserError(
            f"{path} is not Zalando's file. Its SHA-256 is {received}, but must be {expected}."
        )
    return content


def _with_name(content, name):
    """Returns a gzip file with the time and name in its header that Zalando's has.

    Debian's package has the same compressed data, with its own time and without the name.
    """
    if content[3:4] != b"\0":  # the flags
        return content
    head = content[:3] + struct.pack("<BI", _HAS_NAME, _WRITTEN[name.partition("-")[0]])
    return head + content[8:10] + name.removesuffix(".gz").encode() + b"\0" + content[10:]


def _in_memory(split):
    """Returns a split of tensorflow-datasets with all images in memory."""

    def decode(image, label):
        return tf.io.decode_png(image, channels=1), label

    batches = parallel_map(split.examples(), decode).batch(_BATCH).as_numpy_iterator()
    images, labels = zip(*batches, strict=True)
    return TableSplit(np.concatenate(images), np.concatenate(labels))


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
