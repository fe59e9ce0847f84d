"""The results of a long job on disk: a JSON line for each, whole or cut off."""

import contextlib
import json
import os
from pathlib import Path

from regnet_tf._errors import UserError

#: The status of a result that is none, because it failed.
FAILED = "failed"


class Results:
    """A file of results, each a dict with an "identity"; one process at a time may write it.

    Args:
        folder: directory of the job, as a `Path`.
        check: function that raises ValueError, TypeError or KeyError for a dict that is no result.
    """

    def __init__(self, folder, check):
        self.path = Path(folder) / "results.jsonl"
        self._check = check

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
