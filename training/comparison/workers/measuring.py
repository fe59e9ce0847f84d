"""What the workers have in common. They run in peers' environments: Python and numpy alone."""

import json
import statistics
import sys
import time
import traceback
from pathlib import Path


def measure(peers):
    """Answers by `measure_network`.

    Args:
        peers: name -> class, for the request's "peer".
    """
    answer(lambda request: measure_network(peers[request["peer"]](), request))


def answer(function):
    """Does what the command line asks for: `WORKER REQUEST ANSWER`, two JSON files.

    Args:
        function: from the request, a dict, to the answer, another one. What it raises is answered
            as "error", by its first line, and ends the process with status 1.
    """
    request, target = map(Path, sys.argv[1:])
    try:
        facts = function(json.loads(request.read_text()))
    except (Exception, SystemExit) as error:
        text = (str(error).strip().splitlines() or [""])[0]
        kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
        target.write_text(json.dumps({"error": kind + text}))
        traceback.print_exc()
        sys.exit(1)
    target.write_text(json.dumps(facts))


def measure_network(peer, request) -> dict:
    """Imports, builds and runs a peer's network; or exports it.

    Args:
        peer: with the methods of `keras_peers.Peer`.
        request: "part" ("training", "inference", "latency" or "export"), "network", "batch_size",
            "image_size", "threads" and "seconds"; to export "form" and "folder"; "file" and
            "signature" of what was exported.

    Returns:
        Dict: "import_seconds", "build_seconds", the peer's `facts`, `steps` of a batch, and
        "memory_mib", the most that the process had; after an export "file" and "signature" instead
        of the latter two.
    """
    start = time.perf_counter()
    peer.load()
    imported = time.perf_counter()
    peer.limit(request["threads"])
    build = time.perf_counter()
    peer.build(request)
    built = time.perf_counter()
    facts = {
        "import_seconds": imported - start,
        "build_seconds": built - build,
        **peer.facts(),
    }
    if request["part"] == "export":
        return {**facts, **peer.export(request)}
    images, labels = _data(request)
    step = peer.step(request["part"], images, labels)
    return {**facts, **steps(step, request["seconds"]), "memory_mib": most_memory()}


def steps(step, seconds) -> dict:
    """Repeats a call for so many seconds.

    Returns:
        Dict: "first_seconds", of the first call, which traces and compiles; "calls" after it and
        their median, "step_seconds". There is one at least, however long it takes.
    """
    first, times = _timed(step), []
    while not times or sum(times) < seconds:
        times.append(_timed(step))
    return {
        "first_seconds": first,
        "calls": len(times),
        "step_seconds": statistics.median(times),
    }


def _timed(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _data(request):
    """Random images `(batch, size, size, 3)` float32 and labels `(batch,)` int32."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (request["batch_size"], request["image_size"], request["image_size"], 3)
    images = rng.standard_normal(shape, dtype="float32")
    return images, rng.integers(0, request["network"]["classes"], shape[0], dtype="int32")


def most_memory():
    """The most memory that this process had, libraries included, in MiB.

    Linux's `getrusage` counts what the process had that started this one; its status does not.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) / 1024
    except (OSError, ValueError):
        import resource  # not on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
