"""`regnet show`: the stages of a network as a table, its widths as a picture."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from regnet_tf._checks import check
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import write_json
from regnet_tf.costs import complexity, strided
from regnet_tf.design_space.budget import TOLERANCE, regnets_of
from regnet_tf.variants import RegNetConfig, get_config
from regnet_tf.width_plot import draw_widths

from .network_table import COSTS, aligned, costs_of, stage_table
from .search_options import SETTABLE, STEM, parse_count, parse_flops, parse_setting
from .starting import run

_GENERATOR = {
    "depth": (int, "d, number of blocks"),
    "initial_width": (int, "w_0"),
    "width_slope": (float, "w_a"),
    "width_multiplier": (float, "w_m"),
    "group_width": (int, "g, channels per group"),
    "bottleneck_ratio": (float, "inner width / width, so 1 / b of the paper (default: 1)"),
}
_NEEDED = list(_GENERATOR)[:5]
_SMALL = 2  # pixels; a 3x3 convolution sees mostly padding there


_EPILOG = """\
examples:
  regnet show RegNetX-400MF
  regnet show regnety_032 --image-size 288 --out widths.png
  regnet show --depth 22 --initial-width 24 --width-slope 24.48 --width-multiplier 2.54 \\
              --group-width 16
  regnet show --budget 600MF --se-ratio 0.25
  regnet show --budget 18MF --image-size 28 --channels 1 --classes 10 --set stages=3 \\
              --set depths=3,16 --stem-stride 1 --max-parameters 700k --se-ratio 0.25 \\
              --json net.json
  regnet train --recipe fashion_mnist --variant net.json"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    only_prints = options.out is None and options.json is None
    return run(lambda: _show(options), parser, tensorflow=False, only_prints=only_prints)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet show",
        description="Prints the stages of a network and what they cost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a variant, by any of its names, or a JSON file")
    for field, (kind, text) in _GENERATOR.items():
        add(f"--{field.replace('_', '-')}", type=kind, metavar="NUMBER", help=text)
    add("--se-ratio", type=float, metavar="NUMBER", help="of squeeze-and-excitation, such as 0.25")
    add("--budget", metavar="FLOPS", help="search for a network, such as 400MF or 1.6GF")
    for field, text in STEM.items():
        add(f"--{field.replace('_', '-')}", type=int, metavar="N", help=text)
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help=f"a limit of the search, such as depths=3,12; one of {', '.join(SETTABLE)}",
    )
    for cost in ("parameters", "activations"):
        add(f"--max-{cost}", metavar="COUNT", help="limit of the search, such as 700k or 2.5M")
    add("--seed", metavar="N", type=int, default=0, help="of the search (default: 0)")
    add("--image-size", metavar="N", type=int, default=224, help="pixels (default: 224)")
    add("--channels", metavar="N", type=int, default=3, help="of the images (default: 3)")
    add("--classes", metavar="N", type=int, default=1000, help="(default: 1000)")
    add("--out", metavar="FILE.png", type=Path, help="draw the widths of its blocks, too")
    add("--json", metavar="FILE.json", type=Path, help="write the network for --variant FILE.json")
    return parser


def _show(options):
    out = options.out
    check("--out", str(out), out is None or out.suffix == ".png", "a file that ends in .png")
    if out is not None:
        import_optional("matplotlib.figure", extra="pictures")
    file = options.json
    check("--json", str(file), file is None or file.suffix == ".json", "a file that ends in .json")
    config = _chosen(options)
    print(f"{config.name} at {options.image_size} pixels\n")
    print(stage_table(config, **_setting(options)))
    print(f"\nPython: {as_python(config)}")
    _warn(config, options.image_size)
    for path, write, what in (
        (out, lambda: draw_widths(config, out), "Widths"),
        (file, lambda: write_json(file, config.to_dict()), "Configuration, for --variant"),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write()
            print(f"\n{what}: {path}")


def _chosen(options: argparse.Namespace) -> RegNetConfig:
    """The network that the options mean."""
    fields = [*_GENERATOR, *(() if options.budget else ("se_ratio",))]
    numbers = {field: getattr(options, field) for field in fields}
    numbers = {field: value for field, value in numbers.items() if value is not None}
    _check_search_options(options)
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
    return _named(RegNetConfig(**numbers, **_stem(options)))


def _check_search_options(options):
    """Raises a UserError for an option that needs a budget, or numbers, without it."""
    limits = {
        "--max-parameters": options.max_parameters,
        "--max-activations": options.max_activations,
    }
    given = [name for name, value in {"--set": options.set, **limits}.items() if value]
    if given and not options.budget:
        raise UserError(f"{given[0]} limits the search for a network: it needs a --budget")
    if options.name and _stem(options):
        raise UserError("--stem-stride and --stem-width go with a --budget or with numbers")


def _stem(options):
    """Returns the given options of the stem."""
    given = {field: getattr(options, field) for field in STEM}
    return {field: value for field, value in given.items() if value is not None}


def _setting(options):
    """Returns what costs depend on, besides the network."""
    return {name: getattr(options, name) for name in ("image_size", "classes", "channels")}


def _searched(options: argparse.Namespace) -> RegNetConfig:
    """The network nearest to the budget; prints the next ones too."""
    setting = _setting(options)
    changes = dict(map(parse_setting, options.set)) | _stem(options)
    most = {
        f"max_{cost}": getattr(options, f"max_{cost}") for cost in ("parameters", "activations")
    }
    bounds: dict[str, Any] = {name: parse_count(text, name) for name, text in most.items() if text}
    configs = regnets_of(
        parse_flops(options.budget),
        se_ratio=options.se_ratio or 0.0,
        seed=options.seed,
        changes=changes,
        **bounds,
        **setting,
    )
    changed = "".join(f", {name}={value}" for name, value in (changes | most).items() if value)
    print(
        f"Nearest to {options.budget} of those drawn within {TOLERANCE:.0%}, under the paper's"
        f" final constraints and limits on parameters and activations{changed and ', with'}"
        f"{changed.removeprefix(',')}:\n"
    )
    rows: list[tuple[str, ...]] = [("d", "w_0", "w_a", "w_m", "g", "widths", *COSTS)]
    for config in configs:
        generator = [f"{getattr(config, field):g}" for field in _NEEDED]
        widths = ", ".join(str(stage.width) for stage in config.stages)
        rows.append((*generator, widths, *costs_of(complexity(config, **setting))))
    print(aligned(rows), "\n\nThe first of them: ", sep="", end="")
    return _named(configs[0])


def as_python(config: RegNetConfig) -> str:
    """Returns the call that makes a configuration, with the fields that are not the default."""
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    fields = {name: default for name, default in fields.items() if getattr(config, name) != default}
    return f"RegNetConfig({', '.join(f'{name}={getattr(config, name)!r}' for name in fields)})"


def _warn(config, image_size):
    """Prints a warning if stages work on maps that are too small for 3x3 convolutions."""
    size, small = strided((image_size,), config.stem_stride), []
    for number, stage in enumerate(config.stages, 1):
        size = strided(size, stage.stride)
        if size[0] <= _SMALL:
            small.append(f"stage {number} works on {size[0]}x{size[0]} maps")
    if small:
        print(
            f"\nWarning: at {image_size} pixels {' and '.join(small)}, where 3x3 convolutions see"
            " mostly padding.",
            file=sys.stderr,
        )


def _named(config):
    letter = "Y" if config.se_ratio else "X"
    return config.replace(name=f"RegNet{letter}-{config.identity}")
