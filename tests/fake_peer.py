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
    time.sleep(3600)
if asked["peer"] == "dying":
    sys.exit(3)
if asked["part"] == "export":
    if asked["form"] != "fake":
        target.write_text(json.dumps({"error": "no such form"}))
        sys.exit(1)
    file = pathlib.Path(asked["folder"], f"of_{asked['peer']}")
    file.write_text(str(asked["batch_size"]))
    target.write_text(json.dumps({"parameters": 7, "file": str(file), "signature": None}))
    sys.exit()
facts = {
    "import_seconds": 1.0,
    "build_seconds": 2.0,
    "import_memory_mib": 50.0,
    "first_seconds": 3.0,
    "calls": 4,
    "step_seconds": {"training": 0.5, "inference": 0.25, "latency": 0.125}[asked["part"]],
    "memory_mib": float(os.environ.get("FAKE_MEMORY", 100)),
    "variables": {
        name: value for name, value in os.environ.items() if "DNN" in name or "ATEN" in name
    },
    "batch_size": asked["batch_size"],
}
if "file" in asked:  # a runtime, whose file tells no parameters
    facts["ran"] = [pathlib.Path(asked["file"]).name, pathlib.Path(asked["file"]).read_text()]
else:
    facts["parameters"] = 2_684_792 if asked["peer"] == "same" else 1234
if asked["peer"] == "same":
    facts["onednn"] = {"0": "off", "1": "avx2"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), "on")
target.write_text(json.dumps(facts))
