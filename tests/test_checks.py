"""Checks of arguments: what passes, and what their errors say."""

import dataclasses
import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from regnet_tf._checks import (
    MAX_INT,
    check_choice,
    check_int,
    check_number,
    is_int,
    is_number,
    plain,
    shown,
)

WRONG = (
    *(None, True, "1", b"1", 1j, Fraction(1, 2), Decimal(1), Decimal("sNaN"), [1], np.array(1)),
    *(10**400, -(10**400), 2**63, np.bool_(True), np.complex64(1), np.datetime64(1, "s")),
)


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_what_is_no_number(value):
    assert not is_int(value) and not is_number(value)
    for check in (check_int, check_number):
        with pytest.raises(ValueError, match=r"^`x` must be .*\. Received: x=") as error:
            check("x", value, minimum=0)
        assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float16("inf"), 1e300])
def test_numbers_are_finite_in_float32(value):
    with pytest.raises(ValueError, match="must be a finite number"):
        check_number("x", value)


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0, {"above": 0}, "a finite number above 0"),
        (1e-300, {"above": 0}, "a finite number above 0 in float32"),
        (1 - 1e-12, {"below": 1}, "a finite number below 1 in float32"),
        (1.5, {"above": 0, "maximum": 1}, "a finite number above 0 and at most 1"),
        (-1, {"minimum": 0, "below": 1}, "a finite number at least 0 and below 1"),
    ],
)
def test_bounds(value, bounds, words):
    with pytest.raises(ValueError, match=rf"^`x` must be {words}\. Received: x="):
        check_number("x", value, **bounds)


def test_bounds_that_hold():
    check_number("x", 1, above=0, maximum=1)
    check_number("x", 0.1, minimum=0.1, maximum=0.1)  # float32 rounds it up
    check_number("x", np.float16(0.5), above=0, below=1e6)
    check_int("x", np.uint64(MAX_INT), minimum=MAX_INT)


def test_integers_have_a_maximum():
    for value in (MAX_INT + 1, np.int64(2**40), 10**5000):
        message = r"of at least 0 and at most 2,147,483,647\. Received: "
        with pytest.raises(ValueError, match=message):
            check_int("x", value, minimum=0)


def test_choices():
    check_choice("x", np.int64(8), (8, 16))
    for value in (np.array([8]), [8], (8,), {8}, object(), "9"):
        with pytest.raises(ValueError, match="`x` must be one of 8, 16"):
            check_choice("x", value, (8, 16))


def test_numbers_of_numpy_become_plain():
    @dataclasses.dataclass(frozen=True)
    class Fields:
        count: int
        mean: tuple
        options: dict

    fields = Fields(np.int64(3), (np.float32(0.5), np.longdouble(2)), {"a": [np.bool_(True)]})
    plain(fields)
    assert json.dumps(dataclasses.asdict(fields)) == (
        '{"count": 3, "mean": [0.5, 2.0], "options": {"a": [true]}}'
    )


def test_long_values_are_shortened():
    nested = []
    nested.append(nested)
    for value in (10**5000, "a\n" * 10_000, list(range(10**5)), np.eye(99), nested, [10**5000]):
        assert "\n" not in shown(value) and len(shown(value)) < 400
    assert shown(10**400) == "an integer of 1,329 bits" and shown(-12345) == "-12345"
