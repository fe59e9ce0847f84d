"""Networks as tables of text."""

from collections.abc import Iterable, Sequence

from regnet_tf.costs import Complexity, complexity_by_part, strided, total
from regnet_tf.variants import RegNetConfig

COSTS = ("parameters", "multiply-adds", "activations")
_STAGE = (
    "part", "width", "depth", "group width", "groups", "bottleneck", "stride", "pixels", *COSTS,
)  # fmt: skip


def stage_table(
    config: RegNetConfig, image_size: int = 224, *, classes: int = 1000, channels: int = 3
) -> str:
    """The parts of a network and what each costs.

    Args:
        config: a `RegNetConfig`.
        image_size: side of the images, in pixels.
        classes: outputs of the head.
        channels: channels of the images.
    """
    parts = complexity_by_part(config, image_size, classes=classes, channels=channels)
    size = strided((image_size,), config.stem_stride)
    empty = ("",) * 4
    stem = (config.stem_width, *empty, config.stem_stride, size[0])
    rows = [_STAGE, ("stem", *stem, *costs_of(parts["stem"]))]
    for number, stage in enumerate(config.stages, 1):
        size = strided(size, stage.stride)
        shape = (stage.width, stage.depth, stage.group_width, stage.groups)
        ratio, costs = f"{stage.bottleneck_ratio:g}", costs_of(parts[f"stage_{number}"])
        rows.append((f"stage {number}", *shape, ratio, stage.stride, size[0], *costs))
    if config.final_width:
        final = (config.final_width, *empty, 1, size[0])
        rows.append(("final conv", *final, *costs_of(parts["final_conv"])))
    rows.append(("head", classes, *empty, "", "", *costs_of(parts["head"])))
    rows.append(("total", "", config.total_depth, *empty, "", *costs_of(total(parts))))
    return aligned(rows)


def costs_of(cost: Complexity) -> list[str]:
    """Returns the cells of the columns `COSTS`."""
    return [f"{count:,}" for count in (cost.parameters, cost.multiply_adds, cost.activations)]


def aligned(rows: Iterable[Sequence]) -> str:
    """Returns rows of cells as lines; the first column left-aligned, the others right-aligned."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
