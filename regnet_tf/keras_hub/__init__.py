"""RegNets as models of KerasHub: a backbone, an image classifier and its preprocessing.

Import this package before you load a preset: KerasHub finds the classes of a preset by their
registered names.

    import keras_hub
    import regnet_tf.keras_hub

    classifier = keras_hub.models.ImageClassifier.from_preset("FOLDER")

`import regnet_tf` does not import KerasHub.
"""

from regnet_tf import _errors

_errors.import_optional("keras_hub", extra="keras_hub")

from regnet_tf.keras_hub.backbone import RegNetBackbone
from regnet_tf.keras_hub.classifier import RegNetImageClassifier
from regnet_tf.keras_hub.detections import Detections
from regnet_tf.keras_hub.preprocessing import (
    RegNetImageClassifierPreprocessor,
    RegNetImageConverter,
)
from regnet_tf.keras_hub.presets import write_preset
