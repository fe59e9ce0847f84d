"""What a person at the command line reads instead of a traceback."""

import importlib


class UserError(ValueError):
    """What was asked for cannot be done; the message says why, in one line."""


def import_optional(module):
    """Imports a module of an optional package.

    Args:
        module: dotted name, such as "sklearn.datasets".

    Raises:
        UserError: naming the extra to install, if the package is not there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise UserError(
            f"Training needs the package `{package}`: pip install -e .[training]"
        ) from error
