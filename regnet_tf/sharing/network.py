"""A trained network, with the facts that the files of a shared folder state."""

import dataclasses
import math
import os
import re
from pathlib import Path
from typing import Any

import keras

from regnet_tf._boxes import number_of_classes
from regnet_tf._checks import check
from regnet_tf._errors import UserError
from regnet_tf._internals import all_layers
from regnet_tf._runs import RUN
from regnet_tf._trained import load_trained
from regnet_tf.decoders import PixelClassifier
from regnet_tf.facts import facts_of
from regnet_tf.finding import find_weights
from regnet_tf.layers import Head, Stage, Stem
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.published import WeightsInfo, is_tag, weights_info
from regnet_tf.sharing.training import Training, training_of
from regnet_tf.variants import RegNetConfig
from regnet_tf.weights import Checkpoint

_USUAL_SIZE = 224  # pixels, where a network takes any
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # as the hub writes their names


@dataclasses.dataclass(frozen=True)
class SharedNetwork:
    """A trained network and what is known about it.

    Attributes:
        name: name of the network.
        model: the `keras.Model`.
        file: its `.keras` file, or None.
        config: its configuration.
        state_dict: weights of trunk and head in timm's names.
        kind: "classifier", "multi-label classifier", "segmentation" or "backbone".
        classes: number of classes; 0 without any.
        class_names: their names, or None.
        preprocessing: from a photograph to the network's input.
        assumed: whether the preprocessing is unknown, and ImageNet's is assumed.
        licence: name of the licence, or None.
        training: how it was trained and tested, or None.
        info: facts about published weights, or None.
    """

    name: str
    model: keras.Model
    file: Path | None
    config: RegNetConfig
    state_dict: dict[str, Any]
    kind: str
    classes: int
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing
    assumed: bool
    licence: str | None
    training: Training | None
    info: WeightsInfo | None

    @classmethod
    def load(cls, source: str | os.PathLike, licence: str | None = None) -> "SharedNetwork":
        """Loads a trained network.

        Args:
            source: a tag, a folder that `regnet train` wrote, or a `.keras` file.
            licence: name of the licence; default: that of published weights, also of those that
                the training began with.

        Raises:
            UserError: for another source, a network that does not tell its configuration, or a
                name that is no licence's.
            OSError: for weights that cannot be read.
        """
        ok = licence is None or _LICENCE.fullmatch(licence)
        check("--licence", licence, ok, "in lower case, such as apache-2.0")
        found, trained = find_weights(source, argument="RUN"), load_trained(source)
        file = found.path if found.kind == "model" else None
        return cls.of_model(trained.model, source, trained.name, file, licence)

    @classmethod
    def of_model(
        cls,
        model: keras.Model,
        source: str | os.PathLike,
        name: str,
        file: Path | None = None,
        licence: str | None = None,
    ) -> "SharedNetwork":
        """Returns a model with the facts that its source tells.

        Args:
            model: a model with the layers of one RegNet.
            source: where its weights come from: a tag, a run, or a file.
            name: name of the network.
            file: its `.keras` file, or None.
            licence: see `load`.

        Raises:
            UserError: for a network that does not tell its configuration.
        """
        checkpoint = Checkpoint.of_model(str(source), model)
        if checkpoint.config is None:
            raise UserError(f"{source} does not tell its configuration (`facts_of`).")
        if any(number_of_classes(one.shape) != one.shape[-1] for one in model.outputs):
            raise UserError(f"{source} is a detector. Detectors cannot be shared yet.")
        run = Path(source) / RUN if file is None else file.with_name(RUN)
        training = training_of(run) if run.is_file() else None
        info = weights_info(str(source)) if is_tag(str(source)) else None
        base = training.base if training else None
        origin = info or (weights_info(base) if is_tag(base) else None)
        size, channels = model.inputs[0].shape[1::2]
        known = checkpoint.preprocessing(size)
        preprocessing = known or Preprocessing(image_size=size or _USUAL_SIZE)
        kind, of_pixels = _kind(model), facts_of(model).class_names
        return cls(
            name=name,
            model=model,
            file=file,
            config=checkpoint.config,
            state_dict=checkpoint.state_dict,
            kind=kind,
            classes=model.output_shape[-1] if kind == "segmentation" else checkpoint.classes,
            class_names=of_pixels if kind == "segmentation" else checkpoint.class_names,
            preprocessing=preprocessing.with_channels(channels or preprocessing.channels),
            assumed=known is None,
            licence=licence or (origin.licence if origin else None),
            training=training,
            info=info,
        )

    @property
    def has_other_layers(self) -> bool:
        """Whether the model has weights besides those of stem, stages and head, as decoders."""
        counters = sum(name.endswith("num_batches_tracked") for name in self.state_dict)
        return len(self.model.weights) > len(self.state_dict) - counters

    @property
    def output_stride(self) -> int:
        """Input pixels per pixel of the last feature map; dilation makes it smaller."""
        layers = [layer for layer in all_layers(self.model) if isinstance(layer, (Stem, Stage))]
        return math.prod(layer.stride for layer in layers)


def _kind(model):
    layers = all_layers(model)
    if any(isinstance(layer, PixelClassifier) for layer in layers):
        return "segmentation"
    head = next((layer for layer in layers if isinstance(layer, Head)), None)
    if head is None:
        return "backbone"
    independent = head.activation is keras.activations.sigmoid
    return "multi-label classifier" if independent else "classifier"
