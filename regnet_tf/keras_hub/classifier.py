"""The image classifier."""

from typing import Any

import keras
from keras_hub.models import ImageClassifier

from regnet_tf._checks import check
from regnet_tf._internals import all_layers, saving_without_preprocessor
from regnet_tf.keras_hub.backbone import RegNetBackbone
from regnet_tf.keras_hub.preprocessing import RegNetImageClassifierPreprocessor
from regnet_tf.layers import Head


@keras.saving.register_keras_serializable(package="regnet_tf")
class RegNetImageClassifier(ImageClassifier):
    """A RegNet that classifies images: backbone, average pooling, dense layer.

    `fit`, `evaluate` and `predict` take raw images, whose levels are 0 to 255, and prepare them by
    the `preprocessor`.

    Args:
        backbone: a `RegNetBackbone`.
        num_classes: number of classes.
        preprocessor: a `RegNetImageClassifierPreprocessor`; None for prepared images.
        **kwargs: arguments of `keras_hub.models.ImageClassifier`, such as `activation`, `dropout`
            and `pooling`. By default, outputs are logits.

    Examples:
        >>> backbone = regnet_tf.keras_hub.RegNetBackbone(tiny, image_shape=(64, 64, 3))
        >>> classifier = regnet_tf.keras_hub.RegNetImageClassifier(backbone, num_classes=10)
        >>> classifier.output_shape
        (None, 10)
    """

    backbone_cls = RegNetBackbone
    preprocessor_cls = RegNetImageClassifierPreprocessor

    def __init__(
        self,
        backbone: RegNetBackbone,
        num_classes: int,
        preprocessor: RegNetImageClassifierPreprocessor | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            backbone=backbone, num_classes=num_classes, preprocessor=preprocessor, **kwargs
        )

    def save_to_preset(self, preset_dir: str, **kwargs: Any) -> None:
        """Saves the classifier to a folder, as `ImageClassifier.save_to_preset` does."""
        with saving_without_preprocessor():
            super().save_to_preset(preset_dir, **kwargs)

    @classmethod
    def from_network(cls, network: keras.Model, **kwargs: Any) -> "RegNetImageClassifier":
        """Returns the classifier with the weights and the preprocessing of a network.

        Args:
            network: made by `build_regnet`, with its head.
            **kwargs: arguments of the class. By default, outputs are logits.

        Raises:
            ValueError: for another model, or one made by `fuse`.
        """
        heads = [layer for layer in all_layers(network) if isinstance(layer, Head)]
        check("network", network.name, len(heads) == 1, "a classifier made by `build_regnet`")
        classifier = cls(
            RegNetBackbone.from_network(network),
            heads[0].classes,
            preprocessor=RegNetImageClassifierPreprocessor.from_network(network),
            **kwargs,
        )
        classifier.output_dense.set_weights(heads[0].get_weights())
        return classifier
