"""What error messages say."""

import pytest

from regnet_tf._errors import MissingPackageError, first_line, import_optional, nearest

KNOWN = ["digits", "digit_crops", "digit_scenes", "imagenet2012"]


def test_nearest():
    assert nearest("digitz", KNOWN) == " Nearest: digits, digit_crops, digit_scenes."
    assert nearest("digitz", KNOWN, count=1) == " Nearest: digits."
    assert nearest("", KNOWN) == nearest("cats", KNOWN) == nearest("digits", []) == ""


def test_first_line():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def test_missing_package():
    with pytest.raises(
        MissingPackageError, match=r"`no_such_package`: pip install 'regnet_tf\[x\]'"
    ):
        import_optional("no_such_package.part", extra="x")
