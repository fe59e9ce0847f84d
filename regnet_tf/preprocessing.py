"""Photographs to network inputs: decode, resize, crop, normalize; and class scores to names.

The one place where an image is prepared, eager, in `tf.data` and in exported signatures alike:

    preprocessing = Preprocessing(image_size=224, crop_fraction=0.875)
    decode_predictions(model.predict(preprocessing("cat.jpg")))

    paths.map(preprocessing.from_file, num_parallel_calls=tf.data.AUTOTUNE).batch(64)

Images are RGB, `(height, width, 3)`, uint8. Decoding and resizing equal Pillow's, hence timm's and
torchvision's evaluation, in every pixel; as there, an orientation in a file's metadata is ignored.
TensorFlow is imported when first needed.
"""

import dataclasses
import functools
import importlib.resources
import math
import os
from typing import Any

import keras
import numpy as np
from keras import ops

from regnet_tf._checks import (
    check,
    check_choice,
    check_fields,
    check_int,
    check_number,
    replaced,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic", "pycls")
DEFAULT_CROP_FRACTION = 0.875


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a photograph becomes the input of a network.

    The shorter side is resized (to `resize_size`, or to `image_size / crop_fraction`, cut to an
    integer), the square of `image_size` in its middle is taken, with zeros around it where the
    resized image is smaller; then `(level / 255 - mean) / std`.

    Args:
        image_size: side of the network's input in pixels.
        crop_fraction: timm's `crop_pct`, part of the shorter side that is kept; 0.875 unless it or
            `resize_size` is given.
        resize_size: torchvision's, length of the shorter side in pixels, instead.
        interpolation: "bilinear" or "bicubic" as Pillow does them, antialiased; or "pycls", as
            pycls tests: bilinear on floats, without antialiasing, the crop's odd pixel last.
        mean: of each channel, R, G, B, on a scale of 0 to 1.
        std: standard deviation of each channel on that scale.

    Raises:
        ValueError: naming the field that is out of range.
    """

    image_size: int = 224
    crop_fraction: float | None = None
    resize_size: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self):
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
            three = isinstance(values, (tuple, list)) and len(values) == 3
            check(field, values, three, "three numbers, for R, G and B")
            for value in values:
                check_number(field, value, above=above)
            object.__setattr__(self, field, tuple(float(value) for value in values))

    @property
    def shorter_side(self) -> int:
        """Pixels to which the shorter side is resized."""
        if self.resize_size is not None:
            return self.resize_size
        return math.floor(self.image_size / (self.crop_fraction or DEFAULT_CROP_FRACTION))

    def __call__(self, source):
        """One or more images as a batch for the network.

        Args:
            source: the path of a file; an encoded file as bytes; an array or tensor, uint8, of
                shape `(height, width, 3)` or `(batch, height, width, 3)`; a string tensor of
                encoded files, of shape `()` or `(batch,)`; or a list of any of those.

        Returns:
            Tensor `(batch, image_size, image_size, 3)`, float32.

        Raises:
            ValueError: for another dtype, rank or number of channels; for what is no JPEG or PNG,
                or is damaged, with the file's name. Inside a graph: TensorFlow's errors, when run.
            FileNotFoundError: if there is no such file.
        """
        return self.normalize(self._crops(source))

    def from_file(self, path):
        """The image of a file, for `tf.data`: `path` may be a string tensor.

        Returns:
            Tensor `(image_size, image_size, 3)`, float32.

        Raises:
            ValueError: naming the file, if it is no JPEG or PNG or is damaged. Inside a graph:
                TensorFlow's error, when run.
            FileNotFoundError: if there is no such file.
        """
        return self.normalize(self.resize_and_crop(_images().decode_file(path)))

    def from_bytes(self, image_bytes):
        """The image of an encoded file, bytes or a string tensor of shape `()`.

        Returns:
            Tensor `(image_size, image_size, 3)`, float32.

        Raises:
            ValueError: for what is no JPEG or PNG, or is damaged. Inside a graph: TensorFlow's
                error, when run.
        """
        return self.normalize(self.resize_and_crop(decode_image(image_bytes)))

    def resize_and_crop(self, images):
        """Resizes, then takes the middle.

        Args:
            images: uint8, `(height, width, 3)` or `(batch, height, width, 3)`.

        Returns:
            Tensor `(image_size, image_size, 3)` or `(batch, image_size, image_size, 3)`; uint8, or
            for "pycls" float32 that is not rounded.

        Raises:
            ValueError: for another dtype, rank or number of channels, or no pixels.
        """
        images = _images().as_images(images)
        crop = _images().cropper(self.shorter_side, self.image_size, self.interpolation)
        return crop(images) if images.shape.rank == 3 else self._map(crop, images)

    def normalize(self, images):
        """Levels of 0 to 255 to the network's range.

        Args:
            images: `(..., 3)`, RGB, any number type.

        Returns:
            Tensor of the same shape, float32.

        Raises:
            ValueError: for another number of channels.
        """
        import tensorflow as tf

        shape = tf.TensorShape(images.shape)
        rgb = shape.rank != 0 and (shape.rank is None or shape[-1] in (3, None))
        check("images", f"shape {shape}", rgb, "RGB, of shape (..., 3)")
        scale, offset = _scale_and_offset(self.mean, self.std)
        images = tf.cast(images, tf.float32)
        if shape.rank is None or shape.rank < 2 or shape[-2] is None:
            return images * scale + offset
        # Rows of pixels are several times faster than broadcasting to three channels.
        rows = tf.reshape(images, [*tf.unstack(tf.shape(images)[:-2]), 3 * shape[-2]])
        rows = rows * np.tile(scale, shape[-2]) + np.tile(offset, shape[-2])
        return tf.ensure_shape(tf.reshape(rows, tf.shape(images)), shape[:-1].concatenate(3))

    def to_dict(self) -> dict:
        """A dict of JSON types, from which `from_dict` makes an equal one."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, fields: dict) -> "Preprocessing":
        """The preprocessing that `to_dict` was made of.

        Raises:
            ValueError: for an unknown field or a value out of range.
        """
        check("preprocessing", fields, isinstance(fields, dict), "a dict")
        check_fields(cls, fields)
        return cls(**fields)

    def replace(self, **changes: Any) -> "Preprocessing":
        """A copy with these fields changed."""
        return replaced(self, changes)

    def _crops(self, source):
        """The crops of one or more images, from whatever holds them."""
        import tensorflow as tf

        if isinstance(source, (list, tuple)):
            check("source", source, len(source) > 0, "at least one image")
            return tf.concat([self._crops(item) for item in source], axis=0)
        if tf.is_tensor(source) and source.dtype == tf.string:
            files = tf.reshape(source, [-1])
            return self._map(lambda file: self.resize_and_crop(decode_image(file)), files)
        if isinstance(source, (str, os.PathLike)):
            source = _images().decode_file(source)
        elif isinstance(source, bytes):
            source = decode_image(source)
        crops = self.resize_and_crop(source)
        return crops[None] if crops.shape.rank == 3 else crops

    def _map(self, function, elements):
        """A batch of crops, each a function of one element."""
        import tensorflow as tf

        shape = [self.image_size, self.image_size, 3]
        dtype = tf.float32 if self.interpolation == "pycls" else tf.uint8
        return tf.map_fn(function, elements, fn_output_signature=tf.TensorSpec(shape, dtype))


def decode_image(image_bytes):
    """An image from its encoded file, JPEG or PNG (or GIF that is not animated).

    Equal to Pillow's `convert("RGB")`: gray becomes RGB, transparency is dropped. Of 16-bit PNGs
    the higher byte is kept (Pillow clips gray ones). CMYK JPEGs come within 1 level of Pillow's.

    Args:
        image_bytes: the content of the file; bytes, or a string tensor of shape `()`.

    Returns:
        Tensor `(height, width, 3)`, uint8.

    Raises:
        ValueError: for what is no such image, or is damaged. Inside a graph: TensorFlow's error,
            when run.
    """
    import tensorflow as tf

    ok = isinstance(image_bytes, bytes) or (
        tf.is_tensor(image_bytes) and image_bytes.dtype == tf.string
    )
    kind = f"a {type(image_bytes).__name__}"
    check("image_bytes", kind, ok, "bytes or a string tensor")
    return _images().decode(image_bytes, "encoded bytes")


def load_image(path):
    """The image in a file.

    Args:
        path: of a JPEG or PNG, wherever TensorFlow reads files.

    Returns:
        Numpy array `(height, width, 3)`, uint8.

    Raises:
        ValueError: naming the file, if it is no such image or is damaged.
        FileNotFoundError: if there is no such file.
    """
    return _images().decode_file(path).numpy()


def preprocess_input(x, data_format=None):
    """Normalizes images by ImageNet's mean and standard deviation, on any backend of Keras.

    Args:
        x: RGB levels of 0 to 255; array or tensor (symbolic ones too) of 3 or 4 axes.
        data_format: "channels_last" or "channels_first"; Keras' setting by default.

    Returns:
        float32 of the same shape; an array for an array (a new one), else a tensor.

    Raises:
        ValueError: for another shape or `data_format`.
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


def decode_predictions(preds, top=5):
    """The classes of ImageNet that score highest.

    Args:
        preds: scores, `(batch, 1000)`; array or tensor.
        top: how many classes of each image.

    Returns:
        For each image a list of `(synset, name, score)`, the highest score first. Names are those
        of `keras.applications`: "great_white_shark".

    Raises:
        ValueError: for another shape, or a `top` beyond 1 to 1000.
    """
    preds = ops.convert_to_numpy(preds) if ops.is_tensor(preds) else np.asarray(preds)
    classes = imagenet_classes()
    ok = preds.ndim == 2 and preds.shape[1] == len(classes)
    check("preds", f"shape {preds.shape}", ok, "ImageNet's scores, of shape (batch, 1000)")
    check_int("top", top, minimum=1)
    check("top", top, top <= len(classes), f"at most {len(classes)}")
    best = np.argsort(-preds.astype("float64"), axis=1, kind="stable")[:, :top]
    return [
        [(classes[i][0], _short_name(classes[i][1]), float(scores[i])) for i in row]
        for row, scores in zip(best, preds, strict=True)
    ]


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """ImageNet's 1000 classes in the order of the labels: `("n01440764", "tench, Tinca tinca")`."""
    file = importlib.resources.files("regnet_tf") / "data" / "imagenet_classes.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    split = (line.partition(" ") for line in lines if not line.startswith("#"))
    return tuple((synset, words) for synset, _, words in split)


def _images():
    """The TensorFlow part, imported at its first use."""
    from regnet_tf import _images

    return _images


def _short_name(words):
    return words.split(",")[0].replace(" ", "_")


@functools.cache
def _scale_and_offset(mean, std):
    """`(x / 255 - mean) / std` as `x * scale + offset`.

    A graph optimizer turns divisions into products, which changes the last bit; it has nothing to
    change here, so that a graph computes what eager execution does.
    """
    mean, std = np.array(mean), np.array(std)
    return (1 / (255 * std)).astype("float32"), (-mean / std).astype("float32")
