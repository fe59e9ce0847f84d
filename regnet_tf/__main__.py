"""`python -m regnet_tf`: what the library knows, on the command line."""

import argparse
import sys

from regnet_tf.complexity import complexity
from regnet_tf.variants import VARIANTS, list_variants


def variant_table(pattern="*") -> str:
    """The variants whose timm key matches a shell-style pattern, as a markdown table."""
    lines = [
        "| variant | timm's key | depth | stage widths | group width | parameters (M) "
        "| multiply-adds (G) | activations (M) |",
        "|---|---|--:|---|--:|--:|--:|--:|",
    ]
    for key in list_variants(pattern):
        config = VARIANTS[key].config
        cost = complexity(config)
        widths = ", ".join(str(stage.width) for stage in config.stages)
        cells = (
            config.name,
            f"`{key}`",
            config.depth,
            widths,
            config.group_width,
            f"{cost.parameters / 1e6:.1f}",
            f"{cost.macs / 1e9:.2f}",
            f"{cost.activations / 1e6:.1f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _variants(options):
    print(variant_table(options.pattern))


def main(arguments=None):
    """The command. Errors of the user end it with one line and status 2."""
    parser = argparse.ArgumentParser(prog="python -m regnet_tf", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    variants = commands.add_parser("variants", help="the table of variants, at 224 pixels")
    variants.add_argument("pattern", nargs="?", default="*", help='such as "regnety_*"')
    variants.set_defaults(run=_variants)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
