"""A hook of mkdocs that tells `stylesheets/tables.css` the columns of each table.

It shows tables of many columns smaller. On narrow screens, it shows each row as a list.
"""

from markdown import Extension
from markdown.treeprocessors import Treeprocessor

AFTER_ALL_OTHERS = -1


def on_config(config):
    """Called by mkdocs with its settings; returns them with one more extension of markdown."""
    config.markdown_extensions.append(ColumnNames())
    return config


class ColumnNames(Extension):
    """Writes `data-columns`, 1 to n, into tables, and headings into cells, as `data-column`."""

    def extendMarkdown(self, md):
        """Called by Python-Markdown."""
        md.treeprocessors.register(_Namer(md), "column_names", AFTER_ALL_OTHERS)


class _Namer(Treeprocessor):
    def run(self, root):
        for table in root.iter("table"):
            names = ["".join(heading.itertext()) for heading in table.iter("th")]
            table.set("data-columns", " ".join(str(n) for n in range(1, len(names) + 1)))
            for row in table.iterfind("tbody/tr"):
                for cell, name in zip(row, names, strict=False):
                    cell.set("data-column", name)
