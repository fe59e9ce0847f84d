"""What the suite finds: cases, and the table of them."""

import collections
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """One thing that was done, and its outcome.

    Attributes:
        part: part of the suite.
        what: kind of the case; a row of the table.
        outcome: the outcome in a few words, counted in the table.
        is_fault: whether it must not be so.
        how: what was done, to do it again.
        detail: what was printed or found.
        seconds: how long it took.
        peak: most memory in MiB.
    """

    part: str
    what: str
    outcome: str
    is_fault: bool
    how: str = ""
    detail: str = ""
    seconds: float = 0.0
    peak: float = 0.0


class Record:
    """Collects cases and prints progress.

    Args:
        say: function that prints a line.
    """

    def __init__(self, say=print) -> None:
        self.cases: list[Case] = []
        self._say, self._clock = say, time.monotonic()

    def __call__(self, case: Case) -> None:
        """Adds a case. Faults are printed at once, progress every ten seconds."""
        self.cases.append(case)
        if case.is_fault:
            last = case.detail.strip().splitlines()[-1:]
            self._say(f"FAULT  {case.part}, {case.what}: {case.outcome} ({case.how}) {last}")
        if time.monotonic() - self._clock > 10:
            self._clock = time.monotonic()
            self._say(f"{case.part}: {len(self.cases):,} cases, {len(self.faults)} faults so far")

    @property
    def faults(self) -> list[Case]:
        """The cases that must not be so."""
        return [case for case in self.cases if case.is_fault]


def table(cases: Iterable[Case]) -> str:
    """Returns the table of outcomes in Markdown."""
    rows = collections.defaultdict(list)
    for case in cases:
        rows[case.part, case.what].append(case)
    lines = [
        "| Part | What | Cases | Outcomes | Faults | Longest | Most memory |",
        "|---|---|---:|---|---:|---:|---:|",
    ]
    for (part, what), found in rows.items():
        counts = collections.Counter(case.outcome for case in found)
        outcomes = "; ".join(f"{outcome}: {count:,}" for outcome, count in counts.most_common())
        peak = max(case.peak for case in found)
        what = what.replace("|", "\\|")
        lines.append(
            f"| {part} | {what} | {len(found):,} | {outcomes}"
            f" | {sum(case.is_fault for case in found)} | {max(c.seconds for c in found):.1f} s"
            f" | {f'{peak:,.0f} MiB' if peak else ''} |"
        )
    return "\n".join(lines)


def write(folder: Path, record: Record, facts: dict) -> None:
    """Writes `report.md` and `report.json`.

    Args:
        folder: for the files.
        record: the cases.
        facts: seed, scale, seconds and versions.
    """
    faults = "\n".join(
        f"- {case.part}, {case.what}: {case.outcome}\n\n  `{case.how}`\n\n"
        + "\n".join(f"      {line}" for line in case.detail.splitlines()[-12:])
        for case in record.faults
    )
    about = ", ".join(f"{name} {value}" for name, value in facts.items())
    text = (
        f"# Hostile suite\n\n{about}\n\n{table(record.cases)}\n\n## Faults\n\n{faults or 'None.'}\n"
    )
    (folder / "report.md").write_text(text)
    content = {**facts, "cases": [case._asdict() for case in record.cases]}
    (folder / "report.json").write_text(json.dumps(content, indent=1))
