"""What error messages say."""

from pathlib import Path

import pytest

from regnet_tf._errors import MissingPackageError, first_line, import_optional, nearest, printable

KNOWN = ["digits", "digit_crops", "digit_scenes", "imagenet2012"]


def test_nearest():
    assert nearest("digitz", KNOWN) == " Nearest: digits, digit_crops, digit_scenes."
    assert nearest("digitz", KNOWN, count=1) == " Nearest: digits."
    assert nearest("", KNOWN) == nearest("cats", KNOWN) == nearest("digits", []) == ""


def test_first_line():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Körner, 粒 and a 100 % \\ sign", "Körner, 粒 and a 100 % \\ sign"),
        ("two\nlines\r\t\u2028", r"two\nlines\r\t\u2028"),
        ("\x1b]0;title\x07\x9b31m\x7f", r"\x1b]0;title\x07\x9b31m\x7f"),
        ("txt.\u202egpj", r"txt.\u202egpj"),
        (b"K\xf6rner", r"K\xf6rner"),  # Latin 1
        (Path("K\udcf6rner"), r"K\xf6rner"),  # the same, as Python reads it from a folder
        (ValueError("a\nb"), r"a\nb"),
        ("half an emoji: \ud83d", r"half an emoji: \ud83d"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
    assert printable(text).encode()


def test_missing_package():
    with pytest.raises(
        MissingPackageError, match=r"`no_such_package`: pip install 'regnet_tf\[x\]'"
    ):
        import_optional("no_such_package.part", extra="x")
