"""Writes presets: folders that KerasHub's `from_preset` reads."""

import os
from pathlib import Path

import keras

from regnet_tf._files import LABELS_FILE, naming_file, replacing
from regnet_tf._internals import all_layers
from regnet_tf._markdown import markdown_table
from regnet_tf.facts import facts_of
from regnet_tf.keras_hub.backbone import RegNetBackbone
from regnet_tf.keras_hub.classifier import RegNetImageClassifier
from regnet_tf.keras_hub.preprocessing import RegNetImageClassifierPreprocessor
from regnet_tf.layers import Head
from regnet_tf.published import WeightsInfo

#: Licences that the Hugging Face hub knows by name.
_HUB_LICENCES = ("mit", "apache-2.0", "bsd-3-clause", "cc-by-nc-4.0")

_CLASSIFIER = """\
classifier = keras_hub.models.ImageClassifier.from_preset("FOLDER")
logits = classifier.predict(images)  # levels of 0 to 255, (batch, height, width, {channels})"""
_BACKBONE = """\
backbone = keras_hub.models.Backbone.from_preset("FOLDER")
maps = backbone.predict(prepared)  # normalized, (batch, height, width, {channels})"""


def write_preset(
    network: keras.Model, folder: str | os.PathLike, info: WeightsInfo | None = None
) -> None:
    """Writes a network as a preset of KerasHub, with a model card.

    A network with a head becomes a `RegNetImageClassifier`, another one a `RegNetBackbone`. The
    card is `README.md`. `labels.txt` names the classes, one a line, if the network knows them.

    Args:
        network: made by `build_regnet`.
        folder: the folder to write; files of another preset in it are replaced.
        info: the row of published weights, for the card.

    Raises:
        ValueError: for another model, or one made by `fuse`.
        UserError: if a file cannot be written.
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
    with replacing(folder / "README.md") as path:
        path.write_text(_card(network, info, head), encoding="utf-8")


def _card(network, info, head):
    """Returns the model card: metadata of the hub, then markdown."""
    task = "image-classification" if head else "image-feature-extraction"
    metadata = ["library_name: keras-hub", f"pipeline_tag: {task}"]
    if info is not None and info.licence in _HUB_LICENCES:
        metadata.append(f"license: {info.licence}")
    elif info is not None:
        metadata += ["license: other", f"license_name: {info.licence}"]
    use = (_CLASSIFIER if head else _BACKBONE).format(channels=network.input_shape[-1])
    parts = [
        "\n".join(["---", *metadata, "---"]),
        f"# {network.name}",
        f"{network.get_layer('stem').network.name}, a RegNet, as a preset of KerasHub.",
        *(["The licence is not stated."] if info is None else _of_published(info)),
        f"```python\nimport keras_hub\nimport regnet_tf.keras_hub\n\n{use}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _of_published(info):
    """Returns the paragraphs about published weights."""
    origin = f"`{info.hub_repository}` on the Hugging Face hub"
    if info.origin:
        origin += f", trained by {info.origin}"
    paragraphs = [f"- Licence: {info.licence}\n- Weights: {origin}"]
    if info.published:
        columns = ["measured by", "pixels", "ImageNet top-1 %", "top-5 %"]
        rows = [
            [entry["source"], entry["image_size"], entry["top1"], entry.get("top5", "")]
            for entry in info.published
        ]
        paragraphs.append(markdown_table(columns, rows))
    return paragraphs
