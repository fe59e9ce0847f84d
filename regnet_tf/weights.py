"""Reads and loads weights of every kind: published ones, files, and trained networks."""

import dataclasses
import os
from pathlib import Path

import keras

from regnet_tf._checks import check
from regnet_tf._errors import UserError, first_line
from regnet_tf._internals import all_layers
from regnet_tf._keras_files import load_model, shape_of_weights
from regnet_tf.facts import at_size, facts_of
from regnet_tf.finding import check_variant, find_weights, published_preprocessing
from regnet_tf.layers import FinalConv, Head, Stage, Stem
from regnet_tf.porting import count_classes, load_state_dict, to_state_dict
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.published import best_weights, download, is_tag, weights_info
from regnet_tf.readers import read_state_dict
from regnet_tf.sharing.timm_config import described
from regnet_tf.variants import RegNetConfig, get_config, is_variant

_BEST = "imagenet"  # selects the best weights of a variant, as in `keras.applications`


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Weights that were found and read, before the network is built.

    Attributes:
        origin: the user's `weights` argument, or the tag that it selects.
        tag: tag of the published weights, or None for a file.
        config: configuration of the network; None if the file does not tell.
        classes: number of outputs of the head; 0 without one.
        class_names: names of the head's classes; None if unknown.
        state_dict: names -> arrays in PyTorch's layout; empty for a `.weights.h5` file.
        model: the Keras model of a run or a `.keras` file.
        path: path of a `.weights.h5` file.
        channels: number of input channels; 3 if the weights do not tell.
        told: preprocessing that a folder as the hub stores it tells.
    """

    origin: str
    tag: str | None = None
    config: RegNetConfig | None = None
    classes: int = 0
    class_names: tuple[str, ...] | None = None
    state_dict: dict = dataclasses.field(default_factory=dict)
    model: keras.Model | None = None
    path: Path | None = None
    channels: int = 3
    told: Preprocessing | None = None

    @classmethod
    def find(
        cls, weights: "Checkpoint | bool | str | os.PathLike", variant: str | None = None
    ) -> "Checkpoint":
        """Finds and reads the weights that a `weights` argument selects.

        Args:
            weights: True or "imagenet", a tag, a folder that `regnet train` wrote, the path of a
                file, or a name on the hub, as `build_regnet` takes them; or a checkpoint, which is
                returned.
            variant: any name of the network that will take the weights. With "imagenet" it must be
                the name of a known variant.

        Raises:
            ValueError: for an unknown tag, a tag of another network, or a damaged file.
            OSError: for a file that is missing or cannot be downloaded.
        """
        if isinstance(weights, cls):
            return weights
        origin = str(weights)
        if weights is True or weights == _BEST:
            origin = best_weights(str(variant))
        found = find_weights(origin, words=(_BEST,))
        if found.kind == "tag":
            return cls._published(origin, variant)
        if found.kind == "model":
            return cls.of_model(origin, load_model(found.path))
        if found.kind == "weights":
            channels, classes = shape_of_weights(found.path)
            return cls(origin, classes=classes, path=found.path, channels=channels)
        return cls._of_state_dict(origin, read_state_dict(found.path), described(found.path))

    @classmethod
    def _published(cls, tag, variant):
        info = weights_info(tag)
        if variant is not None:
            check_variant(tag, variant)
        state_dict = read_state_dict(download(tag))
        classes = count_classes(state_dict)
        names = info.class_names if classes == info.classes else None
        return cls(tag, tag, get_config(info.variant), classes, names, state_dict)

    @classmethod
    def _of_state_dict(cls, origin, state_dict, told):
        classes = count_classes(state_dict)
        names = told.class_names if len(told.class_names or ()) == classes else None
        return cls(
            origin,
            config=told.config,
            classes=classes,
            class_names=names,
            state_dict=state_dict,
            channels=told.preprocessing.channels if told.preprocessing else 3,
            told=told.preprocessing,
        )

    @classmethod
    def of_model(cls, origin: str, model: keras.Model) -> "Checkpoint":
        """Returns the weights of a model.

        Args:
            origin: the user's name for it.
            model: a model with the layers of one RegNet.

        Raises:
            UserError: for another model, or one whose normalization is folded.
        """
        layers = all_layers(model)
        for kind in (Stem, Head):
            found = sum(isinstance(layer, kind) for layer in layers)
            if found > 1 or (kind is Stem and found == 0):
                raise UserError(f"`weights` {origin} must hold one RegNet. It holds {found}.")
        head = next((layer for layer in layers if isinstance(layer, Head)), None)
        stem = next(layer for layer in layers if isinstance(layer, Stem))
        if stem.normalization is None:
            raise UserError(
                f"`weights` {origin} must have normalization layers. They were folded into the"
                " kernels by `fuse`; pass the network before that."
            )
        return cls(
            origin,
            config=stem.network,
            classes=head.classes if head else 0,
            class_names=head.class_names if head else None,
            state_dict=to_state_dict(model),
            model=model,
            channels=stem.input.shape[-1],
        )

    def preprocessing(self, size: int | None) -> Preprocessing | None:
        """Returns the preprocessing of images for the weights; None if unknown.

        Args:
            size: fixed side of the network's images in pixels, or None. Another side than the
                published test's gets the part of the image that training has kept.
        """
        if self.tag is not None:
            return published_preprocessing(self.tag, size)
        stems = [] if self.model is None else all_layers(self.model)
        known = [stem.preprocessing for stem in stems if isinstance(stem, Stem)] or [self.told]
        return at_size(known[0], size) if known[0] else None

    def load_into(self, model: keras.Model, unnamed_head: bool = True) -> str | None:
        """Loads the weights into a network of `build_regnet`.

        The stem is adapted to the model's channels (see `load_state_dict`). If the model has a head
        for the same classes, it is loaded, too. Its classes may have another order. Classes are
        compared by name if both sides know the names.

        Args:
            model: the network.
            unnamed_head: whether to load a head of the same number of classes if one side does not
                know their names.

        Returns:
            A line that says why the head is new; None if it is not, or if there is no head.

        Raises:
            ValueError: for weights that do not fit; the network is then unchanged.
        """
        head = next((layer for layer in all_layers(model) if isinstance(layer, Head)), None)
        new_head = None if head is None else self._new_head(head, unnamed_head)
        try:
            state_dict = self._state_dict_for(model) if self.path else self.state_dict
            load_state_dict(model, state_dict, skip_head=new_head is not None)
        except ValueError as error:
            ours = f" of {self.config.name}" if self.config else ""
            raise ValueError(
                f"`weights` {self.origin}{ours} do not fit {model.name}: {error}"
            ) from error
        if head is not None and new_head is None and self.class_names and head.class_names:
            order = [self.class_names.index(name) for name in head.class_names]
            head.kernel.assign(keras.ops.take(head.kernel, order, axis=1))
            head.bias.assign(keras.ops.take(head.bias, order))
        return new_head

    def _new_head(self, head, unnamed_head):
        """Returns a line that says why a head cannot take the checkpoint's weights, or None."""
        new, old = f"New head: {head.classes} classes", f"the {self.classes} of {self.origin}"
        if self.classes == 0:
            return f"{new}; {self.origin} has no head"
        if self.classes != head.classes:
            return f"{new} instead of {old}"
        if self.class_names and head.class_names:
            if sorted(self.class_names) != sorted(head.class_names):
                return f"{new} of other names than {old}"
        elif not unnamed_head:
            return f"{new}, which may differ from {old}"
        return None

    def _state_dict_for(self, model):
        """Reads a `.weights.h5` file by a copy of the network with the file's channels and head."""
        layers = all_layers(model)
        stem = next(layer for layer in layers if isinstance(layer, Stem))
        last = [layer for layer in layers if isinstance(layer, (Stage, FinalConv))][-1]
        trunk = keras.Model(stem.input, last.output, name="trunk")
        images = keras.Input((None, None, self.channels))
        x = keras.models.clone_model(trunk, input_tensors=images).output
        if self.classes:
            x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
            x = Head(self.classes, name="head")(x)
        copy = keras.Model(images, x, name="copy")
        try:
            copy.load_weights(self.path)
        except Exception as error:  # also errors of zipfile and h5py
            raise ValueError(first_line(error)) from error
        return to_state_dict(copy)


def preprocessing_for(weights: str | keras.Model) -> Preprocessing:
    """Returns the preprocessing of images for published weights or a network.

    Args:
        weights: a tag; a variant's name, for its "imagenet" weights; or a model that knows its
            preprocessing (see `facts_of`). A model with a fixed input size gets images of that
            size. A model that includes preprocessing gets levels of 0 to 255.

    Raises:
        ValueError: for an unknown tag or variant, a path, or a model that does not know its
            preprocessing.

    Examples:
        >>> preprocessing = regnet_tf.preprocessing_for("regnety_032.ra_in1k")
        >>> preprocessing("photo.jpg").shape
        TensorShape([1, 288, 288, 3])
    """
    if isinstance(weights, str):
        is_path = not (is_tag(weights) or is_variant(weights)) and os.path.exists(weights)
        allowed = "a tag, a variant's name or a model; `keras.saving.load_model` loads a file"
        check("weights", weights, not is_path, allowed)
        return weights_info(weights if is_tag(weights) else best_weights(weights)).preprocessing()
    preprocessing = facts_of(weights).preprocessing
    if preprocessing is None:
        raise ValueError(
            "`weights` must be a tag, a variant's name, or a model that knows its preprocessing."
            " Pass `preprocessing` where you build the model, or set"
            ' `model.get_layer("stem").preprocessing`.'
            f" Received: the model {weights.name!r} without preprocessing"
        )
    return preprocessing
