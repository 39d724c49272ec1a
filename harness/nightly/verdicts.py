"""What a night's items mean together: which are as expected, which are newly wrong, and the exit code.

Judges records against the known failures and a date; runs nothing and prints nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from harness.nightly.config import Job, KnownFailure
from harness.records.schema import ItemRecord

RETRIED = frozenset({"PortError", "FlashError", "SilentError", "LinkError", "DeviceError", "WorkerError"})
"""Classes of `harness.errors` that another try may not meet again: never a number that is wrong."""
INFRASTRUCTURE = (RETRIED - {"DeviceError"}) | {"MissingError", "OutputError"}
"""Faults of the bench and not of what it tests. A device that reports a failure of its own at every try is
no such fault."""


class Exit(IntEnum):
    """Exit codes of `harness nightly`; where several hold, 130 goes before 1, 1 before 3 and 3 before 4."""

    EXPECTED = 0
    WRONG = 1
    CONFIGURATION = 2
    INFRASTRUCTURE = 3
    OUT_OF_TIME = 4
    INTERRUPTED = 130


PASSED, WRONG, EXPIRED, KNOWN, MENDED, BROKEN, NOT_RUN, STOPPED = (
    "passed",
    "newly wrong",
    "known failure that has expired",
    "known failure",
    "passed though known to fail",
    "infrastructure fault",
    "not run: out of time",
    "not run: interrupted",
)


@dataclass(frozen=True)
class Verdict:
    """`kind` is one of the words above; `record` is None for what did not run."""

    key: str
    kind: str
    record: ItemRecord | None = None
    known: KnownFailure | None = None

    @property
    def why(self) -> str:
        """What was wrong, in a line."""
        if self.record is None:
            return ""
        return self.record.error or "; ".join(self.record.failures)


def retried(record: ItemRecord) -> bool:
    """Whether another try may end otherwise."""
    return record.outcome == "error" and record.error_kind in RETRIED


def judge(
    records: Iterable[ItemRecord],
    not_run: Sequence[Job],
    known: Sequence[KnownFailure],
    today: datetime.date,
    interrupted: bool = False,
) -> list[Verdict]:
    """One verdict per item. Of several known failures that cover an item, the one valid longest counts."""
    covering = sorted(known, key=lambda each: each.until, reverse=True)
    found = []
    for record in records:
        entry = next((each for each in covering if each.covers(record.key)), None)
        found.append(Verdict(record.key, _kind(record, entry, today), record, entry))
    return found + [Verdict(job.key, STOPPED if interrupted else NOT_RUN) for job in not_run]


def _kind(record: ItemRecord, known: KnownFailure | None, today: datetime.date) -> str:
    if record.outcome == "passed":
        return MENDED if known else PASSED
    if known and today <= known.until:
        return KNOWN
    if record.outcome == "error" and record.error_kind in INFRASTRUCTURE:
        return BROKEN
    return EXPIRED if known else WRONG


def exit_code(verdicts: Iterable[Verdict]) -> Exit:
    kinds = {verdict.kind for verdict in verdicts}
    if STOPPED in kinds:
        return Exit.INTERRUPTED
    if kinds & {WRONG, EXPIRED}:
        return Exit.WRONG
    if BROKEN in kinds:
        return Exit.INFRASTRUCTURE
    return Exit.OUT_OF_TIME if NOT_RUN in kinds else Exit.EXPECTED
