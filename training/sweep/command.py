"""`regnet sweep`: trains populations of networks and compares them."""

import argparse
from pathlib import Path

from regnet_command import run

from . import built_in

_EPILOG = """\
examples:
  regnet sweep run digits_regnetx --dry-run
  regnet sweep run digits_regnetx --out runs/regnetx --workers 2 --threads 1
  regnet sweep run my_space.json --out runs/mine --executor ray --ray-address auto
  regnet sweep analyze runs/anynetx_a runs/regnetx --out runs/comparison"""

_RUN = """\
Samples networks from a design space and trains each of them for a few epochs. SPEC is a JSON
file, or the name of a built-in population:

{names}

A specification has a name, a design space of the paper and a recipe of `regnet train`. You may
change any of their fields:

  {{"name": "small RegNetX",
   "space": {{"name": "RegNetX", "stages": 3, "depths": [3, 12], "stem_stride": 1}},
   "count": 20, "seed": 0, "window": {{"flops": [2e6, 3e6]}},
   "recipe": {{"name": "digits", "schedule.epochs": 4, "schedule.warmup_epochs": 1}}}}

Each result is written at once. Run the same command again to resume a sweep that was stopped or
killed. A network that fails is recorded, and the sweep continues."""

_RUN_EXAMPLES = """\
examples:
  regnet sweep run digits_anynetx_a --out runs/anynetx_a --workers 2 --threads 1
  regnet sweep run digits_anynetx_a --out runs/anynetx_a --retry-failed

Exit status: 0 after success, 2 after an error, 130 after Ctrl-C, 143 after SIGTERM."""

_ANALYZE = """\
Compares populations. DIR is a directory that `run` wrote. Give the populations in the order of the
study, such as AnyNetX_A to E, RegNetX, RegNetY: each is compared with the one before it.

The page has the findings in sentences, the distributions of the errors step by step with bootstrap
bands and Kolmogorov-Smirnov statistics, the best range of each parameter, block widths with their
linear fits, and the best networks. `--variant DIR/best/FILE.json` trains one of them elsewhere."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser, commands = _parser()
    options = parser.parse_args(arguments)
    parser = commands[options.command]
    return run(
        lambda: _COMMANDS[options.command](options),
        parser,
        "Stopped. Run the same command again to resume.",
    )


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
    add("--out", metavar="DIR", type=Path, help="folder for the results (default: runs/NAME)")
    add("--dry-run", action="store_true", help="print what would be trained, and exit")
    add(
        "--executor",
        choices=("inline", "processes", "ray"),
        default="processes",
        help="where to train: this process, processes of this machine (default), a Ray cluster",
    )
    add(
        "--workers", metavar="N", type=int, default=1, help="networks at the same time (default: 1)"
    )
    add("--threads", metavar="N", type=int, help="threads of each worker (default: TensorFlow's)")
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="address of a Ray cluster, or auto (default: start a new cluster)",
    )
    add("--data-dir", metavar="DIR", help="data directory of tensorflow-datasets")
    add("--retry-failed", action="store_true", help="train the networks again that failed before")


def _add_analyze_options(add):
    add("folders", metavar="DIR", nargs="+", type=Path, help="directory of a population")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder for the page and its pictures",
    )
    add(
        "--error",
        choices=("final", "least"),
        default="final",
        help="error after the last epoch (default), or the least of all epochs",
    )
    add(
        "--best",
        metavar="N",
        type=int,
        default=3,
        help="number of best networks to list (default: 3)",
    )
    add("--seed", metavar="N", type=int, default=0, help="seed of the bootstraps (default: 0)")


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

    chosen = (options.folders, options.out, options.error, options.best, options.seed)
    print(compare(*chosen, say=lambda text: print(text, flush=True)))
    print_paths(options.out, FILES)


_COMMANDS = {"run": _run, "analyze": _analyze}
