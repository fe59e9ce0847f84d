"""What all networks of a design space share."""

import dataclasses

from regnet_tf._checks import MAX_WIDTH, check_int, check_strides, plain
from regnet_tf.options import NetworkOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame(NetworkOptions):
    """Fields that all networks of a design space share; `DesignSpace` describes them."""

    quantum: int = 8
    stride: int | tuple[int, ...] = 2

    def __post_init__(self):
        plain(self)
        check_int("quantum", self.quantum, minimum=1, maximum=MAX_WIDTH)
        check_strides("stride", self.stride)
        self._check_options()
