"""The results of a population on disk: a JSON line for each network, whole or cut off."""

import contextlib
import json
import os
from pathlib import Path

from regnet_tf import RegNetConfig
from regnet_tf._checks import check, check_choice, check_int, check_number
from regnet_tf._errors import UserError
from regnet_tf._files import read_json, replacing

FILES = {
    "spec.json": "what the population is made of",
    "results.jsonl": "a line for each network: configuration, costs, test errors",
}
TRAINED, FAILED = "trained", "failed"
COSTS = ("flops", "parameters", "activations")


class Results:
    """A file of results, of a population or another long job; one process at a time may write it.

    Args:
        folder: directory of the job, as a `Path`.
        check: function that raises ValueError, TypeError or KeyError for a dict that is no result;
            by default for what is none of a network.
    """

    def __init__(self, folder, check=None):
        self.path = Path(folder) / "results.jsonl"
        self._check = check or check_network

    def read(self) -> dict:
        """Identity -> result, the last one where it was tried again.

        A last line that was cut off when its writer was killed does not count.

        Raises:
            UserError: for any other line that is no result.
        """
        return {result["identity"]: result for result in self._lines()[0]}

    @contextlib.contextmanager
    def writing(self):
        """Gives a function that appends a result and returns when it is on the disk.

        A line that was cut off is removed first.

        Raises:
            UserError: where another process writes to the same folder, or a line is no result.
        """
        with open(self.path, "ab") as file:
            _lock(file, self.path.parent)
            file.truncate(self._lines()[1])
            os.fsync(file.fileno())

            def append(result):
                file.write(json.dumps(result).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

            yield append

    def _lines(self):
        """The results, and the length of the file as far as it is whole."""
        content = self.path.read_bytes() if self.path.exists() else b""
        *lines, _ = content.split(b"\n")
        return [self._parsed(n, line) for n, line in enumerate(lines, 1)], content.rfind(b"\n") + 1

    def _parsed(self, number, line):
        try:
            result = json.loads(line)
            self._check(result)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{self.path}, line {number}, is no result.") from error
        return result


def check_network(result):
    """Raises ValueError, TypeError or KeyError for what `network.result_of` did not make."""
    config = RegNetConfig.from_dict(result["config"])
    check("identity", result["identity"], result["identity"] == config.identity, "the network's")
    check_choice("status", result["status"], (TRAINED, FAILED))
    for name in COSTS:
        check_int(name, result["complexity"][name], minimum=0)
    if result["status"] == TRAINED:
        for name in ("final_error", "least_error"):
            check_number(name, result[name], minimum=0)


def claim(folder, specification):
    """Makes the folder of a population, and keeps its specification there.

    Raises:
        UserError: where it belongs to another population.
    """
    path = Path(folder) / "spec.json"
    fields = specification.to_dict()
    if path.exists():
        before = read_json(path)
        differing = sorted(k for k in {*before, *fields} if before.get(k) != fields.get(k))
        if differing:
            raise UserError(
                f"{folder} holds another population: {', '.join(differing)} of its spec.json"
                f" {'differs' if len(differing) == 1 else 'differ'}. Give another --out."
            )
        return
    if Results(folder).path.exists():
        raise UserError(f"{folder} holds results without a spec.json. Give another --out.")
    with replacing(path) as partial:
        partial.write_text(json.dumps(fields, indent=2) + "\n")


def _lock(file, folder):
    """Keeps other processes from writing; ends with the process, however that ends."""
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(f"Another process is writing to {folder}.") from error
