"""Describes networks as timm does: the `config.json` beside `model.safetensors`."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from regnet_tf._checks import is_number
from regnet_tf._errors import UserError, first_line
from regnet_tf._files import read_json
from regnet_tf.class_names import imagenet_synsets, readable
from regnet_tf.layers import checked_class_names
from regnet_tf.preprocessing import INTERPOLATIONS, Preprocessing
from regnet_tf.variants import VARIANTS, RegNetConfig, get_config

CONFIG_FILE = "config.json"

#: Our fields of a configuration -> timm's, with equal values.
_FIELDS = {
    "depth": "depth",
    "initial_width": "w0",
    "width_slope": "wa",
    "width_multiplier": "wm",
    "group_width": "group_size",
    "bottleneck_ratio": "bottle_ratio",
    "se_ratio": "se_ratio",
    "stem_width": "stem_width",
    "preactivation": "preact",
    "linear_output": "linear_out",
    "final_width": "num_features",
}
#: Fields with other values in timm: our field -> timm's, our value -> timm's. The leaky ReLU is
#: missing, because its slope differs.
_VALUES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "activation": (
        "act_layer",
        {name: name for name in ("relu", "relu6", "elu", "gelu", "silu", "mish")}
        | {"hard_silu": "hard_swish"},
    ),
    "shortcut": ("downsample", {"conv": "conv1x1", "average": "avg", "none": ""}),
    "rounding": ("group_min_ratio", {"nearest": 0.0, "torchvision": 0.9}),
}
#: Fields that change no number of a trained network, and those of the architecture below.
_FREE = ("name", "drop_path_rate", "normalization")
#: timm's architecture that is changed to other numbers, by our normalization. Its normalization
#: cannot be written in a `config.json`.
_ARCHITECTURES = {"batch": "regnety_002", "group": "regnety_040_sgn"}
_STAGES, _QUANTUM = 4, 8  # of each of timm's networks
#: timm's arguments that do not change the network's configuration.
_OTHERS = ("in_chans", "num_classes", "global_pool", "drop_rate", "img_size")


def architecture_of(config: RegNetConfig) -> tuple[str, dict[str, Any]]:
    """Returns timm's name of an architecture and the arguments that make it a network.

    Raises:
        UserError: if timm cannot express the network; the message says why.
    """
    config = config.replace(drop_path_rate=0.0)
    for key, variant in VARIANTS.items():
        if variant.config.replace(drop_path_rate=0.0).identity == config.identity:
            return key, {}
    arguments, unknown = _arguments(config)
    if config.normalization not in _ARCHITECTURES:
        unknown.append(f"normalization={config.normalization!r}")
    if len(config.stages) != _STAGES:
        unknown.append(f"{len(config.stages)} stages instead of {_STAGES}")
    if not unknown and _shapes(config.stages) != _stages_of_timm(config):
        unknown.append("these widths, which it rounds in another way")
    if unknown:
        raise UserError(f"timm cannot express {', '.join(unknown)}")
    return _ARCHITECTURES[config.normalization], arguments


def _arguments(config):
    """Returns timm's arguments for the fields of a configuration, and the fields without one."""
    arguments, unknown = {}, []
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        theirs, values = _VALUES.get(name, (None, {}))
        if name in _FIELDS:
            arguments[_FIELDS[name]] = value
        elif theirs is not None and value in values:
            arguments[theirs] = values[value]
        elif name not in _FREE and value != field.default:
            unknown.append(name if name == "explicit_stages" else f"{name}={value!r}")
    return arguments, unknown


def _shapes(stages):
    return [(one.width, one.depth, one.inner_width, one.group_width) for one in stages]


def _stages_of_timm(config):
    """Returns the shapes of the stages that timm generates, in float32 as it does."""
    first, slope, multiplier = (
        np.float32(value)
        for value in (config.initial_width, config.width_slope, config.width_multiplier)
    )
    line = np.arange(config.depth, dtype="float32") * slope + first
    exponents = np.round(np.log(line / first) / np.float32(math.log(config.width_multiplier)))
    quantized = np.round(first * np.power(multiplier, exponents) / _QUANTUM) * _QUANTUM
    shapes, ratio = [], config.bottleneck_ratio
    for width, depth in zip(*np.unique(quantized, return_counts=True), strict=True):
        wished = int(int(width) * ratio)
        group = min(config.group_width, wished)
        inner = round(wished / group) * group
        if config.rounding == "torchvision":
            inner = max(group, int(wished + group / 2) // group * group)
            inner += group * (inner < 0.9 * wished)
        width = int(inner / ratio)
        shapes.append((width, int(depth), round(width * ratio), group))
    return shapes


def timm_config(
    config: RegNetConfig,
    first_convolution: str,
    classes: int,
    class_names: tuple[str, ...] | None,
    preprocessing: Preprocessing,
    licence: str | None,
    output_stride: int | None = None,
) -> tuple[dict[str, Any], str | None]:
    """Returns the content of timm's `config.json` for a network, and why timm cannot build it.

    Args:
        config: configuration of the network.
        first_convolution: timm's name of it.
        classes: number of outputs; 0 without a head.
        class_names: names of the classes, or None.
        preprocessing: from a photograph to the network's input.
        licence: name of the licence, or None.
        output_stride: input pixels per pixel of the last feature map; default: without dilation.

    Returns:
        The content. If timm cannot express the network, it has no architecture, and the second
        value is the reason; else the second value is None.
    """
    found: dict[str, Any] = {}
    reason = None
    try:
        found["architecture"], arguments = architecture_of(config)
        channels = preprocessing.channels
        arguments |= {} if channels == 3 else {"in_chans": channels}
        dilated = output_stride not in (None, config.total_stride)
        arguments |= {"output_stride": output_stride} if dilated else {}
        found |= {"model_args": arguments} if arguments else {}
    except UserError as error:
        reason = f"{error}; config.json names no architecture."
    found["num_classes"] = classes
    if class_names:
        words = {name: readable(name) for name in class_names}
        words = {name: word for name, word in words.items() if word != name}
        found |= {"label_names": list(class_names)}
        found |= {"label_descriptions": words} if words else {}
    bilinear = preprocessing.interpolation == "pycls"
    size = preprocessing.image_size
    found["pretrained_cfg"] = {
        "custom_load": False,
        "input_size": [preprocessing.channels, size, size],
        "fixed_input_size": False,
        "interpolation": "bilinear" if bilinear else preprocessing.interpolation,
        "crop_pct": preprocessing.kept_fraction,
        "crop_mode": preprocessing.crop_mode,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "num_classes": classes,
        "pool_size": None,
        "first_conv": first_convolution,
        "classifier": "head.fc",
        **({"license": licence} if licence else {}),
    }
    return found, reason


class Described(NamedTuple):
    """What a `config.json` of timm tells about a network; None for what it does not tell."""

    config: RegNetConfig | None = None
    class_names: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None


def described(folder: Path) -> Described:
    """Returns what timm's `config.json` in a folder tells; nothing without the file.

    Raises:
        UserError: if the file is damaged; the message names it.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return Described()
    content = read_json(path)
    if not isinstance(content.get("architecture"), str):
        return Described()
    known = content.get("pretrained_cfg", content)  # old files have both in one object
    try:
        classes = content.get("num_classes", known.get("num_classes"))
        names = content.get("label_names", known.get("label_names"))
        if names is None and classes == len(imagenet_synsets()):
            names = imagenet_synsets()  # as timm takes them to be
        return Described(
            _config(content["architecture"], content.get("model_args", {})),
            checked_class_names(names, classes) if isinstance(names, (list, tuple)) else None,
            _preprocessing(known),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from error


def _config(architecture: str, arguments: dict[str, Any]) -> RegNetConfig | None:
    """Returns the configuration of timm's network; None if this library does not have it."""
    if architecture not in VARIANTS:
        return None
    changes = {}
    ours = {theirs: name for name, theirs in _FIELDS.items()}
    values = {
        theirs: (name, {json.dumps(value): key for key, value in pairs.items()})
        for name, (theirs, pairs) in _VALUES.items()
    }
    for name, value in arguments.items():
        if name in ours:
            changes[ours[name]] = value
        elif name in values and json.dumps(value) in values[name][1]:
            changes[values[name][0]] = values[name][1][json.dumps(value)]
        elif name == "drop_path_rate":
            changes[name] = value
        elif name not in _OTHERS:
            return None
    config = get_config(architecture)
    return config.replace(name="RegNet", **changes) if changes else config


def _preprocessing(known: dict[str, Any]) -> Preprocessing | None:
    if "input_size" not in known:
        return None
    interpolation = known.get("interpolation")
    fraction = known.get("crop_pct")
    return Preprocessing(
        image_size=known["input_size"][1],
        crop_fraction=fraction if is_number(fraction) else None,
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
        mean=tuple(known["mean"]),
        std=tuple(known["std"]),
    )
