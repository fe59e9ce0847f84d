"""Versions of installed packages."""

import keras
import numpy as np

from regnet_tf._versions import installed_versions


def test_packages_that_are_missing_are_left_out():
    found = installed_versions(("numpy", "no-such-package", "keras"))
    assert found == {"numpy": np.__version__, "keras": keras.__version__}
