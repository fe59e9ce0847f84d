"""What all networks of a design space share."""

import dataclasses

from regnet_tf._checks import (
    MAX_WIDTH,
    check,
    check_choice,
    check_int,
    check_number,
    check_stride,
    plain,
)
from regnet_tf.variants import ACTIVATIONS

_OF_CONFIGURATIONS = ("se_ratio", "stem_width", "stem_stride", "activation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """Fields that all networks of a design space share; `DesignSpace` describes them."""

    name: str
    quantum: int = 8
    stride: int = 2
    se_ratio: float = 0.0
    stem_width: int = 32
    stem_stride: int = 2
    activation: str = "relu"

    normalization = "batch"  # not a field: the same for all networks of all spaces

    def __post_init__(self):
        plain(self)
        check("name", self.name, isinstance(self.name, str) and self.name, "a text")
        for field in ("quantum", "stem_width"):
            check_int(field, getattr(self, field), minimum=1, maximum=MAX_WIDTH)
        for field in ("stride", "stem_stride"):
            check_stride(field, getattr(self, field))
        check_number("se_ratio", self.se_ratio, minimum=0, below=MAX_WIDTH)
        check_choice("activation", self.activation, ACTIVATIONS)

    @property
    def frame(self) -> dict:
        """The fields of `RegNetConfig` that all networks of the space share."""
        return {field: getattr(self, field) for field in _OF_CONFIGURATIONS}
