"""Object detection: boxes around objects, each with a class. KerasHub's RetinaNet finds them."""

import contextlib
import dataclasses
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

import regnet_tf
from regnet_tf._boxes import SIDES, detections
from regnet_tf._errors import import_optional
from regnet_tf._internals import retinanet_label_encoder
from regnet_tf._predictors import Predictor

from .. import figures
from ..data.boxes import without_padding
from ..recipes.parts import Detector, Images, Network
from . import scores
from .classification import shown
from .classifier import with_drop_path
from .samples import name_of, scored
from .task import FILES, Evaluation, Task

_FORMAT, _DELTAS = "yxyx", "center_xywh"
_SHOWN = 24  # number of test images in a figure
_IGNORED = -2  # class of an anchor that overlaps an object only in part
_HEAD_STDDEV = 0.01  # of the heads' initial weights
_PRIOR_LOGIT = -math.log(99)  # logit of an object's probability at first, 0.01


@dataclasses.dataclass(frozen=True)
class Detection(Task):
    """Finds objects. The outputs are those of `regnet_tf.keras_hub.Detections`.

    Args:
        size: side of the images, in pixels.
        detector: the `Detector` of the recipe; None if only to evaluate.
    """

    size: int
    detector: Detector | None = None
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    score: ClassVar[str] = "loss"
    files: ClassVar[dict[str, str]] = {
        name: what
        for name, what in FILES.items()
        if not name.startswith(("confusion.", "mistakes."))
    }

    def build_network(
        self, network: Network, images: Images, class_names: Sequence[str]
    ) -> keras.Model:
        """Returns KerasHub's RetinaNet on a RegNet."""
        import_optional("pycocotools", "detection")  # before the training, not after it
        models, part = import_optional("keras_hub", "detection").models, self._part
        first = 0 if network.config.stem_stride == 2 else 1  # the RegNet's level with stride 1
        encoder = regnet_tf.backbone(
            with_drop_path(network),
            outputs=range(first + part.finest_level, first + part.coarsest_level + 1),
            input_shape=images.input_shape,
            preprocessing=images.preprocessing,
            synchronized=network.synchronized,
            dtype=network.precision,
        )
        backbone = models.RetinaNetBackbone(
            image_encoder=encoder,
            min_level=part.finest_level,
            max_level=part.coarsest_level,
            use_p5=True,
            image_shape=images.input_shape,
            dtype=network.precision,
        )
        decoded = self._layer(class_names)
        retinanet = models.RetinaNetObjectDetector(
            backbone,
            num_classes=len(class_names),
            bounding_box_format=_FORMAT,
            anchor_generator=decoded.anchor_generator,
            pre_logits_num_conv_layers=part.convolutions,
        )
        _initialize_heads(retinanet)
        inputs = keras.Input(images.input_shape, name="images")
        parts = retinanet(inputs)  # as one layer: Keras cannot load KerasHub's heads alone
        outputs = decoded([parts["bbox_regression"], parts["cls_logits"]])
        return keras.Model(inputs, outputs, name=f"{encoder.name}_retinanet")

    def losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns `(4, batch)`: loss, anchors on objects, right ones of these, and 1.

        The losses are torchvision's for RetinaNet: L1 of offsets and focal of classes, both summed.
        KerasHub compiles Huber's loss instead, whose gradient fades for small offsets.
        """
        layer = self._layer([""] * (outputs.shape[-1] - SIDES))
        offsets, classes = self._targets(layer, labels)
        on_object = tf.cast(classes >= 0, tf.float32)
        counted = tf.cast(classes != _IGNORED, tf.float32)
        true = tf.one_hot(tf.cast(classes, tf.int32), layer.classes)
        focal = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, reduction="none")
        differences = tf.abs(offsets - layer.encoded(outputs[..., :SIDES]))
        losses = on_object * tf.reduce_sum(differences, -1)
        losses += layer.classes * counted * focal(true, outputs[..., SIDES:])  # Keras' is a mean
        guesses = tf.cast(tf.argmax(outputs[..., SIDES:], -1), classes.dtype)
        right = on_object * tf.cast(guesses == classes, tf.float32)
        sums = [tf.reduce_sum(one, -1) for one in (losses, on_object, right)]
        return tf.stack([*sums, tf.ones_like(sums[0])])

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the loss of a batch, by the number of anchors on objects."""
        losses, anchors, _, _ = tf.unstack(tf.reduce_sum(self.losses(labels, outputs), -1))
        return losses / tf.maximum(anchors, 1)

    def accuracy(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the share of anchors on objects with the right class."""
        _, anchors, right, _ = tf.unstack(tf.reduce_sum(self.losses(labels, outputs), -1))
        return tf.math.divide_no_nan(right, anchors)

    def measure(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns `losses`."""
        return self.losses(labels, probabilities)

    def named_metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Returns "loss" and "accuracy", both for the anchors on objects."""
        loss, anchors, right = map(float, means[:3])
        return {"loss": loss / max(anchors, 1e-12), "accuracy": right / max(anchors, 1e-12)}

    def evaluate(
        self,
        predictor: Predictor,
        batches: Iterable,
        paths: Sequence[str] | None,
        class_names: Sequence[str],
        title: str,
        grad_cam: bool = False,
    ) -> Evaluation:
        """Returns pycocotools' average precisions, with figures and tables.

        See `Task.evaluate`. There are no heat maps.
        """
        truth: list[np.ndarray] = []
        found: list[np.ndarray] = []
        first: list[figures.Boxes] = []
        for images, labels, outputs in scored(predictor, batches):
            for image, boxes, of_image in zip(images, labels, detections(outputs), strict=True):
                truth.append(without_padding(boxes))
                found.append(of_image)
                if len(first) < _SHOWN:
                    first.append(figures.Boxes(predictor.picture(image), truth[-1], found[-1]))
        outcome = average_precision(truth, found, class_names, self.size)
        rows: list[Sequence[Any]] = [("image", "class", "score", "top", "left", "bottom", "right")]
        for index, of_image in enumerate(found):
            for *box, score, place in of_image.tolist():
                cells = (f"{value:.4f}" for value in (score, *box))
                rows.append((name_of(paths, index), class_names[int(place)], *cells))
        ap, support = outcome["class_ap"], outcome["support"]
        return Evaluation(
            outcome,
            {
                "classes.png": figures.classes(ap, support, title, "average precision", "boxes"),
                "predictions.png": figures.boxes(first, class_names, f"{title}: test images"),
            },
            {
                "predictions.csv": rows,
                "classes.csv": [
                    ("class", "boxes", "average_precision"),
                    *((name, support[name], shown(ap[name])) for name in class_names),
                ],
            },
        )

    def headline(self, results: dict) -> str:
        """Returns AP, AP50 and AP75."""
        return (
            f"Test AP {results['ap']:.4f}, AP50 {results['ap50']:.4f}, AP75 {results['ap75']:.4f}"
        )

    @property
    def _part(self):
        if self.detector is None:
            raise ValueError("`detector` must be given. Received: detector=None")
        return self.detector

    def _layer(self, class_names):
        """Returns the layer that makes the network's outputs."""
        part = self._part
        anchors = {
            "min_level": part.finest_level,
            "max_level": part.coarsest_level,
            "num_scales": 3,
            "aspect_ratios": [0.5, 1.0, 2.0],
            "anchor_size": part.anchor_size,
        }
        kind = import_optional("regnet_tf.keras_hub", "detection").Detections
        return kind(anchors, self.size, class_names, name="detections")

    def _targets(self, layer, labels):
        """Returns offsets `(batch, anchors, 4)` and class of each anchor, as KerasHub encodes."""
        encode = retinanet_label_encoder(
            layer.anchor_generator, bounding_box_format=_FORMAT, encoding_format=_DELTAS
        )
        return encode(
            images=tf.zeros((1, self.size, self.size, 3)),
            gt_boxes=self.size * labels[..., :SIDES],  # in pixels
            gt_classes=labels[..., SIDES],
        )


def _initialize_heads(retinanet):
    """Initializes the heads as RetinaNet's paper does (section 4.1).

    KerasHub 0.x gives the prior of the classes to the boxes, and larger weights to both heads.
    """
    for head, bias in ((retinanet.box_head, 0), (retinanet.classification_head, _PRIOR_LOGIT)):
        for layer in (*head.conv_layers, head.prediction_layer):
            layer.kernel.assign(keras.random.normal(layer.kernel.shape, stddev=_HEAD_STDDEV))
        last = head.prediction_layer.bias
        last.assign(keras.ops.full(last.shape, bias))


def average_precision(
    truth: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    class_names: Sequence[str],
    size: int,
) -> dict:
    """Returns COCO's average precisions, counted by pycocotools.

    Args:
        truth: boxes of each image, `(boxes, 5)`, see `training.data.boxes`.
        found: detections of each image, as `Detection.detections` returns them.
        class_names: names of the classes.
        size: side of the images in pixels, for what COCO calls small and large.

    Returns:
        Dict with "ap" (mean over IoU 0.50 to 0.95), "ap50", "ap75"; "class_ap" and "support" of
        each class by name; "boxes", "test_images" and "notes".
    """
    COCO = import_optional("pycocotools.coco", "detection").COCO
    COCOeval = import_optional("pycocotools.cocoeval", "detection").COCOeval
    wanted, given = _as_coco(truth, size), _as_coco(found, size)
    places = range(len(class_names))
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": number} for number in range(len(truth))],
        "categories": [{"id": place} for place in places],
        "annotations": [{**one, "id": n + 1, "iscrowd": 0} for n, one in enumerate(wanted)],
    }
    counts = np.bincount([one["category_id"] for one in wanted], minlength=len(class_names))
    per_class, stats = np.full(len(class_names), np.nan), np.zeros(3)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        if wanted and given:
            test = COCOeval(coco, coco.loadRes(given), "bbox")
            test.evaluate()
            test.accumulate()
            test.summarize()
            stats = np.maximum(test.stats[:3], 0)
            precision = test.eval["precision"][:, :, :, 0, -1].mean((0, 1))
            per_class = np.where(precision < 0, np.nan, precision)
    return {
        **dict(zip(("ap", "ap50", "ap75"), map(float, stats), strict=True)),
        "class_ap": scores.by_name(class_names, per_class),
        "support": dict(zip(class_names, counts.tolist(), strict=True)),
        "boxes": len(wanted),
        "test_images": len(truth),
        "notes": [] if given else ["It has found nothing."],
    }


def _as_coco(boxes, size):
    """Returns boxes in pixels as COCO's annotations; detections have a score."""
    found: list[dict[str, Any]] = []
    for image, rows in enumerate(boxes):
        for row in np.asarray(rows, float):
            top, left, bottom, right = size * row[:4]
            box = [left, top, right - left, bottom - top]
            one = {"image_id": image, "category_id": int(row[-1]), "bbox": box}
            one["area"] = box[2] * box[3]
            found.append(one | ({"score": row[4]} if len(row) == 6 else {}))
    return found
