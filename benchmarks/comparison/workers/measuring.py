"""Code shared by the workers. It needs only Python and numpy, as it runs in peers' environments."""

import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# This process may be unable to import the package `training`, but not this file of it.
sys.path.append(str(Path(__file__).parents[3] / "training" / "benchmark"))
from memory import most_memory


def measure(peers):
    """Answers the request by `measure_network`.

    Args:
        peers: dict: name of a peer, as in the request's "peer" -> class.
    """
    answer(lambda request: measure_network(peers[request["peer"]](), request))


def answer(function):
    """Runs a worker by its command line, `WORKER REQUEST ANSWER`.

    REQUEST and ANSWER are JSON files.

    Args:
        function: function from the request, a dict, to the answer, a dict. If it raises an error,
            the answer is the error's first line as "error", and the process ends with status 1.
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


def measure_network(peer: Any, request: dict) -> dict:
    """Imports, builds and runs a peer's network; or exports it.

    Args:
        peer: object with the methods of `keras_peers.Peer`.
        request: dict with "part" ("training", "inference", "latency" or "export"), "network",
            "batch_size", "image_size", "threads" and "seconds". For an export also "form" and
            "folder". For an exported file also its "file" and "signature".

    Returns:
        Dict: "import_seconds", "build_seconds", "import_memory_mib", the memory of the process
        after the import, the peer's `facts`, the `steps` of a batch, and "memory_mib", the peak
        memory of the process. After an export, "file" and "signature" instead of the last two.
    """
    start = time.perf_counter()
    peer.load()
    imported = time.perf_counter()
    import_memory = most_memory()
    peer.limit(request["threads"])
    build = time.perf_counter()
    peer.build(request)
    built = time.perf_counter()
    facts = {
        "import_seconds": imported - start,
        "build_seconds": built - build,
        "import_memory_mib": import_memory,
        **peer.facts(),
    }
    if request["part"] == "export":
        return {**facts, **peer.export(request)}
    images, labels = random_data(request)
    step = peer.step(request["part"], images, labels)
    return {**facts, **steps(step, request["seconds"]), "memory_mib": most_memory()}


def steps(step: Callable, seconds: float) -> dict:
    """Repeats a call for a number of seconds.

    Returns:
        Dict: "first_seconds", the time of the first call, which traces and compiles; "calls", the
        number of calls after it; "step_seconds", their median. At least one is made.
    """
    first = _timed(step)
    times: list[float] = []
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


def random_data(request):
    """Returns random images `(batch, size, size, 3)` float32 and labels `(batch,)` int32."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (request["batch_size"], request["image_size"], request["image_size"], 3)
    images = rng.standard_normal(shape, dtype="float32")
    return images, rng.integers(0, request["network"]["classes"], shape[0], dtype="int32")
