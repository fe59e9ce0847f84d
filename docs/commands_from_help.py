"""A hook of mkdocs that writes the page of commands: what each of them prints for `--help`."""

import argparse
import importlib
import os
from unittest import mock

from regnet_command import PROGRAMS, defer_library, overview

PAGE, PLACE = "commands.md", "<!-- commands -->"


class _Parser(Exception):
    """Carries the parser of a command away, before it parses anything."""


def on_page_markdown(markdown, page, config, files):
    """Called by mkdocs with the text of each page; returns it with the commands in their place."""
    return markdown.replace(PLACE, commands()) if page.file.src_uri == PAGE else markdown


def commands() -> str:
    """A section for each program of `regnet`, and for each of its subcommands."""
    defer_library()
    # The width and the colours that argparse would take from the terminal.
    with mock.patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"):
        sections = [_section(parser_of(program.module), 2) for program in PROGRAMS.values()]
    return "\n".join([f"```text\n{overview()}\n```\n", *sections])


def parser_of(module) -> argparse.ArgumentParser:
    """The parser that a program makes."""
    main = importlib.import_module(module).main

    def caught(parser, *_):
        raise _Parser(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", caught):
        try:
            main([])
        except _Parser as found:
            return found.args[0]
    raise TypeError(f"main() of {module} parses no arguments")


def _section(parser, level):
    """The help of a parser and of those below it, as markdown."""
    anchor = parser.prog.replace(" ", ".")
    text = f"{'#' * level} {parser.prog} {{ #{anchor} }}\n\n```text\n{parser.format_help()}```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                text += "\n" + _section(child, level + 1)
    return text
