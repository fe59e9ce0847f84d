"""A peer for tests of the comparison: a worker that computes nothing and needs nothing."""

import json
import os
import pathlib
import sys
import time

request, target = map(pathlib.Path, sys.argv[1:])
asked = json.loads(request.read_text())
if asked["peer"] == "failing":
    target.write_text(json.dumps({"error": "ValueError: it fails"}))
    sys.exit("what it said")
if asked["peer"] == "sleeping":
    time.sleep(100)
if asked["peer"] == "dying":
    sys.exit(3)
if asked["part"] == "export":
    target.write_text(json.dumps({"error": "no such form"}))
    sys.exit(1)
facts = {
    "import_seconds": 1.0,
    "build_seconds": 2.0,
    "parameters": 2_684_792 if asked["peer"] == "same" else 1234,
    "first_seconds": 3.0,
    "calls": 4,
    "step_seconds": 0.5 if asked["part"] == "training" else 0.25,
    "memory_mib": float(os.environ.get("FAKE_MEMORY", 100)),
}
target.write_text(json.dumps(facts))
