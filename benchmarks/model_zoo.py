"""`python -m benchmarks.model_zoo`: writes the page of networks, published weights and speeds."""

import argparse
import re
from pathlib import Path

from regnet_command import run, start

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "model_zoo.md"
RECORDS = ROOT / "benchmarks" / "records"

_EPILOG = """\
The page has the table of variants, the table of published weights, and recorded speeds. A record is
a file of regnet benchmark with the date and the machine in its name, such as
2030-01-31_workstation.json.

Exit status: 0 after success, 2 if a file is not a record."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_zoo",
        description="Writes the page of all networks, published weights and recorded speeds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--records",
        metavar="DIR",
        type=Path,
        default=RECORDS,
        help="folder of records (default: benchmarks/records)",
    )
    add(
        "--out",
        metavar="FILE",
        type=Path,
        default=PAGE,
        help="page to write (default: docs/model_zoo.md)",
    )
    options = parser.parse_args(arguments)
    return run(lambda: _write(options.records, options.out), parser)


def _write(records, out):
    from regnet_tf._files import replacing

    from .model_zoo_page import page

    text = page(read_records(records))
    with replacing(out) as path:
        path.write_text(text)
    print(f"Written: {out}")


def read_records(folder: Path) -> list[dict]:
    """Reads the recorded speeds in a folder, newest first.

    Args:
        folder: a `Path`; may be missing.

    Returns:
        The content of each file, as written by `training.benchmark`, with "date" and "machine" from
        the file's name.

    Raises:
        UserError: if a file has another name or content.
    """
    return [_read_record(path) for path in sorted(folder.glob("*.json"), reverse=True)]


def _read_record(path):
    from regnet_tf._errors import UserError
    from regnet_tf._files import read_json

    name = re.fullmatch(r"(\d{4}-\d\d-\d\d)_(.+)", path.stem)
    if name is None:
        raise UserError(f"{path} is not named like 2030-01-31_machine.json")
    try:
        record = read_json(path)
        known = all("contenders" in result for result in record["results"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a record of `regnet benchmark`") from error
    if not known:
        raise UserError(f"{path} holds the speed of a recipe, not of networks")
    return {"date": name[1], "machine": name[2].replace("_", " "), **record}


if __name__ == "__main__":
    start(".model_zoo", __package__)
