"""Many networks as arrays, and their costs; numpy only."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from regnet_tf.costs import Complexity, count_parts, total
from regnet_tf.design_space.frame import Frame
from regnet_tf.variants import RegNetConfig
from regnet_tf.widths import StageConfig, inner_width, stage_strides


class StageArrays(NamedTuple):
    """The same stage of many networks, for `count_parts`; arrays `(networks,)`."""

    width: np.ndarray
    depth: np.ndarray
    group_width: np.ndarray
    bottleneck_ratio: np.ndarray
    stride: int


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Networks of one design space, one in each row.

    Args:
        space: the design space, which sets the stem, the strides and the squeeze-and-excitation.
        widths: widths of the stages, compatible with the group widths, `(networks, stages)`.
        depths: depths of the stages, `(networks, stages)`.
        group_widths: group widths of the stages, `(networks, stages)`.
        bottleneck_ratios: inner width / width of the stages, `(networks, stages)`.
        generators: numbers of the generator, if it generated the stages: field of `RegNetConfig`
            -> array `(networks,)`.

    Examples:
        >>> found = design_space.REGNETX.draw(np.random.default_rng(0), 100)
        >>> flops = found.complexity().flops
        >>> small = found[flops < 1e9]
        >>> len(found), len(small), len(small.configs())
        (28, 11, 11)
    """

    space: Frame
    widths: np.ndarray
    depths: np.ndarray
    group_widths: np.ndarray
    bottleneck_ratios: np.ndarray
    generators: dict | None = None

    def __len__(self):
        return len(self.widths)

    def __getitem__(self, rows: Any) -> "Candidates":
        """Returns the rows that an array of indices or booleans selects."""
        generators = self.generators and {k: array[rows] for k, array in self.generators.items()}
        return Candidates(
            self.space,
            self.widths[rows],
            self.depths[rows],
            self.group_widths[rows],
            self.bottleneck_ratios[rows],
            generators,
        )

    @property
    def inner_widths(self) -> np.ndarray:
        """Channels of the 3x3 convolutions, `(networks, stages)`."""
        return inner_width(self.widths, self.bottleneck_ratios)

    @property
    def keys(self) -> list[bytes]:
        """A key for each network; two keys are equal if and only if the stages are the same."""
        columns = (self.widths, self.depths, self.group_widths, self.inner_widths)
        return [row.tobytes() for row in np.concatenate(columns, axis=1).astype(np.int64)]

    def complexity(
        self, image_size: int = 224, classes: int = 1000, channels: int = 3
    ) -> Complexity:
        """Returns the `Complexity` of all networks; its fields are arrays `(networks,)`."""
        columns = (self.widths, self.depths, self.group_widths, self.bottleneck_ratios)
        stages = [
            StageArrays(width, depth, group_width, ratio, stride)
            for width, depth, group_width, ratio, stride in zip(
                *(column.T for column in columns), self._strides, strict=True
            )
        ]
        size = (image_size, image_size)
        return total(count_parts(self.space, stages, size, classes, channels))

    def configs(self) -> list[RegNetConfig]:
        """Returns the networks as configurations, named after the design space."""
        shared = {"name": self.space.name, **self.space.options}
        if self.generators is None:
            return [
                RegNetConfig(explicit_stages=self._stages(row), **shared)
                for row in range(len(self))
            ]
        shared |= {"quantum": self.space.quantum, "stride": self.space.stride}
        fields, columns = list(self.generators), self.generators.values()
        return [
            RegNetConfig(**dict(zip(fields, row, strict=True)), **shared)
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _stages(self, row):
        columns = (self.widths, self.depths, self.group_widths, self.bottleneck_ratios)
        return tuple(
            StageConfig(width, depth, group_width, stride, ratio)
            for width, depth, group_width, ratio, stride in zip(
                *(column[row].tolist() for column in columns), self._strides, strict=True
            )
        )

    @property
    def _strides(self):
        return stage_strides(self.space.stride, self.widths.shape[1])
