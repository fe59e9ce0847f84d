"""What each part of the suite gets: how much, by which chance, in which folder."""

import random
from pathlib import Path

from .cases import Case
from .originals import Originals
from .processes import Ended, Process


class Suite:
    """The means of one part.

    Args:
        part: name of the part.
        scale: more or fewer cases than usual; at 0 there is the least of each kind, in forks.
        seed: chooses other cases.
        folder: a `Path`; created for the files of the part.
        originals: files to damage.

    Attributes:
        random: a `random.Random`.
        is_quick: whether forks stand in for programs that are started anew.
    """

    def __init__(
        self, part: str, scale: float, seed: int, folder: Path, originals: Originals
    ) -> None:
        self.part, self.folder, self.originals = part, folder, originals
        self.random, self.seed = random.Random(f"{seed} {part}"), seed
        self.is_quick = scale == 0
        self._scale, self._numbers = scale, {}
        folder.mkdir(parents=True)

    def count(self, usual: int, least: int = 1) -> int:
        """Returns the number of cases of a kind.

        Args:
            usual: their number at scale 1.
            least: their number at scale 0.
        """
        return max(least, round(usual * self._scale))

    def scratch(self, name: str) -> Path:
        """Creates a new folder."""
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        path = self.folder / f"{name}-{number}"
        path.mkdir(parents=True)
        return path

    def case(
        self,
        what: str,
        process: Process,
        ended: Ended,
        outcome: str | None = None,
        is_fault: bool | None = None,
        how: str = "",
        detail: str | None = None,
    ) -> Case:
        """Returns the case of a process that has ended.

        Args:
            what: kind of the case.
            process: what was started.
            ended: what became of it.
            outcome: by default that of `ended`.
            is_fault: by default whether that outcome is bad.
            how: what was done besides starting it.
            detail: by default what was printed.
        """
        return Case(
            self.part,
            what,
            ended.outcome if outcome is None else outcome,
            ended.is_bad if is_fault is None else bool(is_fault),
            f"{process.text}{how and f'; {how}'}".replace(f"{self.folder.parent}/", ""),
            ended.last_words if detail is None else detail,
            round(ended.seconds, 2),
            round(ended.peak, 1),
        )
