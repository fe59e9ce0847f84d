"""The results of a long job in a JSON lines file. Only its last line may be truncated."""

import contextlib
import json
import os
from pathlib import Path

from regnet_tf._errors import UserError
from regnet_tf._locking import lock

#: The status of a failed result.
FAILED = "failed"


class Results:
    """A file of results, each a dict with an "identity". Only one process may write at a time.

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
            UserError: if any other line is not a result.
        """
        return {result["identity"]: result for result in self._lines()[0]}

    @contextlib.contextmanager
    def writing(self):
        """Context manager with a function that appends a result and waits until it is on disk.

        A truncated last line is removed first.

        Raises:
            UserError: if another process writes to the same folder, or a line is not a result.
        """
        with open(self.path, "ab") as file:
            lock(file, self.path.parent)
            file.truncate(self._lines()[1])
            os.fsync(file.fileno())

            def append(result):
                file.write(json.dumps(result).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

            yield append

    def _lines(self):
        """Returns the results, and the length of the file up to its last complete line."""
        content = self.path.read_bytes() if self.path.exists() else b""
        *lines, _ = content.split(b"\n")
        return [self._parsed(n, line) for n, line in enumerate(lines, 1)], content.rfind(b"\n") + 1

    def _parsed(self, number, line):
        try:
            result = json.loads(line)
            self._check(result)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{self.path}, line {number}, is not a result.") from error
        return result
