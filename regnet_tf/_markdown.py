"""Tables as text."""


def markdown_table(columns, rows, left=(0,)) -> str:
    """A markdown table, without a line's end behind it.

    Args:
        columns: headings.
        rows: of cells; anything that has a text.
        left: places of the columns of words; the others, of numbers, are right-aligned.
    """
    rules = ["---" if place in left else "--:" for place in range(len(columns))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (columns, rules, *rows))


def cost_cells(cost) -> list[str]:
    """Millions of parameters, billions of multiply-adds, millions of activations.

    Args:
        cost: a `Complexity`.
    """
    millions, billions = 1e6, 1e9
    return [
        f"{cost.parameters / millions:.1f}",
        f"{cost.macs / billions:.2f}",
        f"{cost.activations / millions:.1f}",
    ]
