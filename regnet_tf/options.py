"""What the networks of a design space share: stem, blocks and last convolution; numpy only."""

import dataclasses

from regnet_tf._checks import (
    MAX_WIDTH,
    check,
    check_bool,
    check_choice,
    check_int,
    check_number,
    check_stride,
    is_int,
)

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hard_silu", "mish")
NORMALIZATIONS = ("batch", "group", "evonorm")
SHORTCUTS = ("conv", "average", "none")
STEM_TYPES = ("single", "deep", "tiered")
NORM_GROUP_WIDTH = 16  # channels per group of group normalization and EvoNorm, as in timm

#: The options of blocks.
BLOCK_OPTIONS = (
    *("se_ratio", "se_quantum", "se_activation", "shortcut", "linear_output"),
    *("bottleneck_in", "preactivation", "activation", "normalization"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Base of `RegNetConfig`, which describes these fields, and of design spaces."""

    name: str
    stem_width: int = 32
    stem_stride: int = 2
    stem_type: str = "single"
    se_ratio: float = 0.0
    se_quantum: int = 1
    se_activation: str | None = None
    shortcut: str = "conv"
    linear_output: bool = False
    bottleneck_in: bool = False
    preactivation: bool = False
    final_width: int = 0
    activation: str = "relu"
    normalization: str = "batch"

    @property
    def options(self) -> dict:
        """All fields of this class but the name -> their values."""
        _, *fields = dataclasses.fields(NetworkOptions)
        return {field.name: getattr(self, field.name) for field in fields}

    def _check_options(self):
        check("name", self.name, isinstance(self.name, str) and self.name, "a text")
        check_int("stem_width", self.stem_width, minimum=1, maximum=MAX_WIDTH)
        check_stem(self.stem_width, self.stem_stride, self.stem_type)
        check_int("final_width", self.final_width, minimum=0, maximum=MAX_WIDTH)
        check_block_options(**{field: getattr(self, field) for field in BLOCK_OPTIONS})


def check_block_options(normalizations=NORMALIZATIONS, **options):
    """Raises ValueError unless the given options of a block are in range."""
    choices = {
        "se_activation": (None, *ACTIVATIONS),
        "shortcut": SHORTCUTS,
        "activation": ACTIVATIONS,
        "normalization": normalizations,
    }
    for name, value in options.items():
        if name in choices:
            check_choice(name, value, choices[name])
        elif name == "se_ratio":
            check_number(name, value, minimum=0, below=MAX_WIDTH)
        elif name == "se_quantum":
            check_int(name, value, minimum=1, maximum=MAX_WIDTH)
        else:
            check_bool(name, value)


def check_stem(width, stride, stem_type):
    """Raises ValueError unless the options of a stem are in range."""
    check_choice("stem_type", stem_type, STEM_TYPES)
    if stem_type == "single":
        check_stride("stem_stride", stride)
    else:
        check("stem_stride", stride, is_int(stride) and stride in (1, 2, 4), "1, 2 or 4")
    fits = stem_type != "tiered" or width % 8 == 0
    check("stem_width", width, fits, "a multiple of 8 for a tiered stem")


def stem_convolutions(width: int, stride: int, stem_type: str) -> list[tuple[int, int]]:
    """Returns the output channels and the stride of each 3x3 convolution of a stem.

    Stride 4 is shared by the first and the last convolution, as in timm.

    Examples:
        >>> stem_convolutions(64, 4, "tiered")
        [(24, 2), (32, 1), (64, 2)]
    """
    if stem_type == "single":
        return [(width, stride)]
    first, middle = (width, width) if stem_type == "deep" else (3 * width // 8, width // 2)
    last = 2 if stride == 4 else 1
    return [(first, stride // last), (middle, 1), (width, last)]
