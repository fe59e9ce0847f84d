"""Parses changes of recipes from text, as on the command line."""

from regnet_tf import RegNetConfig
from regnet_tf._checks import check

from .recipe import FIELD_TYPES, check_field


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


_PARSERS = {
    str: (str, "text"),
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (_truth, "true or false"),
    float | None: (_optional_float, "a number or none"),
    int | None: (_optional_int, "an integer or none"),
    str | None: (_optional_text, "text or none"),
    tuple[float, ...]: (_numbers, "numbers separated by commas"),
    tuple[str, ...] | None: (_optional_names, "names separated by commas, or none"),
    RegNetConfig | str: (str, "the name of a RegNet"),
}


def parse_change(text):
    """Parses a change of one field.

    Args:
        text: `field=value`, such as "epochs=10" or "max_steps=none".

    Returns:
        `(field, value)`; the value has the field's type.

    Raises:
        ValueError: if the field is unknown, or its value has another type.
    """
    field, equals, value = text.partition("=")
    check("set", text, bool(equals), "of the form field=value")
    check_field(field)
    parse, allowed = _PARSERS[FIELD_TYPES[field]]
    try:
        return field, parse(value)
    except (ValueError, KeyError):
        raise ValueError(f"`{field}` must be {allowed}. Received: {field}={value!r}") from None
