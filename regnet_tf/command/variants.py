"""`regnet variants`: prints the named networks as a table."""

import argparse

from regnet_tf._markdown import COST_COLUMNS, cost_cells, markdown_table
from regnet_tf.costs import complexity
from regnet_tf.variants import VARIANTS, list_variants

from .starting import run

_EPILOG = """\
examples:
  regnet variants
  regnet variants "regnety_*\""""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = argparse.ArgumentParser(
        prog="regnet variants",
        description="Prints all named networks and their complexity at 224 pixels.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pattern", nargs="?", default="*", help="shell-style pattern of timm's names (default: all)"
    )
    options = parser.parse_args(arguments)

    def job():
        print(variant_table(options.pattern))

    return run(job, parser, tensorflow=False, only_prints=True)


def variant_table(pattern: str = "*") -> str:
    """Returns the variants whose timm key matches a shell-style pattern, as a markdown table."""
    columns = ["variant", "timm's key", "depth", "stage widths", "group width", *COST_COLUMNS]
    rows = []
    for key in list_variants(pattern):
        config = VARIANTS[key].config
        widths = ", ".join(str(stage.width) for stage in config.stages)
        row = [config.name, f"`{key}`", config.depth, widths, config.group_width]
        rows.append([*row, *cost_cells(complexity(config))])
    return markdown_table(columns, rows, left=(0, 1, 3))
