"""ImageNet in small: archives as ILSVRC 2012 has them, of crops of real photographs."""

import dataclasses
import io
import pathlib
import tarfile

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_sample_images

SYNSETS = tuple(
    "n01440764 n01632777 n02123045 n02504458 n03445777 n03792782 n04285008 n07753592 n09472597"
    " n13133613".split()
)
IMAGES_OF_SYNSET = 23
VALIDATION_IMAGES = 50
FILES = 6  # of each split: neither 230 nor 50 images are shared out evenly


@dataclasses.dataclass(frozen=True)
class Miniature:
    """Archives and what is in them.

    Attributes:
        manual_dir: where the archives are.
        data_dir: where `regnet data prepare` has put the data.
        train: encoded image -> synset, in the archive's order.
        validation: encoded images, in the order of their names.
    """

    manual_dir: pathlib.Path
    data_dir: pathlib.Path
    train: dict[bytes, str]
    validation: list[bytes]


def write_archives(folder):
    """Writes both archives, the same ones every time.

    Args:
        folder: for `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar`.

    Returns:
        `(train, validation)` of a `Miniature`.
    """
    images = _photographs()
    train, archives = {}, {}
    for synset in SYNSETS:
        files = {f"{synset}_{number}.JPEG": next(images) for number in range(IMAGES_OF_SYNSET)}
        train |= dict.fromkeys(files.values(), synset)
        archives[f"{synset}.tar"] = _tar(files)
    validation = [next(images) for _ in range(VALIDATION_IMAGES)]
    (folder / "ILSVRC2012_img_train.tar").write_bytes(_tar(archives))
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, VALIDATION_IMAGES + 1))
    files = dict(zip(names, validation, strict=True))
    (folder / "ILSVRC2012_img_val.tar").write_bytes(_tar(files))
    return train, validation


def _photographs():
    """JPEG files of random parts, up to 500x375 pixels, no two the same."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    while True:
        photograph = photographs[rng.integers(len(photographs))]
        height, width = rng.integers((80, 100), (376, 501))
        y, x = rng.integers(0, np.array(photograph.shape[:2]) - (height, width))
        yield tf.io.encode_jpeg(photograph[y : y + height, x : x + width], quality=90).numpy()


def _tar(files):
    """An archive of files, given as name -> content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
