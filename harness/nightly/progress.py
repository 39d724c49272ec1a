"""How far a night is: a line per item that ends, and what runs meanwhile; plain where no one watches."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping

from harness.nightly.config import Job
from harness.nightly.schedule import Schedule
from harness.progress import Writer
from harness.records.schema import ItemRecord
from harness.report.figures import VERDICTS, duration
from harness.report.terminal import plain

PLAIN_INTERVAL_S = 60.0


class NightProgress:
    """Writes to `writer`; `total` items on `jobs` processes."""

    def __init__(self, writer: Writer, total: int, jobs: int) -> None:
        self._writer = writer
        self._total = total
        self._jobs = jobs
        self._done = 0
        self._next = time.monotonic() + PLAIN_INTERVAL_S

    def line(self, text: str) -> None:
        """Something that happened."""
        self._writer.line(plain(text))

    def done(self, record: ItemRecord) -> None:
        """An item has ended for good."""
        self._done += 1
        took = duration(record.duration_s)
        verdict = VERDICTS.get(record.outcome, record.outcome)
        self.line(f"[{self._done}/{self._total}] {verdict:<6} {record.key}  {took}")
        self._next = time.monotonic() + PLAIN_INTERVAL_S

    def tick(self, running: Mapping[Job, float], schedule: Schedule) -> None:
        """Now and then: what runs, and how long it may still take."""
        now = time.monotonic()
        if not running or (now < self._next and not self._writer.terminal):
            return
        self._next = now + PLAIN_INTERVAL_S
        rest_s = schedule.rest_s(running, self._jobs)
        eta = f"  about {duration(rest_s)} left" if rest_s is not None else ""
        names = ", ".join(job.key for job in running)
        text = f"[{self._done}/{self._total}] {names}{eta}"
        if self._writer.terminal:
            self._writer.rewrite(text[: shutil.get_terminal_size().columns - 1])
        else:
            self._writer.line(text)
