"""A hook of mkdocs that writes the page of commands: what each of them prints for `--help`."""

import argparse
import importlib
import os
from pathlib import Path
from unittest import mock

from training.command import start_tensorflow

ROOT = Path(__file__).parents[1]
PACKAGES = ("regnet_tf", "training", "export")
PAGE, PLACE = "commands.md", "<!-- commands -->"
_RUN = '\nif __name__ == "__main__":\n'


class _Parser(Exception):
    """Carries the parser of a command away, before it parses anything."""


def on_page_markdown(markdown, page, config, files):
    """Called by mkdocs with the text of each page; returns it with the commands in their place."""
    return markdown.replace(PLACE, commands()) if page.file.src_uri == PAGE else markdown


def commands() -> str:
    """A section for each command, and for each of its subcommands."""
    start_tensorflow()
    # The width and the colours that argparse would take from the terminal.
    with mock.patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"):
        return "\n".join(_section(parser_of(module), module, 2) for module in modules())


def modules() -> list[str]:
    """What `python -m` runs: every module that has a `main`, and ends in a call of it."""
    names = []
    for package in PACKAGES:
        paths = [path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")]
        texts = {path: (ROOT / path).read_text() for path in paths}
        runnable = [path for path, text in texts.items() if _RUN in text and "def main(" in text]
        dotted = (".".join(path.with_suffix("").parts) for path in runnable)
        names += sorted(name.removesuffix(".__main__") for name in dotted)
    return names


def parser_of(module) -> argparse.ArgumentParser:
    """The parser that a command makes."""
    if (ROOT / module.replace(".", "/")).is_dir():
        module += ".__main__"
    main = importlib.import_module(module).main

    def caught(parser, *_):
        raise _Parser(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", caught):
        try:
            main([])
        except _Parser as found:
            return found.args[0]
    raise TypeError(f"main() of {module} parses no arguments")


def _section(parser, anchor, level):
    """The help of a parser and of those below it, as markdown."""
    text = f"{'#' * level} {parser.prog} {{ #{anchor} }}\n\n```text\n{parser.format_help()}```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                text += "\n" + _section(child, f"{anchor}.{name}", level + 1)
    return text
