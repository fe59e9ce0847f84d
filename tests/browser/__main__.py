"""`python -m tests.browser`: see `python -m tests.browser --help`."""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

_EPILOG = """\
examples:
  python -m tests.browser --out build/browser.json
  python -m tests.browser --networks regnetx_004 --clients "LiteRT.js, wasm"

Writes a network's files and runs them in headless Chromium. The files take turns. The milliseconds
are the median of the turns, for one photograph; a ratio is the median of the turns' ratios to the
float32 file in the same client. $CHROME names another browser, $NODE_PATH the folders of npm's
packages. Milliseconds of WebGPU say something only where Chromium has a graphics card.

Exit status: 0 after success, 2 after an error, such as a missing browser or package."""


def main(arguments=None):
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    from tests.browser.clients import CLIENTS

    options = _parser(CLIENTS).parse_args(arguments)
    try:
        report = _measure(options)
    except (pytest.skip.Exception, ValueError) as error:
        print(f"python -m tests.browser: error: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser(clients):
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser",
        description="Measures exported files in browsers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--networks",
        metavar="NAME",
        nargs="+",
        default=["regnetx_004", "regnety_004", "regnety_016"],
        help="variants (default: regnetx_004 regnety_004 regnety_016)",
    )
    add("--image-size", metavar="PIXELS", type=int, default=224, help="(default: 224)")
    add(
        "--clients",
        metavar="NAME",
        nargs="+",
        choices=list(clients),
        default=[name for name in clients if "GPU" not in name],
        help=f"{'; '.join(clients)} (default: all but those with GPU)",
    )
    add("--turns", metavar="N", type=int, default=7, help="turns of each file (default: 7)")
    add("--seconds", metavar="S", type=float, default=1, help="of a turn (default: 1)")
    add("--out", metavar="FILE", type=Path, help="write the table as JSON, too")
    return parser


def _measure(options):
    """Prints the table and returns the content of the JSON file."""
    from tests.browser import clients, networks

    used = {name: clients.CLIENTS[name] for name in options.clients}
    packages = list(dict.fromkeys(client.package for client in used.values()))
    suffixes = {client.suffix for client in used.values()}
    kinds = [
        kind
        for kind, (suffix, _) in networks.WRITERS.items()
        if suffix in suffixes and "features" not in kind
    ]
    size, rows = options.image_size, []
    with tempfile.TemporaryDirectory() as scratch:
        site, files = Path(scratch, "site"), Path(scratch, "files")
        site.mkdir()
        files.mkdir()
        with clients.browser(site, files, packages) as browser:
            versions = {"Chromium": browser.version, **clients.versions(packages)}
            devices = browser.devices()
            print(", ".join(f"{name} {version}" for name, version in versions.items()))
            print(f"\n{_HEAD}", flush=True)
            for variant in options.networks:
                model = networks.classifier(variant, size)
                images = networks.photographs(size, 2, 5)
                exported = networks.write(model, files, kinds, images)
                for name, client in used.items():
                    found = _rows(browser, name, client, exported, options)
                    print("\n".join(map(_line, found)), flush=True)
                    rows += found
    return {"image_size": size, "versions": versions, "devices": devices, "rows": rows}


def _rows(browser, name, client, exported, options):
    """Returns the rows of a client, for which its files take turns."""
    from playwright.sync_api import Error

    rows, loaded = [], {}
    expected = exported.outputs["probabilities"]
    with contextlib.ExitStack() as stack:
        for kind, file in exported.files.items():
            if file.suffix != client.suffix:
                continue
            row = {"file": file.name, "kind": kind, "client": name}
            rows.append(row)
            try:
                one = stack.enter_context(browser.load(client, file.name, len(expected)))
                answer = one.answer()
            except Error as error:
                row["error"] = error.message.splitlines()[0].removeprefix("Page.evaluate: ")
                continue
            loaded[kind] = one, row
            row["max_difference"] = float(np.abs(answer - expected).max())
            row["top1_agreement"] = float((answer.argmax(1) == expected.argmax(1)).mean())
            row["turns"] = []
        for _ in range(options.turns):
            for one, row in loaded.values():
                row["turns"].append(one.milliseconds(options.seconds))
    floats = next((row for _, row in loaded.values() if row["kind"].endswith("float32")), None)
    for _, row in loaded.values():
        row["milliseconds"] = statistics.median(row["turns"])
        if floats:
            pairs = zip(row["turns"], floats["turns"], strict=True)
            row["ratio"] = statistics.median(a / b for a, b in pairs)
    return rows


_HEAD = """\
| file | client | ms | to float32 | largest difference | top-1 |
|---|---|---:|---:|---:|---:|"""


def _line(row):
    """Returns a row as a line of a Markdown table."""
    start = f"| {row['file']} | {row['client']} |"
    if "error" in row:
        return f"{start} {row['error']} | | | |"
    return (
        f"{start} {row['milliseconds']:.1f} | {row.get('ratio', float('nan')):.2f}"
        f" | {row['max_difference']:.1e} | {100 * row['top1_agreement']:.0f} % |"
    )


if __name__ == "__main__":
    sys.exit(main())
