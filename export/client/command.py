"""`regnet ask`: classifies photographs with a RegNet on a model server."""

import argparse
import contextlib
import functools
import math
from pathlib import Path

from regnet_command import defer_library, run, start_tensorflow

from .answers import ServingError, first_line
from .base import Client
from .grpc import GrpcClient
from .load import send_load
from .pictures import Pictures
from .rest import RestClient
from .v2 import V2Client

#: Ports of the servers by protocol, if --port gives no other one.
_PORTS = {"rest": 8501, "grpc": 8500, "v2": 8080}
_EPILOG = """\
examples:
  regnet ask photo.jpg other.png --model regnet --out pictures
  regnet ask photo.jpg --model regnet --server gpu7 --protocol grpc --label canary
  regnet ask photo.jpg --model regnet --protocol v2
  regnet ask photo.jpg --model regnet --protocol v2 --port 8000 --network regnet_float32.onnx
  regnet ask --model regnet --status
  regnet ask photo.jpg --model regnet --load 30 --concurrency 8 --batch-size 4

MLServer serves exported files over the v2 protocol: install the extra mlserver, write
model-settings.json as in the guide Model servers, and run mlserver start FOLDER.

The client retries after temporary failures: a failed connection, a timeout, a server that is
overloaded or starting (HTTP 429, 502, 503 and 504; UNAVAILABLE, RESOURCE_EXHAUSTED and
DEADLINE_EXCEEDED). The pauses double, with random variation. Other errors are final.

Exit status: 0 after success, 2 after an error, 1 if --status finds no AVAILABLE version or a
request of --load failed."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    defer_library()
    parser = _parser()
    options = parser.parse_args(arguments)

    def job():
        _check(options)
        return _run(options)

    only_prints = options.load is None and options.out is None
    return run(job, parser, tensorflow=False, only_prints=only_prints)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet ask",
        description="Classifies photographs with a RegNet on a model server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("files", metavar="FILE", nargs="*", type=Path, help="JPEG, PNG, BMP or GIF")
    add("--model", metavar="NAME", required=True, help="name of the model on the server")
    add("--server", metavar="HOST", default="localhost", help="host (default: %(default)s)")
    add(
        "--protocol",
        choices=_PORTS,
        default="rest",
        help="rest and grpc of TensorFlow Serving, or v2 of KServe, MLServer and others (default:"
        " %(default)s)",
    )
    ports = ", ".join(f"{port} for {protocol}" for protocol, port in _PORTS.items())
    add("--port", metavar="N", type=_port, help=f"port of the server (default: {ports})")
    add(
        "--network",
        metavar="FILE",
        type=Path,
        help="with v2: the exported file or the run, if the server takes prepared images only or"
        " names no classes",
    )
    version = parser.add_mutually_exclusive_group()
    version.add_argument(
        "--version", metavar="N", type=_count, help="version of the model (default: the newest)"
    )
    version.add_argument("--label", metavar="NAME", help="label of a version, such as stable")
    add(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=10.0,
        help="seconds for one try, with the whole answer (default: %(default)g)",
    )
    add(
        "--retries",
        metavar="N",
        type=_retries,
        default=3,
        help="number of retries (default: %(default)s)",
    )
    add(
        "--batch-size",
        metavar="N",
        type=_count,
        default=16,
        help="images per request (default: %(default)s)",
    )
    add(
        "--top",
        metavar="N",
        type=_count,
        default=5,
        help="number of classes to print (default: %(default)s)",
    )
    add(
        "--out",
        metavar="DIR",
        type=Path,
        help="also draw a picture of each photograph into DIR (needs the extra pictures)",
    )
    add("--status", action="store_true", help="print the versions of the model and their states")
    load = parser.add_argument_group("load test, which sends the files again and again")
    load.add_argument("--load", metavar="S", type=_seconds, help="send requests for S seconds")
    load.add_argument(
        "--concurrency",
        metavar="N",
        type=_count,
        default=4,
        help="most requests at a time (default: %(default)s)",
    )
    return parser


def _count(text, minimum=1, maximum=math.inf):
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        limits = f"at least {minimum}" if maximum == math.inf else f"{minimum} to {maximum}"
        raise argparse.ArgumentTypeError(f"must be an integer of {limits}. Received: {text}")
    return int(text)


def _port(text):
    return _count(text, maximum=65535)


def _retries(text):
    return _count(text, minimum=0)


def _seconds(text):
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a finite number above 0. Received: {text}")


def _check(options):
    """Raises a ValueError for wrong options, before the server is asked."""
    if options.status and options.label is not None:
        raise ValueError("The server gives no status of a label: --status goes with --version.")
    if options.protocol == "v2" and options.label is not None:
        raise ValueError("The v2 protocol has no labels of versions: give --version.")
    if options.protocol != "v2" and options.network is not None:
        raise ValueError("--network goes with --protocol v2.")
    if options.out is not None and (options.status or options.load is not None):
        raise ValueError("--out draws answers: it goes with neither --status nor --load.")
    if not options.status and not options.files:
        raise ValueError("No files were given. Give image files, or --status.")
    for path in options.files:
        if not path.is_file():
            raise ValueError(f"There is no file {path}.")


def _run(options):
    if options.status:
        return _print_status(options)
    if options.load is not None:
        return _print_load(options)
    pictures = None if options.out is None else Pictures(options.out)
    with _connector(options)() as client:
        for start in range(0, len(options.files), options.batch_size):
            batch = options.files[start : start + options.batch_size]
            for path, best in _predictions(client, batch, options.top):
                _print_prediction(path, best, pictures)
    return 0


def _connector(options):
    """Returns a function that makes the clients that the options ask for."""
    kinds: dict[str, type[Client]] = {"rest": RestClient, "grpc": GrpcClient, "v2": V2Client}
    special = {}
    if options.network is not None:
        start_tensorflow()
        from ..classifier import Classifier

        special["network"] = Classifier(options.network)
    return functools.partial(
        kinds[options.protocol],
        options.model,
        options.server,
        options.port or _PORTS[options.protocol],
        version=options.version,
        label=options.label,
        timeout=options.timeout,
        retries=options.retries,
        **special,
    )


def _predictions(client, paths, top):
    """Returns the path of each photograph with the names and probabilities of its best classes."""
    from regnet_tf._errors import printable

    try:
        predictions = client.predict(path.read_bytes() for path in paths)
    except ServingError as error:
        if not error.images or max(error.images) >= len(paths):
            raise
        files = ", ".join(printable(paths[index]) for index in error.images)
        raise ValueError(f"{files}: {error}") from error
    return [(path, each.best[:top]) for path, each in zip(paths, predictions, strict=True)]


def _print_prediction(path, best, pictures):
    from regnet_tf._errors import printable

    print(printable(path))
    for label, probability in best:
        print(f"  {100 * probability:6.2f} %  {printable(label)}")
    if pictures is not None:
        print(f"  {printable(pictures.draw(path, best))}")


def _print_status(options):
    with _connector(options)() as client:
        versions = client.status()
    for each in versions:
        error = f", {first_line(each.error)}" if each.error else ""
        version = "the only version" if each.version is None else f"version {each.version}"
        print(f"{version}: {each.state}{error}")
    return 0 if any(each.state == "AVAILABLE" for each in versions) else 1


def _print_load(options):
    contents = [path.read_bytes() for path in options.files]
    load = send_load(
        _connector(options), contents, options.load, options.concurrency, options.batch_size
    )
    print("\n".join(load.lines()))
    return 1 if load.errors else 0
