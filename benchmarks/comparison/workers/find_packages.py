"""Worker: finds the packages of a Python. The request names "modules" and "packages"."""

import importlib.metadata
import importlib.util
import platform

import measuring


def find(request):
    """Returns a dict: "python", "missing" modules, and "versions" of the installed packages."""
    versions = {}
    for package in request["packages"]:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    missing = [name for name in request["modules"] if importlib.util.find_spec(name) is None]
    return {"python": platform.python_version(), "missing": missing, "versions": versions}


if __name__ == "__main__":
    measuring.answer(find)
