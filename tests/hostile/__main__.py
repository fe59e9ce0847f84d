"""`python -m tests.hostile`: see `python -m tests.hostile --help`."""

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from . import bombs, cases, configurations, damage, interrupts, kills, processes
from .originals import Originals
from .suite import Suite

PARTS = {
    "configurations": configurations,
    "damage": damage,
    "bombs": bombs,
    "kills": kills,
    "interrupts": interrupts,
}
_EPILOG = """\
examples:
  python -m tests.hostile
  python -m tests.hostile damage --scale 2 --seed 7
  python -m tests.hostile kills interrupts --out /tmp/hostile

parts:
  kills           kill -9 in training runs, a sweep and exports; then the same command again
  damage          damaged files of every kind, by outcome
  configurations  random networks and design spaces; some built, saved, loaded, fused
  bombs           files and servers' answers that would take all memory or never end
  interrupts      Ctrl-C, SIGTERM, closed pipes and full disks, in every program

Exit status: 0 if there is no fault, 1 otherwise."""


def main(arguments: list[str] | None = None) -> int:
    """Runs parts of the suite; returns the exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    options = _parser().parse_args(arguments)
    out = options.out.resolve()
    scratch = out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended, too
    clock, record = time.monotonic(), cases.Record(lambda text: print(text, flush=True))
    print(f"Imports, and the files to damage, in {scratch} ...", flush=True)
    processes.preload()
    originals = Originals(scratch / "originals")
    processes.drive(originals.scenarios(), options.workers, record)
    for name in options.parts or PARTS:
        print(f"{name} ...", flush=True)
        suite = Suite(name, options.scale, options.seed, scratch / name, originals)
        before = len(record.cases)
        processes.drive(PARTS[name].scenarios(suite), options.workers, record)
        print(cases.table(record.cases[before:]), flush=True)
    seconds = round(time.monotonic() - clock)
    facts = {"seed": options.seed, "scale": options.scale, "seconds": seconds}
    cases.write(out, record, facts)
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"{len(record.cases):,} cases, {len(record.faults)} faults, {seconds} s.")
    print(f"  {out / 'report.md'}\n  {out / 'report.json'}")
    return int(bool(record.faults))


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile",
        description="Kills, damages, bombs and interrupts, and counts what comes of it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("parts", metavar="PART", nargs="*", choices=[[], *PARTS], help="default: all")
    add("--seed", metavar="N", type=int, default=0, help="another choice of cases (default: 0)")
    add(
        "--scale",
        metavar="X",
        type=float,
        default=1.0,
        help="more or fewer cases; 0 for a minute (default: 1)",
    )
    add("--workers", metavar="N", type=int, default=2, help="processes at a time (default: 2)")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("build/hostile"),
        help="folder for report.md and report.json (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
