"""Configurations of RegNets, the published variants, and their names; numpy only.

Sources of the numbers: pycls' `configs/dds_baselines` (the 24 of the paper), torchvision's
`models/regnet.py` (`_tv`, and RegNetY-128GF), ClassyVision's SEER models (64, 128 and 256 GF),
timm's `models/regnet.py` (`regnety_040_sgn`, RegNetV, RegNetZ named by flops) and
`models/byobnet.py` (RegNetZ named by letters). RegNetZ follows "Fast and Accurate Model Scaling"
(Dollar et al. 2021).
"""

import dataclasses
import functools
import hashlib
import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from regnet_tf._checks import (
    MAX_WIDTH,
    check,
    check_choice,
    check_fields,
    check_int,
    check_number,
    check_strides,
    plain,
    replaced,
    shown,
)
from regnet_tf._errors import UserError, nearest_names
from regnet_tf._files import read_json
from regnet_tf.options import NORM_GROUP_WIDTH, NetworkOptions, stem_convolutions
from regnet_tf.widths import (
    MAX_DEPTH,
    WIDTH_ROUNDINGS,
    BlockWidths,
    StageConfig,
    block_widths,
    check_bottleneck_ratio,
    check_generator,
    generate_stages,
    inner_width,
)

_STAGE = {field.name for field in dataclasses.fields(StageConfig)}
_STAGE_NEEDS = {"width", "depth", "group_width"}
#: Options that are always in the identity of a network; the others where they are not the default.
_ALWAYS = ("stem_width", "stem_stride", "activation", "normalization")
_GENERATOR = ("depth", "initial_width", "width_slope", "width_multiplier", "group_width")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegNetConfig(NetworkOptions):
    """Defines one network, except its head and its weights.

    The stages come from the width generator (`depth`, `initial_width`, `width_slope`,
    `width_multiplier`, `group_width`), or, as in the AnyNet design space, from `explicit_stages`.

    Args:
        name: display name.
        depth: d, number of blocks, 1 to 64.
        initial_width: w_0, a multiple of `quantum`.
        width_slope: w_a, at least 0.
        width_multiplier: w_m, above 1.
        group_width: g, channels per group of the 3x3 convolutions.
        bottleneck_ratio: inner width / width of each block (the paper's b is its inverse).
        quantum: generated widths are multiples of it, before they are fitted to the group width.
        rounding: how widths are fitted to the group width: "nearest" (the paper's authors) or
            "torchvision".
        stride: stride of each generated stage's first block, 1 or 2; or a tuple with one for each
            stage, such as (1, 2, 2) for small images.
        explicit_stages: a sequence of `StageConfig` (or of their fields as dicts) instead of the
            generator's numbers.
        stem_width: channels of the stem.
        stem_stride: 2, or 1 for small images; also 4 with three convolutions.
        stem_type: "single" for one 3x3 convolution; "deep" for three of equal width; "tiered" for
            three, the first two with 3/8 and 1/2 of the width.
        se_ratio: squeeze width / block input width; 0 means no squeeze-and-excitation (RegNetX).
        se_quantum: squeeze widths are rounded to multiples of it.
        se_activation: activation within squeeze-and-excitation; None for that of the blocks.
        shortcut: what blocks that change resolution or width add to their output: "conv" for a 1x1
            convolution of the input, "average" for one after 2x2 average pooling, "none" for
            nothing (RegNetZ).
        linear_output: whether blocks end without an activation (RegNetZ).
        bottleneck_in: whether the inner width is a multiple of a block's input width instead of its
            output width.
        preactivation: whether normalization and activation are before the convolutions of a block
            (RegNetV). The stem is then a bare convolution.
        final_width: channels of a 1x1 convolution after the last stage; 0 for none.
        activation: one of `regnet_tf.options.ACTIVATIONS`.
        normalization: "batch", "group", or "evonorm" (EvoNorm-S0, whose activation is learned); the
            latter two normalize groups of 16 channels.
        drop_path_rate: stochastic depth rate of the last block; the rate grows linearly from 0 at
            the first block.

    Raises:
        ValueError: if a field is out of range; the message names it.

    Examples:
        >>> config = RegNetConfig(
        ...     depth=4, initial_width=16, width_slope=16, width_multiplier=2, group_width=8
        ... )
        >>> [(stage.width, stage.depth) for stage in config.stages]
        [(16, 1), (32, 1), (64, 2)]
        >>> config.total_stride
        16
        >>> RegNetConfig(explicit_stages=(StageConfig(width=24, depth=2, group_width=8),)).stages
        (StageConfig(width=24, depth=2, group_width=8, stride=2, bottleneck_ratio=1.0),)
        >>> config.replace(initial_width=20)
        Traceback (most recent call last):
        ValueError: `initial_width` must be a positive multiple of the quantum 8, ...
    """

    name: str = "RegNet"
    depth: int | None = None
    initial_width: int | None = None
    width_slope: float | None = None
    width_multiplier: float | None = None
    group_width: int | None = None
    bottleneck_ratio: float = 1.0
    quantum: int = 8
    rounding: str = "nearest"
    stride: int | tuple[int, ...] = 2
    explicit_stages: tuple[StageConfig, ...] | None = None
    drop_path_rate: float = 0.0

    def __post_init__(self):
        plain(self)
        if self.explicit_stages is None:
            self._check_generator()
        else:
            self._check_explicit_stages()
        self._check_options()
        check_number("drop_path_rate", self.drop_path_rate, minimum=0, below=1)
        self._check_widths()

    def _check_generator(self):
        for field in _GENERATOR:
            value = getattr(self, field)
            check(field, value, value is not None, "given, unless `explicit_stages` is")
        check_generator(
            self.depth, self.initial_width, self.width_slope, self.width_multiplier, self.quantum
        )
        check_int("group_width", self.group_width, minimum=1, maximum=MAX_WIDTH)
        check_bottleneck_ratio(self.bottleneck_ratio)
        check_choice("rounding", self.rounding, WIDTH_ROUNDINGS)
        stride: Any = self.stride
        if isinstance(stride, list):  # from JSON
            object.__setattr__(self, "stride", tuple(stride))
        check_strides("stride", self.stride)

    def _check_explicit_stages(self):
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for field in (*_GENERATOR, "bottleneck_ratio", "quantum", "rounding", "stride"):
            value = getattr(self, field)
            comparable = value is None or isinstance(value, (int, float, str))
            unset = comparable and value == defaults[field]
            check(field, value, unset, f"{defaults[field]!r} where `explicit_stages` is given")
        given: Any = self.explicit_stages
        sequence = isinstance(given, (tuple, list)) and 0 < len(given) <= MAX_DEPTH
        ok = sequence and all(
            isinstance(stage, StageConfig)
            or (isinstance(stage, dict) and _STAGE_NEEDS <= set(stage) <= _STAGE)
            for stage in given
        )
        check("explicit_stages", given, ok, f"a sequence of 1 to {MAX_DEPTH} StageConfig")
        stages = (StageConfig(**stage) if isinstance(stage, dict) else stage for stage in given)
        object.__setattr__(self, "explicit_stages", tuple(stages))

    def _check_widths(self):
        """Raises ValueError unless the widths suit the groups of convolutions and normalization."""
        stem = stem_convolutions(self.stem_width, self.stem_stride, self.stem_type)
        widths = [width for width, _ in stem]
        for stage in self.stages:
            if self.bottleneck_in:
                inner = inner_width(widths[-1], stage.bottleneck_ratio)
                allowed = f"a divisor of the inner width {inner} of a stage's first block"
                check("group_width", stage.group_width, inner % stage.group_width == 0, allowed)
                widths.append(inner)
            widths += [stage.inner_width, stage.width]
        widths.append(self.final_width)
        fits = all(width % NORM_GROUP_WIDTH == 0 for width in widths)
        allowed = f"'batch' unless all widths are multiples of {NORM_GROUP_WIDTH} (here {widths})"
        check("normalization", self.normalization, fits or self.normalization == "batch", allowed)

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """`StageConfig` of each stage, generated or explicit."""
        if self.explicit_stages is not None:
            return self.explicit_stages
        return generate_stages(
            **self._numbers(_GENERATOR),
            bottleneck_ratio=self.bottleneck_ratio,
            quantum=self.quantum,
            stride=self.stride,
            rounding=self.rounding,
        )

    @property
    def block_widths(self) -> BlockWidths:
        """Continuous and quantized width of each block; only for generated configurations."""
        check("explicit_stages", self.explicit_stages, self.explicit_stages is None, "None")
        return block_widths(**self._numbers(_GENERATOR[:4]), quantum=self.quantum)

    def _numbers(self, fields: tuple[str, ...]) -> dict[str, Any]:
        return {field: getattr(self, field) for field in fields}

    @property
    def total_depth(self) -> int:
        """Number of blocks."""
        return sum(stage.depth for stage in self.stages)

    @property
    def total_stride(self) -> int:
        """Input pixels per pixel of the last feature map; also the smallest accepted image side."""
        stride = self.stem_stride
        for stage in self.stages:
            stride *= stage.stride
        return stride

    def drop_path_rates(self) -> list[list[float]]:
        """Stochastic depth rate of every block, a list per stage."""
        last = max(self.total_depth - 1, 1)
        rates = iter(self.drop_path_rate * block / last for block in range(self.total_depth))
        return [[next(rates) for _ in range(stage.depth)] for stage in self.stages]

    def to_dict(self) -> dict:
        """Returns a dict of JSON types. `from_dict` turns it into an equal configuration."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: dict) -> "RegNetConfig":
        """Returns the configuration from a dict made by `to_dict`. JSON's lists count as tuples.

        Raises:
            ValueError: for an unknown field or a value out of range.
        """
        check("config", fields, isinstance(fields, dict), "a dict")
        check_fields(cls, fields)
        return cls(**fields)

    @property
    def identity(self) -> str:
        """Twelve hexadecimal digits that are equal for equal networks.

        The name does not count. Generated and explicit stages of equal shape are equal.
        """
        stages = [
            [stage.width, stage.depth, stage.inner_width, stage.group_width, stage.stride]
            for stage in self.stages
        ]
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        shape = {
            field: value
            for field, value in self.options.items()
            if field in _ALWAYS or value != defaults[field]
        }
        shape |= {field: float(getattr(self, field)) for field in ("se_ratio", "drop_path_rate")}
        text = json.dumps({"stages": stages, **shape}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def replace(self, **changes: Any) -> "RegNetConfig":
        """Returns a copy with the given fields changed."""
        return replaced(self, changes)


class Variant(NamedTuple):
    """One row of `VARIANTS`: the generator's numbers, and the fields that differ from defaults.

    Networks that no generator's numbers describe have `explicit_stages` among the options.
    """

    display_name: str
    depth: int | None
    initial_width: int | None
    width_slope: float | None
    width_multiplier: float | None
    group_width: int | None
    options: dict = {}

    @property
    def config(self) -> RegNetConfig:
        """The variant as a configuration."""
        se_ratio = 0.25 if self.display_name.startswith("RegNetY") else 0.0
        fields: dict[str, Any] = dict(zip(_GENERATOR, self[1:6], strict=True))
        fields |= {"se_ratio": se_ratio, **self.options}
        return RegNetConfig(name=self.display_name, **fields)

    @property
    def function_name(self) -> str:
        """Name of the model function of a variant that has one: `RegNetX1_6GF`."""
        return self.display_name.replace("-", "").replace(".", "_")


_TORCHVISION = {"rounding": "torchvision"}
_SGN = {"activation": "silu", "normalization": "group"}
_V = {"se_ratio": 0.25, "activation": "silu", "preactivation": True}
_Z = {"se_ratio": 0.25, "activation": "silu", "shortcut": "none", "linear_output": True}
_Z4 = {**_Z, "bottleneck_ratio": 4}
_EVOS = {"normalization": "evonorm"}


def _lettered(name, widths, depths, group_width, ratio, **options):
    """Returns the row of a RegNetZ of timm's `byobnet.py`, named by a letter and a group width."""
    strides = (4 // options.get("stem_stride", 2), 2, 2, 2)
    stages = tuple(
        StageConfig(width, depth, group_width, stride, ratio)
        for width, depth, stride in zip(widths, depths, strides, strict=True)
    )
    squeeze = {"se_ratio": ratio / 4, "se_quantum": 8, "se_activation": "relu"}
    options = {**_Z, **squeeze, "bottleneck_in": True, "explicit_stages": stages, **options}
    return Variant(name, None, None, None, None, None, options)


def _small_z(name, ratio, **options):
    widths, depths = (48, 96, 192, 288), (2, 6, 12, 2)
    return _lettered(name, widths, depths, 16, ratio, final_width=1536, **options)


def _large_z(name, group_width, stem_type="tiered", **options):
    stem = {"stem_width": 64, "stem_stride": 4, "stem_type": stem_type}
    widths, depths = (64, 128, 256, 384), (3, 6, 12, 3)
    sizes = {"widths": widths, "depths": depths, "final_width": 1792, **stem, **options}
    return _lettered(name, group_width=group_width, ratio=4, **sizes)


#: timm's key -> row. d, w_0, w_a, w_m, g.
VARIANTS = {
    "regnetx_002": Variant("RegNetX-200MF", 13, 24, 36.44, 2.49, 8),
    "regnetx_004": Variant("RegNetX-400MF", 22, 24, 24.48, 2.54, 16),
    "regnetx_004_tv": Variant("RegNetX-400MF-tv", 22, 24, 24.48, 2.54, 16, _TORCHVISION),
    "regnetx_006": Variant("RegNetX-600MF", 16, 48, 36.97, 2.24, 24),
    "regnetx_008": Variant("RegNetX-800MF", 16, 56, 35.73, 2.28, 16),
    "regnetx_016": Variant("RegNetX-1.6GF", 18, 80, 34.01, 2.25, 24),
    "regnetx_032": Variant("RegNetX-3.2GF", 25, 88, 26.31, 2.25, 48),
    "regnetx_040": Variant("RegNetX-4.0GF", 23, 96, 38.65, 2.43, 40),
    "regnetx_064": Variant("RegNetX-6.4GF", 17, 184, 60.83, 2.07, 56),
    "regnetx_080": Variant("RegNetX-8.0GF", 23, 80, 49.56, 2.88, 120),
    "regnetx_120": Variant("RegNetX-12GF", 19, 168, 73.36, 2.37, 112),
    "regnetx_160": Variant("RegNetX-16GF", 22, 216, 55.59, 2.1, 128),
    "regnetx_320": Variant("RegNetX-32GF", 23, 320, 69.86, 2.0, 168),
    "regnety_002": Variant("RegNetY-200MF", 13, 24, 36.44, 2.49, 8),
    "regnety_004": Variant("RegNetY-400MF", 16, 48, 27.89, 2.09, 8),
    "regnety_006": Variant("RegNetY-600MF", 15, 48, 32.54, 2.32, 16),
    "regnety_008": Variant("RegNetY-800MF", 14, 56, 38.84, 2.4, 16),
    "regnety_008_tv": Variant("RegNetY-800MF-tv", 14, 56, 38.84, 2.4, 16, _TORCHVISION),
    "regnety_016": Variant("RegNetY-1.6GF", 27, 48, 20.71, 2.65, 24),
    "regnety_032": Variant("RegNetY-3.2GF", 21, 80, 42.63, 2.66, 24),
    "regnety_040": Variant("RegNetY-4.0GF", 22, 96, 31.41, 2.24, 64),
    "regnety_040_sgn": Variant("RegNetY-4.0GF-sgn", 22, 96, 31.41, 2.24, 64, _SGN),
    "regnety_064": Variant("RegNetY-6.4GF", 25, 112, 33.22, 2.27, 72),
    "regnety_080": Variant("RegNetY-8.0GF", 17, 192, 76.82, 2.19, 56),
    "regnety_080_tv": Variant("RegNetY-8.0GF-tv", 17, 192, 76.82, 2.19, 56, _TORCHVISION),
    "regnety_120": Variant("RegNetY-12GF", 19, 168, 73.36, 2.37, 112),
    "regnety_160": Variant("RegNetY-16GF", 18, 200, 106.23, 2.48, 112),
    "regnety_320": Variant("RegNetY-32GF", 20, 232, 115.89, 2.53, 232),
    "regnety_640": Variant("RegNetY-64GF", 20, 352, 147.48, 2.4, 328),
    "regnety_1280": Variant("RegNetY-128GF", 27, 456, 160.83, 2.52, 264),
    "regnety_2560": Variant("RegNetY-256GF", 27, 640, 230.83, 2.53, 373),
    "regnetv_040": Variant("RegNetV-4.0GF", 22, 96, 31.41, 2.24, 64, _V),
    "regnetv_064": Variant(
        "RegNetV-6.4GF", 25, 112, 33.22, 2.27, 72, {**_V, "shortcut": "average"}
    ),
    "regnetz_005": Variant("RegNetZ-500MF", 21, 16, 10.7, 2.51, 4, {**_Z4, "final_width": 1024}),
    "regnetz_040": Variant("RegNetZ-4.0GF", 28, 48, 14.5, 2.226, 8, _Z4),
    "regnetz_040_h": Variant(
        "RegNetZ-4.0GF-h", 28, 48, 14.5, 2.226, 8, {**_Z4, "final_width": 1536}
    ),
    "regnetz_b16": _small_z("RegNetZ-B16", 3),
    "regnetz_b16_evos": _small_z("RegNetZ-B16-evos", 3, **_EVOS),
    "regnetz_c16": _small_z("RegNetZ-C16", 4),
    "regnetz_c16_evos": _small_z("RegNetZ-C16-evos", 4, **_EVOS),
    "regnetz_d8": _large_z("RegNetZ-D8", 8),
    "regnetz_d8_evos": _large_z("RegNetZ-D8-evos", 8, "deep", **_EVOS),
    "regnetz_d32": _large_z("RegNetZ-D32", 32),
    "regnetz_e8": _large_z(
        "RegNetZ-E8", 8, widths=(96, 192, 384, 512), depths=(3, 8, 16, 3), final_width=2048
    ),
}


def list_variants(pattern: str = "*") -> list[str]:
    """Returns the keys of `VARIANTS` that match a shell-style pattern.

    Examples:
        >>> list_variants("regnety_00*")
        ['regnety_002', 'regnety_004', 'regnety_006', 'regnety_008', 'regnety_008_tv']
    """
    return [key for key in VARIANTS if fnmatch(key, pattern)]


def is_variant(name: object) -> bool:
    """Whether a name is the name of a known variant."""
    return isinstance(name, str) and name.lower() in _names()


def is_config_file(name: object) -> bool:
    """Whether a name is the path of a configuration's JSON file."""
    return isinstance(name, str) and name.endswith(".json")


def variant_key(name: str, argument: str = "name") -> str:
    """Returns timm's key of a variant, from any of its names.

    The case does not count. Known names are: the display name (`RegNetX-400MF`), the function name
    (`RegNetX400MF`), timm's key (`regnetx_004`), `keras.applications`' (`RegNetX004`), Hugging
    Face's (`regnet-x-004`), mmpretrain's (`regnetx_400mf`), and torchvision's (`regnet_x_400mf`,
    which is torchvision's network: `regnetx_004_tv`).

    Args:
        name: the name.
        argument: the user's name for it, for errors.

    Raises:
        ValueError: for an unknown name; the message lists the nearest known names.

    Examples:
        >>> variant_key("RegNetX-400MF"), variant_key("regnet-x-004")
        ('regnetx_004', 'regnetx_004')
        >>> variant_key("regnet_x_400mf")
        'regnetx_004_tv'
    """
    known = _names()
    if not is_variant(name):
        lowered = {name: name for name in known}
        lowered |= {
            variant.display_name.lower(): variant.display_name for variant in VARIANTS.values()
        }
        near = nearest_names(str(name).lower(), lowered, count=4)
        hint = f" Nearest: {', '.join(lowered[n] for n in near)}." if near else ""
        raise ValueError(
            f"`{argument}` must be a known RegNet. Received: {argument}={shown(name)}.{hint}"
            " `list_variants()` gives them all. The file of a configuration ends in .json."
        )
    return known[name.lower()]


def variant_or_file(name: str) -> str:
    """Returns the key of a variant; the path of a configuration's file as it is, once read.

    It reads the option `--variant` of the commands, which its errors name.

    Raises:
        ValueError: for an unknown name.
        UserError: for a file that cannot be read or holds no configuration.
    """
    if not is_config_file(name):
        return variant_key(name, "--variant")
    _read(Path(name))
    return name


def check_variant_option(given: str | None) -> None:
    """Raises what `variant_or_file` does, unless the option `--variant` was not given."""
    if given is not None:
        variant_or_file(given)


def get_config(name: str, **changes: Any) -> RegNetConfig:
    """Returns the configuration of a variant, by any of its names (see `variant_key`).

    Args:
        name: the variant, or the path of a JSON file with the dict of `RegNetConfig.to_dict`, as
            `regnet show --json` writes it.
        **changes: fields of `RegNetConfig` to change, such as `drop_path_rate=0.1`.

    Examples:
        >>> config = get_config("RegNetY-400MF", drop_path_rate=0.1)
        >>> config.name, config.total_depth, config.drop_path_rate
        ('RegNetY-400MF', 16, 0.1)
    """
    config = named_config(name, "name")
    return config.replace(**changes) if changes else config


def named_config(name: str, argument: str) -> RegNetConfig:
    """Returns what `get_config` does. Its errors have the user's name for the argument."""
    if is_config_file(name):
        return _read(Path(name))
    return VARIANTS[variant_key(name, argument)].config


def as_config(config: RegNetConfig | str) -> RegNetConfig:
    """Returns a configuration as it is, and that of a name as `get_config` does.

    Raises:
        ValueError: for an unknown name, or an argument of another type.
    """
    if isinstance(config, RegNetConfig):
        return config
    check("config", config, isinstance(config, str), "a RegNetConfig or a variant's name")
    return named_config(config, "config")


def _read(path: Path) -> RegNetConfig:
    """Returns the configuration in a JSON file."""
    try:
        return RegNetConfig.from_dict(read_json(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is no configuration of a RegNet: {error}") from error


@functools.cache
def _names() -> dict[str, str]:
    """Returns every accepted name in lower case -> key."""
    names = {}
    for key, variant in VARIANTS.items():
        display = variant.display_name.lower()
        short = display.replace(".0gf", "gf")  # RegNetX-8GF
        for spelling in (display, short):
            names[spelling] = key
            names[spelling.replace("-", "_")] = key  # mmpretrain
            names[spelling.replace("-", "").replace(".", "_")] = key  # functions
        names[key] = key
        names[key.replace("_", "", 1)] = key  # keras.applications
        names[re.sub("^regnet([vxyz])_", r"regnet-\1-", key)] = key  # Hugging Face
    for key, variant in VARIANTS.items():
        of_torchvision = re.fullmatch(r"regnet[xy]_\d+(_tv)?", key)
        if of_torchvision and f"{key}_tv" not in VARIANTS:
            display = variant.display_name.removesuffix("-tv").lower().replace(".0gf", "gf")
            letter, size = display.removeprefix("regnet").split("-")
            names[f"regnet_{letter}_{size.replace('.', '_')}"] = key  # torchvision
    return names
