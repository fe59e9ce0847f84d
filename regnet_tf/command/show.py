"""`regnet show`: the stages of a network as a table, its widths as a picture."""

import argparse
import re
from pathlib import Path

from regnet_tf._checks import check
from regnet_tf._errors import UserError, import_optional
from regnet_tf.costs import complexity, complexity_by_part, strided, total
from regnet_tf.design_space.budget import TOLERANCE, regnets_of
from regnet_tf.variants import RegNetConfig, get_config
from regnet_tf.width_plot import draw_widths

from .starting import run

_GENERATOR = {
    "depth": (int, "d, number of blocks"),
    "initial_width": (int, "w_0"),
    "width_slope": (float, "w_a"),
    "width_multiplier": (float, "w_m"),
    "group_width": (int, "g, channels per group"),
    "bottleneck_ratio": (float, "inner width / width (default: 1)"),
}
_NEEDED = list(_GENERATOR)[:5]
_UNITS = {"M": 1e6, "G": 1e9}
_COSTS = ("parameters", "multiply-adds", "activations")
_STAGE = (
    "part", "width", "depth", "group width", "groups", "bottleneck", "stride", "pixels", *_COSTS,
)  # fmt: skip


_EPILOG = """\
examples:
  regnet show RegNetX-400MF
  regnet show regnety_032 --image-size 288 --out widths.png
  regnet show --depth 22 --initial-width 24 --width-slope 24.48 --width-multiplier 2.54 \\
              --group-width 16
  regnet show --budget 600MF --se-ratio 0.25"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    only_prints = options.out is None
    return run(lambda: _show(options), parser, tensorflow=False, only_prints=only_prints)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet show",
        description="Prints the stages of a network and what they cost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a variant, by any of its names")
    for field, (kind, text) in _GENERATOR.items():
        add(f"--{field.replace('_', '-')}", type=kind, metavar="NUMBER", help=text)
    add("--se-ratio", type=float, metavar="NUMBER", help="of squeeze-and-excitation, such as 0.25")
    add("--budget", metavar="FLOPS", help="search for a network, such as 400MF or 1.6GF")
    add("--seed", metavar="N", type=int, default=0, help="of the search (default: 0)")
    add("--image-size", metavar="N", type=int, default=224, help="pixels (default: 224)")
    add("--classes", metavar="N", type=int, default=1000, help="(default: 1000)")
    add("--out", metavar="FILE.png", type=Path, help="draw the widths of its blocks, too")
    return parser


def _show(options):
    out = options.out
    check("--out", str(out), out is None or out.suffix == ".png", "a file that ends in .png")
    if out is not None:
        import_optional("matplotlib.figure", extra="pictures")
    config = _chosen(options)
    print(f"{config.name}\n")
    print(stage_table(config, options.image_size, options.classes))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_widths(config, out)
        print(f"\nWidths: {out}")


def _chosen(options: argparse.Namespace) -> RegNetConfig:
    """The network that the options mean."""
    fields = [*_GENERATOR, *(() if options.budget else ("se_ratio",))]
    numbers = {field: getattr(options, field) for field in fields}
    numbers = {field: value for field, value in numbers.items() if value is not None}
    if sum(map(bool, (options.name, options.budget, numbers))) != 1:
        raise UserError(
            "Give one of these: a NAME; the numbers --depth, --initial-width, --width-slope,"
            " --width-multiplier and --group-width; or a --budget, with --se-ratio for a RegNetY"
        )
    if options.name:
        return get_config(options.name)
    if options.budget:
        return _searched(options)
    missing = [f"--{field.replace('_', '-')}" for field in _NEEDED if field not in numbers]
    if missing:
        raise UserError(f"These numbers are missing: {', '.join(missing)}")
    return _named(RegNetConfig(**numbers))


def _searched(options: argparse.Namespace) -> RegNetConfig:
    """The network nearest to the budget; prints the next ones too."""
    setting = {"image_size": options.image_size, "classes": options.classes}
    flops, se_ratio = parse_flops(options.budget), options.se_ratio or 0.0
    configs = regnets_of(flops, se_ratio=se_ratio, seed=options.seed, **setting)
    print(
        f"Nearest to {options.budget} of those drawn within {TOLERANCE:.0%}, under the paper's"
        " final constraints and limits on parameters and activations:\n"
    )
    rows = [("d", "w_0", "w_a", "w_m", "g", "widths", *_COSTS)]
    for config in configs:
        generator = [f"{getattr(config, field):g}" for field in _NEEDED]
        widths = ", ".join(str(stage.width) for stage in config.stages)
        rows.append((*generator, widths, *_costs(complexity(config, **setting))))
    print(_aligned(rows), "\n\nThe first of them: ", sep="", end="")
    return _named(configs[0])


def parse_flops(text: str) -> float:
    """Flops, of a text such as "400MF" or "1.6GF"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])F", str(text).upper())
    if found is None:
        raise ValueError(
            f"`--budget` must be flops such as 400MF or 1.6GF. Received: --budget={text!r}"
        )
    return float(found[1]) * _UNITS[found[2]]


def _named(config):
    letter = "Y" if config.se_ratio else "X"
    return config.replace(name=f"RegNet{letter}-{config.identity}")


def stage_table(config: RegNetConfig, image_size: int = 224, classes: int = 1000) -> str:
    """The parts of a network and what each costs.

    Args:
        config: a `RegNetConfig`.
        image_size: side of the images, in pixels.
        classes: outputs of the head.
    """
    parts = complexity_by_part(config, image_size, classes=classes)
    size = strided((image_size,), config.stem_stride)
    empty = ("",) * 4
    stem = (config.stem_width, *empty, config.stem_stride, size[0])
    rows = [_STAGE, ("stem", *stem, *_costs(parts["stem"]))]
    for number, stage in enumerate(config.stages, 1):
        size = strided(size, stage.stride)
        shape = (stage.width, stage.depth, stage.group_width, stage.groups)
        ratio, costs = f"{stage.bottleneck_ratio:g}", _costs(parts[f"stage_{number}"])
        rows.append((f"stage {number}", *shape, ratio, stage.stride, size[0], *costs))
    if config.final_width:
        final = (config.final_width, *empty, 1, size[0])
        rows.append(("final conv", *final, *_costs(parts["final_conv"])))
    rows.append(("head", classes, *empty, "", "", *_costs(parts["head"])))
    rows.append(("total", "", config.total_depth, *empty, "", *_costs(total(parts))))
    return _aligned(rows)


def _costs(cost):
    return [f"{count:,}" for count in (cost.parameters, cost.multiply_adds, cost.activations)]


def _aligned(rows):
    """Rows of cells as lines; the first column left-aligned, the others right-aligned."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
