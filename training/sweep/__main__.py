"""`regnet sweep`: trains populations of networks and compares them."""

import argparse
import sys
from pathlib import Path

from regnet_command import run, start_tensorflow

from . import built_in

_EPILOG = """\
examples:
  regnet sweep run digits_regnetx --dry-run
  regnet sweep run digits_regnetx --out runs/regnetx --workers 2 --threads 1
  regnet sweep run my_space.json --out runs/mine --executor ray --ray-address auto
  regnet sweep analyze runs/anynetx_a runs/regnetx --out runs/comparison"""

_RUN = """\
Draws networks from a design space and trains each of them a little. SPEC is a JSON file, or the
name of a population that comes with the project:

{names}

A specification has a name, a design space of the paper and a recipe of `regnet train`, both
with any of their fields changed:

  {{"name": "small RegNetX",
   "space": {{"name": "RegNetX", "stages": 3, "depths": [3, 12], "stem_stride": 1}},
   "count": 20, "seed": 0, "window": {{"flops": [2e6, 3e6]}},
   "recipe": {{"name": "digits", "schedule.epochs": 4, "schedule.warmup_epochs": 1}}}}

Every result is kept as soon as it is there: what was killed or stopped goes on when the same
command is given again. A network that fails is noted and left."""

_RUN_EXAMPLES = """\
examples:
  regnet sweep run digits_anynetx_a --out runs/anynetx_a --workers 2 --threads 1
  regnet sweep run digits_anynetx_a --out runs/anynetx_a --retry-failed

Exit status: 0 if it worked, 2 if something asked for is not possible, 130 and 143 if stopped by
SIGINT or SIGTERM."""

_ANALYZE = """\
Compares populations: distributions of their errors with bootstrap bands, Kolmogorov-Smirnov
statistics, the best range of every parameter, block widths of the best and the worst networks, and
the best networks as configurations. DIR is a directory that `run` wrote to."""


def main(arguments=None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser, commands = _parser()
    options = parser.parse_args(arguments)

    def job():
        start_tensorflow()
        _COMMANDS[options.command](options)

    return run(job, commands[options.command], "Stopped; the same command goes on.")


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="regnet sweep",
        description="Trains populations of networks and compares them.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="train a population",
        description=_RUN.format(names=_names()),
        epilog=_RUN_EXAMPLES,
        formatter_class=raw,
    )
    analyze = commands.add_parser(
        "analyze", help="compare populations", description=_ANALYZE, formatter_class=raw
    )
    _add_run_options(run.add_argument)
    _add_analyze_options(analyze.add_argument)
    return parser, {"run": run, "analyze": analyze}


def _names():
    """Returns a text with the built-in populations, without importing TensorFlow."""
    import json

    texts = {name: json.loads(path.read_text()) for name, path in built_in().items()}
    return "\n".join(f"  {name:18}  {fields['description']}" for name, fields in texts.items())


def _add_run_options(add):
    add("spec", metavar="SPEC", help="a JSON file, or the name of a built-in population")
    add("--out", metavar="DIR", type=Path, help="for the results (default: runs/NAME)")
    add("--dry-run", action="store_true", help="show what would be trained, and end")
    add(
        "--executor",
        choices=("inline", "processes", "ray"),
        default="processes",
        help="where to train: this process, processes of this machine (default), a Ray cluster",
    )
    add(
        "--workers", metavar="N", type=int, default=1, help="networks at the same time (default: 1)"
    )
    add("--threads", metavar="N", type=int, help="of TensorFlow in each worker (default: its own)")
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="of a Ray cluster, auto for the one of this machine (default: a cluster of its own)",
    )
    add("--data-dir", metavar="DIR", help="where tensorflow-datasets keeps its data")
    add("--retry-failed", action="store_true", help="train again what failed before")


def _add_analyze_options(add):
    add("folders", metavar="DIR", nargs="+", type=Path, help="a population")
    add("--out", metavar="DIR", type=Path, required=True, help="for the page and its pictures")
    add(
        "--error",
        choices=("final", "least"),
        default="final",
        help="of a network: after the last epoch (default), or the least of all epochs",
    )
    add("--best", metavar="N", type=int, default=3, help="networks of each to keep (default: 3)")
    add("--seed", metavar="N", type=int, default=0, help="of the bootstraps (default: 0)")


def _run(options):
    from regnet_tf._files import print_paths

    from .planning import plan
    from .results import FILES
    from .running import run
    from .specification import load_specification

    specification = load_specification(options.spec)
    if options.dry_run:
        print(plan(specification, options.data_dir))
        return
    folder = options.out or Path("runs") / Path(options.spec).stem
    results = run(
        specification,
        folder,
        executor=options.executor,
        workers=options.workers,
        threads=options.threads,
        address=options.ray_address,
        data_dir=options.data_dir,
        retry_failed=options.retry_failed,
        say=lambda text: print(text, flush=True),
    )
    failed = sum(result["status"] == "failed" for result in results.values())
    print(f"{len(results) - failed} networks are trained, {failed} failed.")
    print_paths(folder, FILES)


def _analyze(options):
    from regnet_tf._files import print_paths

    from .comparison import FILES, compare

    print(compare(options.folders, options.out, options.error, options.best, options.seed))
    print_paths(options.out, FILES)


_COMMANDS = {"run": _run, "analyze": _analyze}

if __name__ == "__main__":
    sys.exit(main())
