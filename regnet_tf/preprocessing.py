"""Prepares images for networks: decode, resize, crop, normalize.

All images are prepared here: in eager mode, in `tf.data` and in exported signatures.

    preprocessing = Preprocessing(image_size=224, crop_fraction=0.875)
    model.predict(preprocessing("cat.jpg"))

    paths.map(preprocessing.from_file, num_parallel_calls=tf.data.AUTOTUNE).batch(64)

Images are uint8, `(height, width, channels)`; RGB unless `mean` and `std` have another number of
channels. Decoding and resizing equal Pillow's in every pixel. They therefore equal the evaluation
of timm and torchvision. As there, the orientation in a file's metadata is ignored by default.
TensorFlow is imported when first needed.
"""

import dataclasses
import functools
import itertools
import math
import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from regnet_tf._checks import (
    check,
    check_bool,
    check_choice,
    check_fields,
    check_int,
    check_number,
    is_number,
    plain,
    replaced,
)

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic", "pycls")
CROP_MODES = ("center", "squash")
DEFAULT_CROP_FRACTION = 0.875
#: Largest number of pixels in the file of an image: Pillow's `MAX_IMAGE_PIXELS`.
MAX_PIXELS = 89_478_485
_INT64_MAX = (1 << 63) - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Turns images into the input of a network: resizes, crops and normalizes them.

    The shorter side is resized to `resize_size`, or to `image_size / crop_fraction` rounded down.
    Then the central square with side `image_size` is cropped. A resized image that is smaller is
    padded with zeros. With `crop_mode="squash"`, the whole image is resized to this square instead,
    as detectors need. Finally, levels become `(level / 255 - mean) / std`.

    Each channel is resized by itself: a fourth one is not taken for transparency, as Pillow does.

    Args:
        image_size: side of the network's input in pixels.
        crop_fraction: part of the shorter side that is kept, timm's `crop_pct`. Default: 0.875,
            unless `resize_size` is given.
        resize_size: length of the shorter side in pixels, as in torchvision. Pass it instead of
            `crop_fraction`.
        interpolation: "bilinear" or "bicubic", antialiased as in Pillow; or "pycls", as in pycls'
            tests: bilinear on floats, without antialiasing, the crop's odd pixel last.
        mean: mean of each channel on a scale of 0 to 1. Three numbers are for R, G and B. Files
            are decoded to as many channels: 1 for gray, 3 for RGB, 4 for RGBA. Images of other
            numbers of channels come from arrays.
        std: standard deviation of each channel on the same scale.
        exif_orientation: whether to turn images as the EXIF metadata in their files says. timm and
            torchvision do not.
        max_pixels: largest number of pixels in an image's file. It is compared with the size in the
            header of the file, before the pixels are decoded.
        crop_mode: "center" to crop, or "squash" to resize both sides to `image_size`; timm's words.

    Raises:
        ValueError: if a field is out of range; the message names it.

    Examples:
        >>> preprocessing = regnet_tf.Preprocessing(image_size=224, crop_fraction=0.875)
        >>> preprocessing.shorter_side, preprocessing("photo.jpg").shape
        (256, TensorShape([1, 224, 224, 3]))
    """

    image_size: int = 224
    crop_fraction: float | None = None
    resize_size: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    exif_orientation: bool = False
    max_pixels: int = MAX_PIXELS
    crop_mode: str = "center"

    def __post_init__(self):
        plain(self)
        check_int("image_size", self.image_size, minimum=1)
        if self.resize_size is not None:
            check_int("resize_size", self.resize_size, minimum=1)
            alone = self.crop_fraction is None
            check("crop_fraction", self.crop_fraction, alone, "None where `resize_size` is given")
        elif self.crop_fraction is not None:
            check_number("crop_fraction", self.crop_fraction, above=0)
            some = self.shorter_side >= 1
            check("crop_fraction", self.crop_fraction, some, f"at most {self.image_size}")
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        for field, above in (("mean", None), ("std", 0)):
            values = getattr(self, field)
            some = isinstance(values, (tuple, list)) and len(values) > 0
            check(field, values, some, "one number for each channel; three for R, G and B")
            for value in values:
                check_number(field, value, above=above)
            object.__setattr__(self, field, tuple(float(value) for value in values))
        equal = len(self.std) == len(self.mean)
        check("std", self.std, equal, f"as many numbers as `mean` has, {len(self.mean)}")
        check_bool("exif_orientation", self.exif_orientation)
        check_int("max_pixels", self.max_pixels, minimum=1, maximum=_INT64_MAX)
        check_choice("crop_mode", self.crop_mode, CROP_MODES)

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return len(self.mean)

    @property
    def shorter_side(self) -> int:
        """Length of the shorter side after resizing, in pixels."""
        if self.resize_size is not None:
            return self.resize_size
        return math.floor(self.image_size / self.kept_fraction)

    @property
    def kept_fraction(self) -> float:
        """Part of the shorter side that is kept; `shorter_side` follows from it exactly."""
        if self.resize_size is None:
            return self.crop_fraction or DEFAULT_CROP_FRACTION
        fraction = self.image_size / self.resize_size
        if math.floor(self.image_size / fraction) < self.resize_size:  # it was rounded up
            fraction = math.nextafter(fraction, 0)
        return fraction

    def __call__(self, source: Any) -> "tf.Tensor":
        """Prepares one or more images as a batch for the network.

        Args:
            source: the path of a file; the bytes of an encoded file; a uint8 array or tensor of
                shape `(height, width, channels)` or `(batch, height, width, channels)`; a string
                tensor of encoded files, of shape `()` or `(batch,)`; or a list of any of these.

        Returns:
            Tensor `(batch, image_size, image_size, channels)`, float32.

        Raises:
            ValueError: for another dtype, rank or number of channels; for a file that is no image,
                is damaged or too large (the message names it). Inside a graph, TensorFlow raises
                its errors when the graph runs.
            FileNotFoundError: if the file does not exist.
        """
        return self.normalize(self._crops(source))

    def from_file(self, path: "str | os.PathLike | tf.Tensor") -> "tf.Tensor":
        """Prepares the image in a file. For `tf.data`, `path` may be a string tensor.

        Returns:
            Tensor `(image_size, image_size, channels)`, float32.

        Raises:
            ValueError: if the file is no image, is damaged or too large; the message names it.
                Inside a graph, TensorFlow raises its error when the graph runs.
            FileNotFoundError: if the file does not exist.
        """
        image = _decoding().decode_file(path, *self._form)
        return self.normalize(self.resize_and_crop(image))

    def from_bytes(self, image_bytes: "bytes | tf.Tensor") -> "tf.Tensor":
        """Prepares an encoded image: the file's bytes, or a string tensor of shape `()`.

        Returns:
            Tensor `(image_size, image_size, channels)`, float32.

        Raises:
            ValueError: if it is no image, is damaged or too large. Inside a graph, TensorFlow
                raises its error when the graph runs.
        """
        return self.normalize(self.resize_and_crop(self._decoded(image_bytes)))

    def resize_and_crop(self, images: "ArrayLike | tf.Tensor") -> "tf.Tensor":
        """Resizes images, then crops the central square, unless `crop_mode` is "squash".

        Args:
            images: uint8, `(height, width, channels)` or `(batch, height, width, channels)`.

        Returns:
            Tensor `(image_size, image_size, channels)` or
            `(batch, image_size, image_size, channels)`; uint8, or unrounded float32 for "pycls".

        Raises:
            ValueError: for another dtype, rank or number of channels, or no pixels.
        """
        images = _images().as_images(images, self.channels)
        shorter_side = None if self.crop_mode == "squash" else self.shorter_side
        crop = _images().cropper(shorter_side, self.image_size, self.interpolation, self.channels)
        return crop(images) if images.shape.rank == 3 else self._map(crop, images)

    def normalize(self, images: "np.ndarray | tf.Tensor") -> "tf.Tensor":
        """Maps levels of 0 to 255 to the network's input range.

        Args:
            images: `(..., channels)`, any numeric dtype.

        Returns:
            Tensor of the same shape, float32.

        Raises:
            ValueError: for another number of channels.
        """
        import tensorflow as tf

        shape, channels = tf.TensorShape(images.shape), self.channels
        ok = shape.rank != 0 and (shape.rank is None or shape[-1] in (channels, None))
        check("images", f"shape {shape}", ok, f"images of shape (..., {channels})")
        scale, offset = self.scale_and_offset()
        images = tf.cast(images, tf.float32)
        if shape.rank is None or shape.rank < 2 or shape[-2] is None:
            return images * scale + offset
        # Scaling whole rows is several times faster than broadcasting over the channels.
        rows = tf.reshape(images, [*tf.unstack(tf.shape(images)[:-2]), channels * shape[-2]])
        rows = rows * np.tile(scale, shape[-2]) + np.tile(offset, shape[-2])
        return tf.ensure_shape(tf.reshape(rows, tf.shape(images)), shape[:-1].concatenate(channels))

    def scale_and_offset(self) -> "tuple[np.ndarray, np.ndarray]":
        """Returns arrays, float32 `(channels,)`, with `normalize(x) == x * scale + offset`."""
        return _scale_and_offset(self.mean, self.std)

    def to_dict(self) -> dict:
        """Returns a dict of JSON types. `from_dict` turns it into an equal preprocessing."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, fields: dict) -> "Preprocessing":
        """Returns the preprocessing from a dict made by `to_dict`.

        Raises:
            ValueError: for an unknown field or a value out of range.
        """
        check("preprocessing", fields, isinstance(fields, dict), "a dict")
        check_fields(cls, fields)
        return cls(**fields)

    def replace(self, **changes: Any) -> "Preprocessing":
        """Returns a copy with the given fields changed.

        A new `resize_size` takes the place of `crop_fraction`, and the other way round. A number
        for `mean` or `std` counts for every channel.
        """
        for field, other in (("resize_size", "crop_fraction"), ("crop_fraction", "resize_size")):
            if changes.get(field) is not None:
                changes.setdefault(other, None)
        for field in ("mean", "std"):
            if is_number(changes.get(field)):
                changes[field] = (changes[field],) * self.channels
        return replaced(self, changes)

    def with_channels(self, channels: int) -> "Preprocessing":
        """Returns a copy for another number of channels.

        For one channel, `mean` and `std` become the mean of their numbers. For other numbers of
        channels, they are repeated and cut.

        Raises:
            ValueError: unless `channels` is an integer of at least 1.
        """
        mean, std = (for_channels(values, channels) for values in (self.mean, self.std))
        return self if channels == self.channels else self.replace(mean=mean, std=std)

    def _crops(self, source):
        """Returns the crops of one or more images, from any source that `__call__` takes."""
        import tensorflow as tf

        if isinstance(source, (list, tuple)):
            check("source", source, len(source) > 0, "at least one image")
            return tf.concat([self._crops(item) for item in source], axis=0)
        if tf.is_tensor(source) and source.dtype == tf.string:
            files = tf.reshape(source, [-1])
            return self._map(lambda file: self.resize_and_crop(self._decoded(file)), files)
        if isinstance(source, (str, os.PathLike)):
            source = _decoding().decode_file(source, *self._form)
        elif isinstance(source, bytes):
            source = self._decoded(source)
        crops = self.resize_and_crop(source)
        return crops[None] if crops.shape.rank == 3 else crops

    def _decoded(self, image_bytes):
        return decode_image(image_bytes, *self._form)

    @property
    def _form(self):
        """The arguments of decoders."""
        return self.channels, self.exif_orientation, self.max_pixels

    def _map(self, function, elements):
        """Applies a function to each element; returns a batch of crops."""
        import tensorflow as tf

        shape = [self.image_size, self.image_size, self.channels]
        dtype = tf.float32 if self.interpolation == "pycls" else tf.uint8
        return tf.map_fn(function, elements, fn_output_signature=tf.TensorSpec(shape, dtype))


def for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Returns numbers for some channels made to numbers for others.

    For one channel, it is their mean. For other numbers of channels, they are repeated and cut.

    Raises:
        ValueError: unless `channels` is an integer of at least 1.
    """
    check_int("channels", channels, minimum=1)
    if channels == 1 < len(values):
        return (sum(values) / len(values),)
    return tuple(itertools.islice(itertools.cycle(values), channels))


def decode_image(
    image_bytes: "bytes | tf.Tensor",
    channels: int = 3,
    exif_orientation: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> "tf.Tensor":
    """Decodes a JPEG, PNG, BMP, GIF or WebP image; of an animated GIF the first frame.

    The result equals Pillow's in every pixel, with these exceptions. For 16-bit PNGs the higher
    byte is kept (Pillow clips gray ones). CMYK JPEGs differ from Pillow's by at most 1 level.
    Transparent pixels of GIFs are black, and BMPs have none. Animated WebPs and BMPs other than
    uncompressed ones of 8, 24 or 32 bits per pixel are not supported.

    Args:
        image_bytes: the content of the file; bytes, or a string tensor of shape `()`.
        channels: 3 for RGB, as Pillow's `convert("RGB")`: transparency is dropped. 1 for gray, as
            its `convert("L")` of the RGB image. 4 for RGBA, as its `convert("RGBA")`.
        exif_orientation: whether to turn the image as its EXIF metadata says, as Pillow's
            `exif_transpose` does. Damaged metadata is ignored.
        max_pixels: largest number of pixels, compared with the size in the file's header before
            the pixels are decoded.

    Returns:
        Tensor `(height, width, channels)`, uint8.

    Raises:
        ValueError: for an image of another format, a damaged or too large one, or other
            `channels`. Inside a graph, TensorFlow raises its error when the graph runs.
    """
    import tensorflow as tf

    ok = isinstance(image_bytes, bytes) or (
        tf.is_tensor(image_bytes) and image_bytes.dtype == tf.string
    )
    kind = f"a {type(image_bytes).__name__}"
    check("image_bytes", kind, ok, "bytes or a string tensor")
    return _decoding().decode(image_bytes, channels, exif_orientation, max_pixels, "encoded bytes")


def load_image(
    path: str | os.PathLike,
    channels: int = 3,
    exif_orientation: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Reads the image in a file; see `decode_image`.

    Args:
        path: path of an image, in any file system that TensorFlow can read.
        channels: 1 for gray, 3 for RGB, 4 for RGBA.
        exif_orientation: whether to turn the image as its EXIF metadata says.
        max_pixels: largest number of pixels.

    Returns:
        Numpy array `(height, width, channels)`, uint8.

    Raises:
        ValueError: if the file is no image, is damaged or too large; the message names it. Also for
            other `channels`.
        FileNotFoundError: if the file does not exist.

    Examples:
        >>> image = regnet_tf.load_image("photo.jpg")
        >>> image.shape, image.dtype
        ((427, 640, 3), dtype('uint8'))
    """
    return _decoding().decode_file(path, channels, exif_orientation, max_pixels).numpy()


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Normalizes images by ImageNet's mean and standard deviation, on any Keras backend.

    Args:
        x: RGB levels of 0 to 255: an array or a tensor (also symbolic) with 3 or 4 axes.
        data_format: "channels_last" or "channels_first"; default: Keras' setting.

    Returns:
        float32 of the same shape, a new array for an array and a tensor for a tensor.

    Raises:
        ValueError: for another shape or `data_format`.

    Examples:
        >>> regnet_tf.preprocess_input(np.array([[[0, 128, 255]]])).round(2)
        array([[[-2.12,  0.21,  2.64]]], dtype=float32)
    """
    data_format = data_format or keras.config.image_data_format()
    check_choice("data_format", data_format, ("channels_last", "channels_first"))
    tensor = ops.is_tensor(x) or keras.backend.is_keras_tensor(x)
    x = x if tensor else np.asarray(x)
    channels = -1 if data_format == "channels_last" else -3
    shape = tuple(x.shape)
    ok = len(shape) in (3, 4) and shape[channels] == 3
    check("x", f"shape {shape}", ok, f"images of 3 channels, {data_format}, in 3 or 4 axes")
    scale, offset = _scale_and_offset(IMAGENET_MEAN, IMAGENET_STD)
    if data_format == "channels_first":
        scale, offset = scale[:, None, None], offset[:, None, None]
    if not tensor:
        return x.astype("float32") * scale + offset
    return ops.add(ops.multiply(ops.cast(x, "float32"), scale), offset)


def _images():
    """Imports the TensorFlow part at its first use."""
    from regnet_tf import _images

    return _images


def _decoding():
    """Imports the decoding of files at its first use."""
    from regnet_tf import _decoding

    return _decoding


@functools.cache
def _scale_and_offset(mean, std):
    """Returns scale and offset, so that `(x / 255 - mean) / std` is `x * scale + offset`.

    Graph optimizers turn divisions into products, which changes the last bit. This form has no
    division, so a graph computes the same as eager execution.
    """
    mean, std = np.array(mean), np.array(std)
    return (1 / (255 * std)).astype("float32"), (-mean / std).astype("float32")
