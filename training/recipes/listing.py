"""Describes recipes as text, one line a part."""

import dataclasses
import textwrap

from .recipe import PARTS, Recipe

_WIDTH = 98


def describe(recipe: Recipe) -> str:
    """Returns name, description and fields of a recipe, at most 100 columns wide.

    A line names a part and its fields that differ from their defaults. A part that equals its
    defaults is left out.
    """
    lines = [recipe.name, textwrap.indent(recipe.description, "  ")]
    for name in PARTS:
        part = getattr(recipe, name)
        fields = {} if part is None else _changed(part)
        if fields:
            lines.append(_line(f"{name}: ", fields))
    own = {"precise_images": recipe.precise_images, "seed": recipe.seed}
    return "\n".join([*lines, _line("", own)])


def figures(recipe: Recipe) -> str:
    """Returns the name and every field of a recipe, at most 100 columns wide; a line a part."""
    lines = [f"Recipe {recipe.name}:"]
    for name in PARTS:
        part = getattr(recipe, name)
        fields = {"": "none"} if part is None else dict(_values(part))
        lines.append(_line(f"{name}: ", fields))
    own = {"precise_images": recipe.precise_images, "seed": recipe.seed}
    return "\n".join([*lines, _line("", own)])


def _changed(instance):
    """Returns the fields of a dataclass that differ from their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(instance)}
    return {name: value for name, value in _values(instance) if value != defaults[name]}


def _values(instance):
    return [(field.name, getattr(instance, field.name)) for field in dataclasses.fields(instance)]


def _line(start, fields):
    text = start + ", ".join(f"{name}={_text(value)}".lstrip("=") for name, value in fields.items())
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _text(value):
    """Returns a value as `--set` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return getattr(value, "name", str(value))  # a network has a name
