"""Options of the command line that change how images are prepared."""

import argparse

import numpy as np
import pytest
from regnet_command import add_preprocessing_options, preprocessing_changes

from regnet_tf import Preprocessing

LEVELS = np.array([0, 100, 255], "uint8").reshape(1, 1, 3)


def changed(*arguments, preprocessing=None):
    parser = argparse.ArgumentParser()
    add_preprocessing_options(parser)
    changes = preprocessing_changes(parser.parse_args(arguments))
    return (preprocessing or Preprocessing()).replace(**changes)


def test_nothing_is_changed_by_default():
    assert changed() == Preprocessing()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scale", "255"], [0, 100, 255]),
        (["--scale", "1"], [0, 100 / 255, 1]),
        (["--mean", "0.5", "--std", "0.5"], [-1, 100 / 127.5 - 1, 1]),
        (["--mean", "0.5,0,1", "--std", "0.5,1,2"], [-1, 100 / 255, 0]),
        (["--mean", "0,0,0"], [0, 100 / 255 / 0.224, 1 / 0.225]),
        (["--scale", "255", "--mean", "0.5"], [-127.5, -27.5, 127.5]),
        (["--scale", "2", "--std", "0.5,1,2"], [0, 200 / 255, 1]),
    ],
)
def test_values_that_are_fed(arguments, expected):
    found = changed(*arguments).normalize(LEVELS)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5, atol=1e-4)


def test_other_channels():
    gray = Preprocessing().with_channels(1)
    assert changed("--scale", "255", preprocessing=gray).std == (1 / 255,)
    assert changed("--mean", "0.5", preprocessing=gray).mean == (0.5,)
    with pytest.raises(ValueError, match="`std` must be as many numbers as `mean` has, 2"):
        changed("--mean", "0.5,0.5")


def test_other_fields():
    assert changed("--exif-orientation").exif_orientation
    assert changed("--max-pixels", "1000").max_pixels == 1000
    assert changed("--image-size", "32", "--resize-size", "40").shorter_side == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "0"], "--scale: must be a number above 0. Received: 0"),
        (["--mean", "a,b"], "--mean: invalid"),
    ],
)
def test_numbers_that_are_none(arguments, message, capsys):
    with pytest.raises(SystemExit):
        changed(*arguments)
    assert message in capsys.readouterr().err
