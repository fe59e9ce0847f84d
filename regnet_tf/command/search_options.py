"""Parses the options of a search for a network."""

import dataclasses
import json
import re

from regnet_tf._checks import check
from regnet_tf._errors import UserError, nearest
from regnet_tf.design_space import RegNetSpace

#: Options of the stem -> help.
STEM = {
    "stem_stride": "of the stem: 1 or 2 (default: 2)",
    "stem_width": "of the stem (default: 32)",
}
#: Fields of the space that `--set` takes; the others have an option.
SETTABLE = sorted(
    {field.name for field in dataclasses.fields(RegNetSpace)}
    - {"name", "image_size", "se_ratio", *STEM}
)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


def parse_flops(text: str) -> float:
    """Flops, of a text such as "400MF" or "1.6GF"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])F", str(text).upper())
    if found is None:
        raise ValueError(
            f"`--budget` must be flops such as 400MF or 1.6GF. Received: --budget={text!r}"
        )
    return float(found[1]) * _UNITS[found[2]]


def parse_count(text: str, name: str) -> float:
    """Returns a number, of a text such as "700k" or "2.5M".

    Args:
        text: the text.
        name: the option's name, for errors.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)", text.upper())
    option = f"--{name.replace('_', '-')}"
    if found is None:
        raise ValueError(f"`{option}` must be a count such as 700k or 2.5M. Received: {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def parse_setting(text: str) -> tuple[str, object]:
    """Returns a field of a `RegNetSpace` and its value, of a text such as "depths=3,12".

    A field that is a tuple in RegNetX takes numbers with commas, the others one number. `stride`
    takes both.
    """
    field, equals, value = text.partition("=")
    check("--set", text, equals, "FIELD=VALUE, such as depths=3,12")
    if field not in SETTABLE:
        raise UserError(
            f"--set: the space has no field {field!r}.{nearest(field, SETTABLE)}"
            f" Fields: {', '.join(SETTABLE)}."
        )
    default = next(one.default for one in dataclasses.fields(RegNetSpace) if one.name == field)
    values = tuple(_value(field, one) for one in value.split(","))
    if isinstance(default, tuple):
        return field, values
    if len(values) == 1:
        return field, values[0]
    check(f"--set {field}", value, field == "stride", "one value")
    return field, values


def _value(field, text):
    """Returns a JSON value, such as a number; a bare word is a text."""
    text = text.strip()
    check(f"--set {field}", text, text, "a value")
    try:
        return json.loads(text)
    except ValueError:
        return text
