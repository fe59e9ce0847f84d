"""Preparing images for the backbone, as `regnet_tf.Preprocessing` does it, inside KerasHub."""

from typing import Any

import keras
import tensorflow as tf
from keras_hub.layers import ImageConverter
from keras_hub.models import ImageClassifierPreprocessor

from regnet_tf._checks import check
from regnet_tf.facts import at_size
from regnet_tf.keras_hub.backbone import RegNetBackbone
from regnet_tf.preprocessing import Preprocessing

_register = keras.saving.register_keras_serializable(package="regnet_tf")


class _ResizeAndCrop(keras.layers.Resizing):
    """Resizes the shorter side of images and crops the central square, as `Preprocessing` does.

    Levels are rounded to integers first, because `Preprocessing` takes uint8.

    Args:
        height: side of the square in pixels.
        width: the same number; both can be changed later.
        preprocessing: the `Preprocessing` whose crop fraction and interpolation to use.
        **kwargs: arguments of `keras.layers.Resizing`.
    """

    def __init__(self, height, width, preprocessing, **kwargs):
        super().__init__(height, width, **kwargs)
        self.preprocessing = preprocessing

    def transform_images(self, images, transformation=None, training=True):
        size = (self.height, self.width)
        check("image_size", size, self.height == self.width, "a square where images are cropped")
        preprocessing = self.preprocessing.replace(image_size=self.height)
        if not tf.is_tensor(images):  # of another backend
            images = keras.ops.convert_to_numpy(images)
        levels = tf.saturate_cast(tf.round(tf.cast(images, tf.float32)), tf.uint8)
        crops = preprocessing.with_channels(images.shape[-1]).resize_and_crop(levels)
        return self.backend.cast(self.backend.convert_to_tensor(crops), self.compute_dtype)


@_register
class RegNetImageConverter(ImageConverter):
    """Resizes, crops and normalizes images.

    The shorter side is resized to `image_size / crop_fraction`, then the central square is cropped.
    The result equals `regnet_tf.Preprocessing`, and with it Pillow, in every pixel. TensorFlow
    computes it on every Keras backend.

    Args:
        image_size: `(height, width)` of the network's input, equal numbers; None for images that
            are only normalized.
        crop_fraction: part of the shorter side that is kept.
        interpolation: "bicubic", "bilinear" or "pycls", see `regnet_tf.Preprocessing`.
        scale: number or one number for each channel, by which levels are multiplied.
        offset: number or one number for each channel, which is added then.
        crop_to_aspect_ratio: False to resize the whole image to `image_size`, by Keras.
        pad_to_aspect_ratio: True, with `crop_to_aspect_ratio=False`, to pad the shorter side.
        antialias: whether Keras filters the image when it shrinks it. The crop is always filtered.
        **kwargs: other arguments of `keras_hub.layers.ImageConverter`.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> convert = regnet_tf.keras_hub.RegNetImageConverter((64, 64), scale=1 / 255)
        >>> convert(regnet_tf.load_image("photo.jpg")[None]).shape
        TensorShape([1, 64, 64, 3])
    """

    backbone_cls = RegNetBackbone
    resizing: keras.layers.Resizing

    def __init__(
        self,
        image_size: tuple[int, int] | None = None,
        crop_fraction: float = 1.0,
        interpolation: str = "bicubic",
        scale: Any = None,
        offset: Any = None,
        crop_to_aspect_ratio: bool = True,
        pad_to_aspect_ratio: bool = False,
        antialias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            image_size,
            scale,
            offset,
            crop_to_aspect_ratio,
            pad_to_aspect_ratio,
            "bilinear" if interpolation == "pycls" else interpolation,
            antialias,
            data_format="channels_last",
            **kwargs,
        )
        self.interpolation = interpolation
        self.crop_fraction = crop_fraction
        if not crop_to_aspect_ratio:
            return
        height, width = image_size or (None, None)
        check("image_size", image_size, height == width, "a square where images are cropped")
        preprocessing = Preprocessing(crop_fraction=crop_fraction, interpolation=interpolation)
        del self.resizing  # Keras' own
        self.resizing = _ResizeAndCrop(
            height, width, preprocessing, dtype=self.dtype_policy, name="resizing"
        )

    @classmethod
    def from_preprocessing(cls, preprocessing: Preprocessing) -> "RegNetImageConverter":
        """Returns the converter that prepares images as a `Preprocessing` does."""
        size = preprocessing.image_size
        scale, offset = (one.tolist() for one in preprocessing.scale_and_offset())
        fraction = preprocessing.kept_fraction
        return cls((size, size), fraction, preprocessing.interpolation, scale, offset)

    def get_config(self) -> dict:
        return {**super().get_config(), "crop_fraction": self.crop_fraction}


@_register
class RegNetImageClassifierPreprocessor(ImageClassifierPreprocessor):
    """Prepares images for `RegNetImageClassifier`; labels and sample weights stay as they are.

    Args:
        image_converter: a `RegNetImageConverter`.
        **kwargs: arguments of `keras_hub.models.Preprocessor`.

    Examples:
        >>> converter = regnet_tf.keras_hub.RegNetImageConverter((64, 64), scale=1 / 255)
        >>> prepare = regnet_tf.keras_hub.RegNetImageClassifierPreprocessor(converter)
        >>> prepare(regnet_tf.load_image("photo.jpg")[None]).shape
        TensorShape([1, 64, 64, 3])
    """

    backbone_cls = RegNetBackbone
    image_converter_cls = RegNetImageConverter

    def __init__(self, image_converter: RegNetImageConverter | None = None, **kwargs: Any):
        super().__init__(image_converter=image_converter, **kwargs)

    @classmethod
    def from_network(cls, network: keras.Model) -> "RegNetImageClassifierPreprocessor | None":
        """Returns the preprocessor for the stem of a network; None if the network knows none.

        Args:
            network: made by `build_regnet`.
        """
        preprocessing = network.get_layer("stem").preprocessing
        if preprocessing is None:
            return None
        preprocessing = at_size(preprocessing, network.input_shape[1])
        return cls(RegNetImageConverter.from_preprocessing(preprocessing))
