"""Parses changes of recipes from text, as on the command line."""

from collections.abc import Callable

from regnet_tf import RegNetConfig
from regnet_tf._checks import check, shown

from .recipe import FIELD_TYPES, OPTIONAL_PARTS, PARTS, check_name


def _truth(text):
    return {"true": True, "false": False}[text.lower()]


def _optional_float(text):
    return None if text.lower() == "none" else float(text)


def _optional_int(text):
    return None if text.lower() == "none" else int(text)


def _optional_text(text):
    return None if text.lower() == "none" else text


def _numbers(text):
    return tuple(float(number) for number in text.split(","))


def _optional_names(text):
    return None if text.lower() == "none" else tuple(text.split(","))


#: The type of a field -> a function from text, and what the text must be.
PARSERS: dict[object, tuple[Callable[[str], object], str]] = {
    str: (str, "text"),
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (_truth, "true or false"),
    float | None: (_optional_float, "a number or none"),
    int | None: (_optional_int, "an integer or none"),
    str | None: (_optional_text, "text or none"),
    tuple[float, float]: (_numbers, "numbers separated by commas"),
    tuple[float, ...]: (_numbers, "numbers separated by commas"),
    tuple[str, ...] | None: (_optional_names, "names separated by commas, or none"),
    RegNetConfig: (str, "the name of a RegNet"),
}


def parse_change(text: str) -> tuple[str, object]:
    """Parses a change of one field.

    Args:
        text: `field=value`, such as "schedule.epochs=10" or "schedule.max_steps=none". "average",
            "decoder", "distillation", "selection" and "pretraining" may be "none".

    Returns:
        `(field, value)` for `Recipe.replace`. The value has the field's type; a RegNet is a name.

    Raises:
        ValueError: if the field is unknown, or its value has another type.
    """
    field, equals, value = text.partition("=")
    check("set", text, bool(equals), "of the form field=value")
    check_name(field)
    if field in PARTS:
        return field, _parse_part(field, value)
    parse, allowed = PARSERS[FIELD_TYPES[field]]
    try:
        return field, parse(value)
    except (ValueError, KeyError):
        reason = f"`{field}` must be {allowed}. Received: {field}={shown(value)}"
        raise ValueError(reason) from None


def _parse_part(part, value):
    """Returns None for "none", where a recipe may lack the part."""
    if part in OPTIONAL_PARTS and value.lower() == "none":
        return None
    fields = ", ".join(name for name in FIELD_TYPES if name.startswith(f"{part}."))
    none = " or be none" if part in OPTIONAL_PARTS else ""
    raise ValueError(
        f"`{part}` must be set by its fields{none}: {fields}. Received: {part}={value!r}"
    )
