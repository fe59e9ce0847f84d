"""Worker: says what a Python has. The request names "modules" and "packages"."""

import importlib.metadata
import importlib.util
import platform

import measuring


def find(request):
    """Dict: "python", "missing" modules, and "versions" of the packages that are there."""
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
