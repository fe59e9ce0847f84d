"""A hook of mkdocs that names the column of each cell, for screens too narrow for a table.

`stylesheets/tables.css` shows each row as a list there.
"""

from markdown import Extension
from markdown.treeprocessors import Treeprocessor

AFTER_ALL_OTHERS = -1


def on_config(config):
    """Called by mkdocs with its settings; returns them with one more extension of markdown."""
    config.markdown_extensions.append(ColumnNames())
    return config


class ColumnNames(Extension):
    """Writes the heading of its column into each cell of a table, as `data-column`."""

    def extendMarkdown(self, md):
        """Called by Python-Markdown."""
        md.treeprocessors.register(_Namer(md), "column_names", AFTER_ALL_OTHERS)


class _Namer(Treeprocessor):
    def run(self, root):
        for table in root.iter("table"):
            names = ["".join(heading.itertext()) for heading in table.iter("th")]
            for row in table.iterfind("tbody/tr"):
                for cell, name in zip(row, names, strict=False):
                    cell.set("data-column", name)
