"""Markdown tables."""

from collections.abc import Collection, Iterable, Sequence

from regnet_tf.costs import Complexity


def markdown_table(
    columns: Sequence[object],
    rows: Iterable[Iterable[object]],
    left: Collection[int] = (0,),
) -> str:
    """Returns a markdown table, without a newline at the end.

    Args:
        columns: headings.
        rows: rows of cells; each cell is converted to text.
        left: indices of the left-aligned columns (words). The others (numbers) are right-aligned.
    """
    rules = ["---" if place in left else "--:" for place in range(len(columns))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (columns, rules, *rows))


#: The headings of `cost_cells`, in millions and billions.
COST_COLUMNS = ("parameters (M)", "multiply-adds (G)", "activations (M)")


def cost_cells(cost: Complexity) -> list[str]:
    """Returns the cells below `COST_COLUMNS` for a `Complexity`."""
    return [
        f"{cost.parameters / 1e6:.1f}",
        f"{cost.multiply_adds / 1e9:.2f}",
        f"{cost.activations / 1e6:.1f}",
    ]
