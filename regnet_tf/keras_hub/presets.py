"""Writes presets: folders that KerasHub's `from_preset` reads."""

import os
from pathlib import Path

import keras

from regnet_tf._files import LABELS_FILE, naming_file, replacing
from regnet_tf._internals import all_layers
from regnet_tf.facts import facts_of
from regnet_tf.keras_hub.backbone import RegNetBackbone
from regnet_tf.keras_hub.classifier import RegNetImageClassifier
from regnet_tf.keras_hub.preprocessing import RegNetImageClassifierPreprocessor
from regnet_tf.layers import Head


def write_preset(network: keras.Model, folder: str | os.PathLike) -> None:
    """Writes a network as a preset of KerasHub.

    A network with a head becomes a `RegNetImageClassifier`, another one a `RegNetBackbone`.
    `labels.txt` names the classes, one a line, if the network knows them.

    Args:
        network: made by `build_regnet`.
        folder: the folder to write; files of another preset in it are replaced.

    Raises:
        ValueError: for another model, or one made by `fuse`.
        UserError: if a file cannot be written.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, input_shape=(64, 64, 3), classes=10)
        >>> regnet_tf.keras_hub.write_preset(model, "presets/tiny")
        >>> regnet_tf.keras_hub.RegNetBackbone.from_preset("presets/tiny").output_shape
        (None, 4, 4, 64)
    """
    folder = Path(folder)
    head = any(isinstance(layer, Head) for layer in all_layers(network))
    with naming_file(folder):
        if head:
            RegNetImageClassifier.from_network(network).save_to_preset(str(folder))
        else:
            RegNetBackbone.from_network(network).save_to_preset(str(folder))
            preprocessor = RegNetImageClassifierPreprocessor.from_network(network)
            if preprocessor is not None:
                preprocessor.save_to_preset(str(folder))
    names = facts_of(network).class_names
    if names is not None:
        with replacing(folder / LABELS_FILE) as path:
            path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
