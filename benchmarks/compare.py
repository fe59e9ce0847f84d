"""`python -m benchmarks.compare`: compares this project with its peers. See its --help."""

import argparse
import os
import platform
import sys
from pathlib import Path

from regnet_command import defer_library, run, start

_DESCRIPTION = """\
Measures this project and the installed peers: the seconds to import the library, to build the
network and for the first training step; images per second in training and inference; memory in
training; and the latency of one image in the library, as a SavedModel and as a TFLite file. Each
measurement is a new process. Contenders take turns, so that a slowdown of the machine affects all
of them."""

_EPILOG = """\
examples:
  python -m benchmarks.compare --install all --dry-run
  python -m benchmarks.compare --repeats 5 --out runs/comparison
  python -m benchmarks.compare --peers timm tf_keras --variant RegNetX-400MF --threads 2
  python -m benchmarks.compare --variant regnetx_002 --image-size 64 --batch-size 4
                                       --repeats 1 --seconds 1
  python -m benchmarks.compare --regime native avx2 off --part training inference latency
  python -m benchmarks.compare --report-only --out docs/comparison/epyc

Peers. Each is measured in the parts that it has:

{peers}

Regimes. All contenders are measured in each regime, with these variables set:

{regimes}

Your other environment variables apply to all processes. regnet_tf runs with the variables of all
programs of this project, unless a regime or you set them: {variables}.

A peer runs in its own virtual environment, which --install creates, or else in this Python. pip's
settings apply, such as PIP_CONSTRAINT=FILE to pin versions.

Each result is written to OUT/results.jsonl at once. Run the same command again to resume: nothing
is measured twice. Results of other settings stay in the file. A contender that fails, or takes
longer than --timeout, is recorded with the reason, and the others continue. The command writes
OUT/comparison.md, OUT/comparison.png and OUT/comparison.json; --report-only writes the first two
anew from the third.

Exit status: 0 after success, 2 after an error, 130 after Ctrl-C, 143 after SIGTERM."""

_PAGES = {"comparison.md": "the table", "comparison.png": "the same as a picture"}
_FILES = {
    **_PAGES,
    "comparison.json": "the same as numbers, turn by turn",
    "results.jsonl": "each measurement",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    shell = dict(os.environ)  # `run` sets variables that the peers must not see
    defer_library()
    parser = _parser()
    options = parser.parse_args(arguments)

    def job():
        if options.report_only:
            _rewrite(options.out)
        else:
            _compare(options, shell)

    return run(job, parser, "Stopped. Run the same command again to resume.")


def _parser():
    from regnet_tf._regimes import NATIVE, REGIMES

    from .comparison.contenders import PEERS, environments_folder
    from .comparison.parts import PARTS

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=_DESCRIPTION,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--peers",
        metavar="NAME",
        nargs="*",
        choices=list(PEERS),
        help="peers to measure; no name for none (default: all installed)",
    )
    default = ["regnetx_004", "regnety_016"]
    add(
        "--variant",
        metavar="NAME",
        nargs="+",
        default=default,
        help=f"networks by any name (default: {' '.join(default)})",
    )
    add(
        "--part",
        metavar="NAME",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        help=f"{', '.join(PARTS)} (default: all)",
    )
    add(
        "--regime",
        metavar="NAME",
        nargs="+",
        choices=list(REGIMES),
        default=[NATIVE],
        help=f"{', '.join(REGIMES)}, see below (default: {NATIVE})",
    )
    batch = "images per batch of training and inference (default: %(default)s)"
    add("--batch-size", metavar="N", type=int, default=32, help=batch)
    add("--image-size", metavar="N", type=int, default=224, help="pixels (default: %(default)s)")
    add("--repeats", metavar="N", type=int, default=3, help="turns (default: %(default)s)")
    add("--threads", metavar="N", type=int, help="number of threads (default: all cores)")
    seconds = "seconds to repeat the step in each process (default: %(default)s)"
    add("--seconds", metavar="S", type=float, default=10, help=seconds)
    timeout = "most seconds of a process (default: %(default)s)"
    add("--timeout", metavar="S", type=float, default=600, help=timeout)
    add("--retry-failed", action="store_true", help="measure again what failed before")
    add("--dry-run", action="store_true", help="print the contenders and exit")
    pages = "measure nothing; write the pages from OUT/comparison.json"
    add("--report-only", action="store_true", help=pages)
    add(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("runs/comparison"),
        help="folder for the results (default: %(default)s)",
    )
    environments = parser.add_argument_group("environments of the peers")
    environments.add_argument(
        "--install",
        metavar="NAME",
        nargs="+",
        choices=["all", *_installable()],
        default=[],
        help="create environments for these peers, or for all; then compare",
    )
    environments.add_argument(
        "--environments",
        metavar="DIR",
        type=Path,
        default=environments_folder(),
        help="folder of the environments (default: %(default)s)",
    )
    return parser


def _epilog():
    from regnet_tf._regimes import in_a_shell, regimes_in_a_shell

    from .comparison.contenders import PEERS, PROJECT

    return _EPILOG.format(
        peers="\n".join(f"  {peer.name:13} {peer.how}" for peer in PEERS.values()),
        regimes=regimes_in_a_shell(),
        variables=in_a_shell(PROJECT.variables),
    )


def _installable():
    from .comparison.contenders import PEERS

    return [peer.name for peer in PEERS.values() if peer.requirements]


def _compare(options, shell):
    from regnet_tf._errors import import_optional
    from regnet_tf._files import print_paths, write_json

    from .comparison.report import markdown

    variants = _checked(options)
    import_optional("matplotlib")
    failed = _install(options, shell)
    installed, absent = _locate(options, shell, failed)
    settings = _settings(options)
    _print_contenders(installed, absent)
    if options.dry_run:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    results = _measure(options, shell, variants, installed, settings)
    report = _report(options, variants, installed, absent, settings, results)
    write_json(options.out / "comparison.json", report, indent=1)
    _write_pages(options.out, report)
    print(f"\n{markdown(report)}")
    print_paths(options.out, _FILES)


def _rewrite(folder):
    """Writes the pages again, from `comparison.json`."""
    from regnet_tf._errors import UserError, import_optional
    from regnet_tf._files import print_paths, read_json

    import_optional("matplotlib")
    path = folder / "comparison.json"
    try:
        _write_pages(folder, read_json(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; --report-only writes the pages from it.") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is not what this version of the command writes.") from error
    print_paths(folder, _PAGES)


def _checked(options):
    """Checks the options, fills in defaults and returns the keys; raises for impossible ones."""
    from regnet_tf._checks import check_int, check_number
    from regnet_tf.variants import variant_key

    if options.threads is None:
        options.threads = os.cpu_count()
    options.regime = list(dict.fromkeys(options.regime))
    for name, minimum in (("batch_size", 1), ("image_size", 32), ("repeats", 1), ("threads", 1)):
        check_int(name, getattr(options, name), minimum=minimum)
    check_number("seconds", options.seconds, minimum=0)
    check_number("timeout", options.timeout, above=0)
    return list(dict.fromkeys(variant_key(name, "--variant") for name in options.variant))


def _install(options, shell):
    """Installs the requested peers; returns a dict: name -> reason of a failure."""
    from regnet_tf._errors import UserError

    from .comparison.contenders import PEERS, install

    failed = {}
    names = _installable() if "all" in options.install else dict.fromkeys(options.install)
    for name in names:
        _say(f"Installing {name} into {options.environments / name} ...")
        try:
            install(PEERS[name], options.environments, shell)
        except UserError as error:
            failed[name] = str(error)
            _say(str(error))
    return failed


def _locate(options, shell, failed):
    """Returns the installed contenders, this project first, and a dict: name -> why left out."""
    from regnet_tf._errors import UserError

    from .comparison.contenders import PEERS, PROJECT, locate

    installed, absent = [locate(PROJECT, options.environments, shell)], {}
    if installed == [None]:
        raise UserError("This project's own packages are missing: pip install -e .")
    for name in PEERS if options.peers is None else dict.fromkeys(options.peers):
        found = locate(PEERS[name], options.environments, shell)
        if found:
            installed.append(found)
            continue
        reason = f"not installed; {PEERS[name].installation} installs it"
        absent[name] = failed.get(name, reason)
        if options.peers is not None and name not in failed:
            raise UserError(f"{name} is {absent[name]}.")
    return installed, absent


def _settings(options):
    from .comparison.running import Settings

    return Settings(options.batch_size, options.image_size, options.threads, options.seconds)


def _print_contenders(installed, absent):
    for one in installed:
        versions = ", ".join(f"{name} {number}" for name, number in one.versions.items())
        place = one.python if one.own_environment else "the running Python"
        _say(f"  {one.contender.name:13} {versions} ({place})")
    for name, reason in absent.items():
        _say(f"  {name:13} {reason}")


def _measure(options, shell, variants, installed, settings):
    from regnet_tf._locking import writing_to
    from training.results import FAILED, Results

    from .comparison.running import Runner, check_result, plan

    planned = (options.regime, installed, settings, _parts(options), options.repeats)
    measurements = plan(variants, *planned)
    results = Results(options.out, check_result)
    with writing_to(options.out), results.writing() as append:
        done = results.read()
        if options.retry_failed:
            done = {key: result for key, result in done.items() if result["status"] != FAILED}
        runner = Runner(options.out, shell, done, append, options.timeout, _say)
        return runner.run(measurements)


def _parts(options):
    from .comparison.parts import PARTS

    return [part for part in PARTS if part in options.part]


def _report(options, variants, installed, absent, settings, results):
    """Returns the content of `comparison.json`."""
    import dataclasses

    from regnet_tf._cpu import processor

    from .comparison.summary import describe_regimes, summarize

    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }
    contenders = [
        {
            "name": one.contender.name,
            "how": one.contender.how,
            "python": one.python_version,
            "versions": one.versions,
            "own_environment": one.own_environment,
        }
        for one in installed
    ]
    contenders += [
        {"name": name, "reason": reason, "python": None, "versions": {}}
        for name, reason in absent.items()
    ]
    return {
        "machine": machine,
        "settings": {
            **dataclasses.asdict(settings),
            "repeats": options.repeats,
            "parts": _parts(options),
        },
        "contenders": contenders,
        "regimes": describe_regimes(results, options.regime),
        "results": summarize(results, variants, options.regime, installed),
    }


def _write_pages(folder, report):
    from regnet_tf._files import replacing
    from training.figures import write_figure

    from .comparison.report import draw, markdown

    page, picture = markdown(report), draw(report)
    with replacing(folder / "comparison.md") as path:
        path.write_text(page)
    write_figure(picture, folder / "comparison.png")


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    start(".compare", __package__)
