"""Argument checks. Their errors name the argument, what it got and what it may be."""

import dataclasses
import math
import numbers
from collections.abc import Hashable

import numpy as np

from regnet_tf._errors import UserError, printable


def plain(instance):
    """Replaces numpy numbers in a frozen dataclass by Python numbers, which JSON supports."""
    for name, value in vars(instance).items():
        if isinstance(value, np.generic):
            object.__setattr__(instance, name, value.item())


def check_fields(dataclass, names):
    """Raises ValueError unless all names are fields of a dataclass."""
    fields = [field.name for field in dataclasses.fields(dataclass)]
    unknown = sorted(set(names) - set(fields))
    if unknown:
        raise ValueError(
            f"A {dataclass.__name__} has the fields {', '.join(fields)}."
            f" Received: {', '.join(unknown)}"
        )


def replaced(instance, changes):
    """Returns a copy of a dataclass with some fields changed.

    Raises:
        ValueError: for an unknown field.
    """
    check_fields(type(instance), changes)
    return dataclasses.replace(instance, **changes)


def check(name, value, ok, allowed):
    """Raises ValueError unless `ok`."""
    if not ok:
        raise ValueError(f"`{name}` must be {allowed}. Received: {name}={value!r}")


def check_choice(name, value, choices):
    """Raises ValueError unless `value` is one of `choices`."""
    check(
        name,
        value,
        isinstance(value, Hashable) and value in choices,
        f"one of {', '.join(map(repr, choices))}",
    )


def check_class_names(of, names):
    """Raises UserError unless each class name is one line, as files of labels need it.

    Args:
        of: what the names are, for the message.
        names: the names.
    """
    for name in names:
        ok = isinstance(name, str) and name == name.strip() and name == printable(name) != ""
        if not ok:
            raise UserError(
                f"{of} must be names of one line each, none of them empty, without control"
                f" characters and without blanks at the ends. Received: {name!r}"
            )


def is_int(value):
    """Whether `value` is an integer (numpy integers count, booleans do not)."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_int(name, value, minimum, maximum=None):
    """Raises ValueError unless `value` is an integer from `minimum` to `maximum`."""
    ok = is_int(value) and value >= minimum and (maximum is None or value <= maximum)
    most = "" if maximum is None else f" and at most {maximum:,}"
    check(name, value, ok, f"an integer of at least {minimum}{most}")


def check_stride(name, value):
    """Raises ValueError unless `value` is a stride that blocks and stems accept."""
    check(name, value, is_int(value) and value in (1, 2), "1 or 2")


def check_number(name, value, minimum=None, above=None, below=None):
    """Raises ValueError unless `value` is a finite number within the bounds given."""
    allowed = " and ".join(
        f"{words} {bound:,}"
        for words, bound in (("at least", minimum), ("above", above), ("below", below))
        if bound is not None
    )
    ok = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
    ok = ok and (minimum is None or value >= minimum)
    ok = ok and (above is None or value > above) and (below is None or value < below)
    check(name, value, ok, f"a finite number {allowed}".strip())
