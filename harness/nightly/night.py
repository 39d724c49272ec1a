"""One night: jobs from the schedule to the workers, faults tried again, everything into one set of books.

The only place that knows processes, clock and books at once. What the results mean is left to `verdicts`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.build_cache import pruned
from harness.errors import HarnessError
from harness.ledger import Ledger
from harness.nightly.config import Job, Night
from harness.nightly.progress import NightProgress
from harness.nightly.schedule import Past, Schedule
from harness.nightly.verdicts import retried
from harness.nightly.workers import Finished, Worker, WorkerError, broken, left_behind, wait_for
from harness.records.schema import RunRecord

HEARTBEAT_S = 1.0


class NightRun:
    """Runs a night on `jobs` processes into `ledger`; `not_run` is then what was left out, `interrupted`
    whether somebody wanted no more.
    """

    def __init__(
        self,
        night: Night,
        ledger: Ledger,
        *,
        jobs: int,
        past: Mapping[str, Past],
        reports_root: Path,
        command: str,
        progress: NightProgress,
    ) -> None:
        self._night = night
        self._ledger = ledger
        self._progress = progress
        self.interrupted = False
        self._settings = tuple(
            dataclasses.replace(settings, report_dir=ledger.directory.path) for settings in night.settings
        )
        self._about = (reports_root, command)
        self.schedule = Schedule(night.jobs, past, night.budget_s, time.monotonic)
        self._workers = [self._worker(number) for number in range(min(jobs, len(night.jobs)))]
        self._tries: dict[str, list[str]] = {}
        self._pixels: dict[str, np.ndarray] = {}

    @property
    def not_run(self) -> list[Job]:
        return self.schedule.out_of_time

    def run(self) -> RunRecord:
        """Everything that fits, then the reports; Ctrl-C ends it early, with reports all the same."""
        try:
            while self._feed():
                wait_for([worker for worker in self._workers if worker.job], self._patience_s())
                self._workers = [self._tended(worker) for worker in self._workers]
                self._progress.tick(self._running(), self.schedule)
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.schedule.stop(self._running())
            for worker in self._workers:
                worker.kill() if worker.job else worker.close()
            self._drop_journals()
        record = self._ledger.finish(self._pixels)
        for root, limit_bytes in {(each.build_root, each.build_limit_bytes) for each in self._settings}:
            if said := pruned(root, limit_bytes):
                self._progress.line(said)
        return record

    def _feed(self) -> bool:
        """Gives every idle worker a job; False when nothing runs, or may run any longer."""
        left = self.schedule.left_s()
        if left is not None and left <= 0:
            return False
        for worker in self._workers:
            if worker.job is None and (job := self.schedule.next(self._running())):
                worker.start(job)
        return bool(self._running())

    def _tended(self, worker: Worker) -> Worker:
        """The worker, or its successor when it died or was ended for taking too long."""
        job = worker.job
        if job is None:
            return worker
        took_s = time.monotonic() - worker.since
        try:
            finished = worker.take()
            if finished is None and took_s > self._night.item_s:
                raise WorkerError(
                    f"it took longer than the {self._night.item_s / 60:g} minutes that an item may",
                    "Raise item_minutes, or give it fewer samples",
                )
        except HarnessError as error:
            worker.kill()
            done = left_behind(self._ledger.directory.path, worker.number, job.key)
            self._settle(job, done or Finished(broken(job, error, took_s), (), None, None))
            return self._worker(worker.number)
        if finished is not None:
            worker.job = None
            self._settle(job, finished)
        return worker

    def _settle(self, job: Job, finished: Finished) -> None:
        """Into the books, or once more."""
        record, earlier = finished.record, self._tries.setdefault(job.key, [])
        if retried(record) and len(earlier) < self._night.retries:
            earlier.append(record.error or "")
            self._set_aside(job, len(earlier))
            self._progress.line(f"{job.key}: {_first(record.error)}; tried again")
            self.schedule.again(job)
            return
        if earlier:
            tries = tuple(f"try {number} ended with: {said}" for number, said in enumerate(earlier, start=1))
            record = dataclasses.replace(record, notes=(*record.notes, *tries))
        self._ledger.adopt(record, finished.samples, finished.part)
        if finished.pixels is not None:
            self._pixels[record.key] = finished.pixels
        self.schedule.took(job, record.duration_s)
        self._progress.done(record)

    def _set_aside(self, job: Job, number: int) -> None:
        """The logs of a try that broke are kept beside those of the next."""
        logs = self._ledger.directory.path / "items" / job.key
        with contextlib.suppress(OSError):
            os.replace(logs, logs.with_name(f"{job.key}.try-{number}"))

    def _running(self) -> dict[Job, float]:
        return {worker.job: worker.since for worker in self._workers if worker.job}

    def _patience_s(self) -> float:
        left = self.schedule.left_s()
        return HEARTBEAT_S if left is None else min(HEARTBEAT_S, left)

    def _worker(self, number: int) -> Worker:
        return Worker(number, self._settings, *self._about)

    def _drop_journals(self) -> None:
        """The workers' own journals: what they hold is in the night's."""
        for path in self._ledger.directory.path.glob("*-journal-*.jsonl"):
            path.unlink(missing_ok=True)


def _first(text: str | None) -> str:
    return (text or "").splitlines()[0] if text else ""
