"""The outputs of a RetinaNet as boxes and probabilities."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras_hub.layers import AnchorGenerator

from regnet_tf.layers import ClassNames

_FORMAT, _DELTAS = "yxyx", "center_xywh"


@keras.saving.register_keras_serializable(package="regnet_tf")
class Detections(ClassNames, keras.layers.Layer):
    """Turns the outputs of KerasHub's RetinaNet into boxes and probabilities, in float32.

    Args:
        anchors: arguments of KerasHub's `AnchorGenerator` but its format: `min_level`, `max_level`,
            `num_scales`, `aspect_ratios` and `anchor_size`.
        image_size: side of the images, in pixels.
        class_names: names of the classes.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: list of offsets `(batch, anchors, 4)` and logits `(batch, anchors, classes)`.
    Output shape: `(batch, anchors, 4 + classes)`: top, left, bottom and right of a box as shares of
    the image; then the probability of each class by itself.

    Examples:
        >>> anchors = {"min_level": 3, "max_level": 3, "num_scales": 1, "aspect_ratios": [1.0]}
        >>> anchors["anchor_size"] = 2.0
        >>> detections = regnet_tf.keras_hub.Detections(anchors, 64, class_names=("cat", "dog"))
        >>> detections([np.zeros((1, 64, 4)), np.zeros((1, 64, 2))]).shape
        TensorShape([1, 64, 6])
    """

    def __init__(
        self, anchors: dict[str, Any], image_size: int, class_names: Sequence[str], **kwargs: Any
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.anchors = dict(anchors)
        self.image_size = image_size
        self.classes = len(class_names)
        self.class_names = class_names
        self.anchor_generator = AnchorGenerator(_FORMAT, **anchors)

    def call(self, inputs):
        offsets, logits = inputs
        return ops.concatenate([self.decoded(offsets), ops.sigmoid(logits)], -1)

    def decoded(self, offsets):
        """Returns the boxes of offsets `(batch, anchors, 4)`, as shares of the image."""
        boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
            self._boxes_of_anchors(), offsets, _FORMAT, _FORMAT, encoded_format=_DELTAS
        )
        return boxes / self.image_size

    def encoded(self, boxes):
        """Returns the offsets of boxes `(batch, anchors, 4)`, the inverse of `decoded`."""
        return keras.utils.bounding_boxes.encode_box_to_deltas(
            self._boxes_of_anchors(),
            boxes * self.image_size,
            *(_FORMAT, _FORMAT),
            encoding_format=_DELTAS,
        )

    def _boxes_of_anchors(self):
        images = ops.zeros((1, self.image_size, self.image_size, 3))
        return ops.concatenate(list(self.anchor_generator(images).values()), 0)

    def compute_output_shape(self, input_shape):
        offsets, logits = input_shape
        return (*offsets[:-1], offsets[-1] + logits[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "anchors": self.anchors,
            "image_size": self.image_size,
            "class_names": list(self.class_names or ()),
        }
