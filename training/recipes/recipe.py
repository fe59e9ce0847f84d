"""The hyperparameters of a training run (`Recipe`), in named parts."""

import dataclasses
import difflib
import json
import operator
import typing
from collections.abc import Mapping
from typing import Any

from regnet_tf import RegNetConfig
from regnet_tf._checks import check, check_int, named, plain
from regnet_tf.variants import named_config

from .parts import (
    Augmentation,
    Average,
    Data,
    Decoder,
    Detector,
    Distillation,
    Images,
    Loss,
    Network,
    Optimizer,
    Pretraining,
    Schedule,
    Selection,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters of a training run.

    Each part explains its fields. A dotted name, such as "schedule.epochs", names a field of a
    part in `replace`, on the command line and in errors.

    Args:
        name: name of the recipe on the command line.
        description: purpose, command and expected result.
        data: the data set.
        network: the RegNet.
        decoder: the decoder for segmentation; None for another task.
        detector: the detector for object detection; None for another task.
        images: size and normalization of images.
        augmentation: random changes of training images.
        schedule: epochs, batches and learning rate.
        optimizer: the optimizer and its weight decay.
        loss: the loss.
        distillation: the teacher and its share of the loss; None to learn from the labels alone.
        average: the network's moving average; None for no average.
        selection: which epoch's network is kept; None for the last one's.
        pretraining: the training of the initial weights; None for random initialization.
        precise_images: number of training images for precise normalization statistics before each
            test; 0 to test with the moving averages.
        seed: seed of weights, order, augmentation and the choice of few images. The same seed
            repeats a run.

    Raises:
        ValueError: if a field is out of range, or parts do not fit together; the message names the
            field.
    """

    name: str
    description: str
    data: Data
    network: Network
    decoder: Decoder | None = None
    detector: Detector | None = None
    images: Images
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    schedule: Schedule
    optimizer: Optimizer
    loss: Loss = dataclasses.field(default_factory=Loss)
    distillation: Distillation | None = None
    average: Average | None = None
    selection: Selection | None = None
    pretraining: Pretraining | None = None
    precise_images: int = 0
    seed: int = 0

    def __post_init__(self):
        plain(self)
        for name in ("name", "description"):
            value = getattr(self, name)
            check(name, value, isinstance(value, str), "a text")
        for name in PARTS:
            _check_part(name, getattr(self, name))
        check_int("precise_images", self.precise_images, minimum=0)
        check_int("seed", self.seed, minimum=0)
        self._check_sizes()
        if self.images.channels != 3:
            self._check_without(_FOR_RGB, "where `images.channels` is not 3: it needs RGB")
        if self.decoder is not None:
            self._check_decoder(self.decoder)
        if self.detector is not None:
            self._check_detector(self.detector)
        if self.pretraining is not None:
            allowed = "None where `pretraining` is given"
            check("network.weights", self.network.weights, self.network.weights is None, allowed)

    def _check_sizes(self):
        least = self.network.config.total_stride
        for field in ("size", "test_size"):
            size = getattr(self.images, field)
            ok = size is None or size >= least
            allowed = f"at least {least} pixels, the network's total stride"
            check(f"images.{field}", size, ok, allowed)

    def _check_decoder(self, decoder):
        highest, finest = len(self.network.config.stages), decoder.finest_level
        allowed = f"at most {highest}, for two levels"
        check("decoder.finest_level", finest, finest <= highest, allowed)
        self._check_without(_NOT_FOR_MAPS, "where `decoder` is given: not for maps of classes")

    def _check_detector(self, detector):
        highest = self.network.config.total_stride.bit_length() - 1
        coarsest = detector.coarsest_level
        allowed = f"at most {highest}, the level of the last stage"
        check("detector.coarsest_level", coarsest, coarsest <= highest, allowed)
        self._check_without(_NOT_FOR_BOXES, "where `detector` is given: boxes do not move along")

    def _check_without(self, fields, why):
        """Raises ValueError unless fields have the values that disable them."""
        for name, without in fields.items():
            value = operator.attrgetter(name)(self)
            check(name, value, value == without, f"{without} {why}")

    def replace(self, changes: Mapping[str, Any]) -> "Recipe":
        """Returns a copy with some fields changed.

        Args:
            changes: dict from names to values. A name is a field of the recipe, such as "seed" or
                "loss", or a dotted name, such as "schedule.epochs". A field of a part that is
                None makes that part. "network.config" may be the name of a RegNet.

        Raises:
            ValueError: if a name is unknown, or a value is out of range.
        """
        check("changes", changes, isinstance(changes, Mapping), "a dict")
        fields = {}
        for name, value in changes.items():
            check_name(name)
            if "." not in name:
                fields[name] = value
        for name, of_part in _by_part(changes).items():
            part = fields.get(name, getattr(self, name))
            _check_part(name, part)
            if part is None:
                fields[name] = _made(PARTS[name], of_part, name)
            else:
                fields[name] = dataclasses.replace(part, **of_part)
        return dataclasses.replace(self, **fields)

    def to_dict(self) -> dict:
        """Returns the fields as JSON types; a part is a dict."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Recipe":
        """Returns a recipe from the result of `to_dict`. Lists from JSON become tuples.

        Raises:
            ValueError: if a field is unknown, missing or out of range.
        """
        check("recipe", fields, isinstance(fields, Mapping), "a dict")
        fields = dict(fields)
        for name, value in fields.items():
            check_name(name)
            if name in PARTS and isinstance(value, dict):
                fields[name] = _part_from_dict(name, value)
        return _made(cls, fields)


def _check_part(name, value):
    """Raises ValueError unless a recipe may have this value as a part."""
    part, optional = PARTS[name], name in OPTIONAL_PARTS
    ok = isinstance(value, part) or (optional and value is None)
    check(name, value, ok, f"of type {part.__name__}{', or None' if optional else ''}")


def _part_from_dict(part, fields):
    """Returns a part of a recipe from JSON types."""
    for field in fields:
        check_name(f"{part}.{field}")
    fields = {field: tuple(v) if isinstance(v, list) else v for field, v in fields.items()}
    if part == "network" and isinstance(fields.get("config"), dict):
        fields["config"] = RegNetConfig.from_dict(fields["config"])
    return _made(PARTS[part], _with_config(part, fields), part)


def _with_config(part, fields):
    """Returns the fields of a part, with a `RegNetConfig` instead of the name of one."""
    if part == "network" and isinstance(fields.get("config"), str):
        return {**fields, "config": named_config(fields["config"], "network.config")}
    return fields


def _by_part(changes):
    """Returns the changes of parts' fields: name of the part -> field -> value."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        part, dot, field = name.partition(".")
        if dot:
            found.setdefault(part, {})[field] = value
    return {part: _with_config(part, fields) for part, fields in found.items()}


def _made(kind, fields, part=None):
    """Returns a new object; raises ValueError if a field is missing.

    Args:
        kind: `Recipe` or the class of one of its parts.
        fields: the fields, all known.
        part: name of the part, for errors.
    """
    for field in dataclasses.fields(kind):
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in fields:
            name = f"{part}.{field.name}" if part else field.name
            raise ValueError(f"`{name}` must be given. Received: {', '.join(fields) or 'nothing'}")
    return kind(**fields)


_TYPES = typing.get_type_hints(Recipe)
#: The parts of a recipe that may be None.
OPTIONAL_PARTS = [name for name, kind in _TYPES.items() if type(None) in typing.get_args(kind)]
#: The parts of a recipe: name -> class.
PARTS = {
    name: typing.get_args(kind)[0] if name in OPTIONAL_PARTS else kind
    for name, kind in _TYPES.items()
    if name in OPTIONAL_PARTS or dataclasses.is_dataclass(kind)
}
#: The type of every field that is no part: dotted name -> type.
FIELD_TYPES = {name: kind for name, kind in _TYPES.items() if name not in PARTS} | {
    f"{name}.{field}": kind
    for name, part in PARTS.items()
    for field, kind in typing.get_type_hints(part).items()
}
# What needs one answer an image, would leave maps of classes as they are, or mix them, with the
# values that disable it.
_NOT_FOR_MAPS = {
    "distillation": None,
    "images.crop_mode": "center",
    "images.exif_orientation": False,
    "augmentation.policy": None,
    "augmentation.erasing": 0.0,
    "augmentation.mixup": 0.0,
    "augmentation.cutmix": 0.0,
}
# What would leave boxes as they are, or needs another task, with the values that disable it.
_NOT_FOR_BOXES = _NOT_FOR_MAPS | {
    "decoder": None,
    "images.test_size": None,
    "images.crop_mode": "squash",
    "augmentation.crop": "whole",
    "augmentation.translation": 0.0,
    "augmentation.rotation": 0.0,
    "augmentation.zoom": 0.0,
    "loss.label_smoothing": 0.0,
    "loss.class_weights": None,
}
# What needs R, G and B, with the values that disable it.
_FOR_RGB = {"augmentation.policy": None, "augmentation.lighting": 0.0}


def check_name(name: str) -> None:
    """Raises ValueError, with the nearest names, unless this names a field or part of a recipe."""
    if name in FIELD_TYPES or name in PARTS:
        return
    check("field", name, isinstance(name, str), "the name of a recipe's field")
    near = _nearest(name)
    of_part = [known for known in FIELD_TYPES if known.startswith(name.partition(".")[0] + ".")]
    text = f"Nearest: {', '.join(near)}" if near else f"Known: {', '.join(of_part or FIELD_TYPES)}"
    raise ValueError(f"`{named(name)}` is no field of a recipe. {text}.")


def _nearest(name):
    """Returns the names of fields of any part that are near a name.

    They have the same end, also as initials (`lr`), a similar end, or a similar name.
    """
    field = name.rpartition(".")[2]
    ends: dict[str, list[str]] = {}
    for known in FIELD_TYPES:
        ends.setdefault(known.rpartition(".")[2], []).append(known)
    same = [end for end in ends if field in (end, _initials(end))]
    near = same or difflib.get_close_matches(field, ends, cutoff=0.7)
    found = [known for end in near for known in ends[end]]
    return found or difflib.get_close_matches(name, FIELD_TYPES, cutoff=0.8)


def _initials(end):
    """Returns the first letters of a field's words, "" for one word: "lr" of "learning_rate"."""
    words = end.split("_")
    return "".join(word[0] for word in words) if len(words) > 1 else ""
