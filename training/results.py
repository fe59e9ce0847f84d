"""The results of a long job in a JSON lines file. Only its last line may be truncated."""

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path

from regnet_tf._errors import UserError
from regnet_tf._files import naming_file, parse_json

#: The status of a failed result.
FAILED = "failed"


class Results:
    """A file of results, each a dict with an "identity". Only one process may write at a time.

    Each line has the first digits of its SHA-256, as "check".

    Args:
        folder: directory of the job, as a `Path`.
        check: function that raises ValueError, TypeError or KeyError if a dict is not a result.
    """

    def __init__(self, folder, check):
        self.path = Path(folder) / "results.jsonl"
        self._check = check

    def read(self) -> dict:
        """Reads all results as a dict: identity -> last result.

        A truncated last line, from a process that was killed, is ignored.

        Raises:
            UserError: if any other line is damaged or not a result.
        """
        return {result["identity"]: result for result in self._lines()[0]}

    @contextlib.contextmanager
    def writing(self):
        """Context manager with a function that appends a result and waits until it is on disk.

        A truncated last line is removed first. Call it inside `writing_to`.

        Raises:
            UserError: if a line is damaged or not a result, or the file cannot be written.
        """
        end = self._lines()[1]
        with contextlib.ExitStack() as stack:
            with naming_file(self.path):
                file = stack.enter_context(open(self.path, "ab", buffering=0))
                file.truncate(end)

            def append(result):
                line = json.dumps({**result, "check": _check_of(result)}).encode() + b"\n"
                with naming_file(self.path):
                    if file.write(line) < len(line):
                        raise OSError(errno.ENOSPC, "")
                    os.fsync(file.fileno())

            yield append

    def _lines(self):
        """Returns the results, and the length of the file up to its last complete line."""
        content = self.path.read_bytes() if self.path.exists() else b""
        *lines, _ = content.split(b"\n")
        return [self._parsed(n, line) for n, line in enumerate(lines, 1)], content.rfind(b"\n") + 1

    def _parsed(self, number, line):
        origin = f"{self.path}, line {number},"
        try:
            result = parse_json(line, origin, "check")
            if result.pop("check") != _check_of(result):
                raise UserError(f"{origin} is damaged: its check does not fit")
        except UserError as error:
            raise UserError(f"{error}. Delete the line to get its result again.") from error
        try:
            self._check(result)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{origin} is not a result.") from error
        return result


def _check_of(result):
    """Returns the first 16 digits of the SHA-256 of a result's JSON."""
    return hashlib.sha256(json.dumps(result).encode()).hexdigest()[:16]
