"""Images for the calibration of int8 files and for the checks of an export."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regnet_tf._errors import UserError, printable
from regnet_tf._files import IMAGE_SUFFIXES, read_arrays
from regnet_tf._folders import images_below
from regnet_tf.preprocessing import Preprocessing, load_image

#: Fewer images calibrate badly.
ENOUGH = 100
_MOST = 500
_MOST_PHOTOGRAPHS, _MOST_PHOTOGRAPH_BYTES = 8, 16 << 20
_HELD_OUT = 4  # without a test split, every 4th image is held out


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images as the network sees them, before normalization.

    Attributes:
        calibration: calibration images, uint8 `(count, image_size, image_size, channels)`.
        test: held-out images, uint8 `(count, image_size, image_size, channels)`.
        test_labels: true classes, int64 `(count,)`; `(count, image_size, image_size)` if every
            pixel has a class; `(count, classes)`, 0 or 1, if an image can have several; boxes
            float32 `(count, most, 5)`. None if unknown.
        origin: source of the images, as text.
        photographs: contents of some image files, whole; empty if the images are no files.
    """

    calibration: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray | None
    origin: str
    photographs: Sequence[bytes] = ()

    @classmethod
    def read(cls, path: Path, preprocessing: Preprocessing) -> "Examples":
        """Reads at most 500 images from a folder or an `.npz` file, evenly spaced.

        Args:
            path: a `Path`: a folder with images at any depth, or an `.npz` file with "images",
                uint8 `(count, height, width, channels)`. Images are resized and cropped unless
                they have the network's size. The file may also hold "test_images" and
                "test_labels". Without them, every 4th image is held out.
            preprocessing: a `regnet_tf.Preprocessing`.

        Raises:
            UserError: if there are no images, or the file is damaged.
            ValueError: if an image is damaged; it names the image's file.
        """
        if path.is_dir():
            return cls._of_folder(path, preprocessing)
        if path.suffix != ".npz" or not path.is_file():
            raise UserError(
                "`calibration` must be a folder of images or an .npz file that exists."
                f" Received: {path}"
            )
        try:
            arrays = read_arrays(path)
        except ValueError as error:
            raise UserError(f"{path} is not a complete .npz file: {error}") from error
        if "images" not in arrays:
            raise UserError(
                f'{path} must contain the array "images". It contains: {", ".join(arrays)}'
            )
        images = _crops(arrays["images"], preprocessing, path)
        if "test_images" not in arrays:
            return cls._parted(images, str(path))
        test, labels = arrays["test_images"], arrays.get("test_labels")
        if labels is not None and labels.shape[:1] != test.shape[:1]:
            raise UserError(f'{path} must have equal numbers of "test_labels" and "test_images".')
        test = _crops(test, preprocessing, path)
        if labels is not None and _are_maps(labels) and labels.shape[1:] != test.shape[1:3]:
            raise UserError(
                f'"test_labels" of {path} must be {preprocessing.image_size} pixels wide and high,'
                f" as the network's images. Received: shape {labels.shape}"
            )
        return cls(images, test, None if labels is None else _evenly(labels), str(path))

    @classmethod
    def _of_folder(cls, path, preprocessing):
        files = [path / name for name in images_below(path).images]
        if not files:
            raise UserError(f"{printable(path)} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        files = _evenly(files)
        form = preprocessing.channels, preprocessing.exif_orientation, preprocessing.max_pixels
        images = [_crops(load_image(file, *form)[None], preprocessing, file) for file in files]
        examples = cls._parted(np.concatenate(images), str(path))
        return dataclasses.replace(examples, photographs=_whole(files))

    @classmethod
    def _parted(cls, images, origin):
        if len(images) < _HELD_OUT:
            return cls(images, images, None, origin)
        held_out = np.arange(len(images)) % _HELD_OUT == _HELD_OUT - 1
        return cls(images[~held_out], images[held_out], None, origin)


def _are_maps(labels):
    """Returns whether labels are the class of each pixel; boxes are floats."""
    return labels.ndim > 2 and labels.dtype.kind != "f"


def _evenly(items, most=_MOST):
    """Returns at most `most` items of a sequence, evenly spaced."""
    step = -(-len(items) // most)
    return items[::step]


def _whole(files):
    """Returns the contents of some files that servers decode, within a limit of bytes."""
    contents: list[bytes] = []
    files = [file for file in files if file.suffix.lower() != ".webp"]
    room = _MOST_PHOTOGRAPH_BYTES
    for file in _evenly(files, _MOST_PHOTOGRAPHS):
        room -= file.stat().st_size
        if room >= 0 or not contents:
            contents.append(file.read_bytes())
    return contents


def _crops(images, preprocessing, path):
    channels = preprocessing.channels
    shape_ok = images.ndim == 4 and images.shape[-1] == channels and len(images)
    if not shape_ok or images.dtype != np.uint8:
        raise UserError(
            f"The images of {path} must be uint8, of shape (count, height, width, {channels})."
            f" Received: {images.dtype} of shape {images.shape}"
        )
    images, size = _evenly(images), preprocessing.image_size
    if images.shape[1:3] == (size, size):
        return images
    return np.round(preprocessing.resize_and_crop(images)).astype("uint8")
