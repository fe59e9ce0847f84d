"""Argument checks. Their errors name the argument, what it got and what it may be."""

import dataclasses
import math
import reprlib

import numpy as np

from regnet_tf._errors import UserError, nearest, printable

#: Default maximum of integers: TensorFlow holds shapes and counters of this size.
MAX_INT = 2**31 - 1
#: Maximum number of channels and classes, far above any network. Arithmetic is exact up to here.
MAX_WIDTH = 2**20
#: Maximum side of an image in pixels.
MAX_SIDE = 2**15


def plain(instance):
    """Replaces numpy numbers in a frozen dataclass by Python numbers, which JSON supports."""
    for name, value in vars(instance).items():
        object.__setattr__(instance, name, _plain(value, levels=3))


def _plain(value, levels):
    """Returns a value without numpy numbers, down to a number of levels of nesting."""
    if isinstance(value, np.floating):
        return float(value)  # `item` leaves a long double as it is
    if isinstance(value, np.generic):
        return value.item()
    if levels and type(value) in (tuple, list):
        return type(value)(_plain(one, levels - 1) for one in value)
    if levels and type(value) is dict:
        return {key: _plain(one, levels - 1) for key, one in value.items()}
    return value


def check_fields(dataclass, names):
    """Raises ValueError unless all names are fields of a dataclass."""
    fields = [field.name for field in dataclasses.fields(dataclass)]
    unknown = sorted(map(named, set(names) - set(fields)))
    if unknown:
        raise ValueError(
            f"A {dataclass.__name__} has the fields {', '.join(fields)}."
            f" Received: {', '.join(unknown)}.{nearest(unknown[0], fields)}"
        )


def replaced(instance, changes):
    """Returns a copy of a dataclass with some fields changed.

    Raises:
        ValueError: for an unknown field.
    """
    check_fields(type(instance), changes)
    return dataclasses.replace(instance, **changes)


class _Short(reprlib.Repr):
    """Shortens long values; a huge integer has no text, as Python refuses to make one."""

    def repr_int(self, x, level):
        return (
            super().repr_int(x, level)
            if abs(x) < 10**100
            else f"an integer of {x.bit_length():,} bits"
        )


_SHORT = _Short()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 30
_SHORT.maxlong, _SHORT.maxstring, _SHORT.maxother = 100, 300, 300


def shown(value: object) -> str:
    """Returns the `repr` of a value for an error: in one line, and shortened if it is long."""
    return " ".join(_SHORT.repr(value).split("\n"))


def named(name: object) -> str:
    """Returns a name for an error: as it is, or as `shown` if it would break the line."""
    if isinstance(name, str) and name.isprintable() and len(name) < _SHORT.maxstring:
        return name
    return shown(name)


def check(name, value, ok, allowed):
    """Raises ValueError unless `ok`."""
    if not ok:
        raise ValueError(f"`{name}` must be {allowed}. Received: {name}={shown(value)}")


def check_choice(name, value, choices):
    """Raises ValueError unless `value` is one of `choices`."""
    simple = value is None or isinstance(value, (str, int, np.integer))  # `==` of others may fail
    ok = simple and value in tuple(choices)
    check(name, value, ok, f"one of {', '.join(map(repr, choices))}")


def check_label_lines(of, names):
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
                f" characters and without blanks at the ends. Received: {shown(name)}"
            )


def check_bool(name, value):
    """Raises ValueError unless `value` is True or False."""
    check(name, value, isinstance(value, bool), "True or False")


def is_int(value):
    """Whether `value` is an integer of 64 bits (numpy integers count, booleans do not)."""
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_integer and -(2**63) <= int(value) < 2**63


def is_number(value):
    """Whether `value` is an integer of 64 bits or a float; also one of numpy."""
    return is_int(value) or isinstance(value, (float, np.floating))


def check_int(name, value, minimum, maximum=None):
    """Raises ValueError unless `value` is an integer from `minimum` to `maximum`.

    The default maximum is `MAX_INT`.
    """
    largest = MAX_INT if maximum is None else maximum
    ok = is_int(value) and minimum <= value <= largest
    too_large = isinstance(value, (int, np.integer)) and value > largest
    most = f" and at most {largest:,}" if too_large or maximum is not None else ""
    check(name, value, ok, f"an integer of at least {minimum}{most}")


def check_stride(name, value):
    """Raises ValueError unless `value` is a stride that blocks and stems accept."""
    check(name, value, _is_stride(value), "1 or 2")


def check_strides(name, value):
    """Raises ValueError unless `value` is a stride of all stages, or a tuple of one for each."""
    strides = value if isinstance(value, tuple) else (value,)
    check(name, value, all(map(_is_stride, strides)), "1 or 2, or one of them for each stage")


def _is_stride(value):
    return is_int(value) and value in (1, 2)


def check_number(name, value, minimum=None, above=None, below=None, maximum=None):
    """Raises ValueError unless `value` is a finite number within the bounds given.

    TensorFlow computes with float32: there, too, the number is finite, above and below the bounds.
    """
    bounds = ("at least", minimum), ("above", above), ("below", below), ("at most", maximum)
    words = " and ".join(f"{word} {bound:,}" for word, bound in bounds if bound is not None)

    def is_strictly_inside(number):
        ok = math.isfinite(number) and (above is None or number > above)
        return ok and (below is None or number < below)

    number = float(value) if is_number(value) else math.nan
    ok = is_strictly_inside(number)
    ok = ok and (minimum is None or number >= minimum) and (maximum is None or number <= maximum)
    with np.errstate(over="ignore", under="ignore"):
        too_fine = ok and not is_strictly_inside(float(np.float32(number)))
    in_float32 = " in float32" if too_fine else ""
    check(name, value, ok and not too_fine, f"a finite number {words}".strip() + in_float32)
