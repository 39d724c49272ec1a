"""The books of a run: what is known of each item while it goes along the flow, and what is left when it ends.

Keeps the run directory, the journal, the records; writes the reports and the history at the end.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.boards.base import Board
from harness.deployment import Deployment
from harness.errors import HarnessError
from harness.farm.shelf import Held
from harness.items import Item
from harness.provenance import host_facts, item_facts
from harness.records.directory import RunDirectory
from harness.records.journal import Journal
from harness.records.schema import Divergence, ItemRecord, Measurement, Memory, RunRecord, Sample
from harness.report import write_reports
from harness.runtimes.base import Artifact
from harness.toolchains.base import Image

JOURNAL = "journal.jsonl"


@dataclass
class Entry:
    """What is known of an item so far; becomes its record."""

    item: Item
    started: float
    artifact: Artifact | None = None
    image: Image | None = None
    board: Board | None = None
    boards: list[Held] = field(default_factory=list)
    deployment: Deployment | None = None
    memory: Memory | None = None
    divergence: Divergence | None = None
    measurements: tuple[Measurement, ...] = ()
    notes: list[str] = field(default_factory=list)
    log: Path | None = None
    faults: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    error_kind: str | None = None
    harness_s: float | None = None
    failures: list[str] = field(default_factory=list)

    def holding(self, board: Board) -> Held | None:
        """How this board is held; None for one that a fixture of the user made."""
        return next((held for held in self.boards if held.board is board), None)

    def failed(self, error: BaseException) -> None:
        """Notes why the item broke (an error) or what a test of it found wrong (a failure)."""
        if isinstance(error, HarnessError):
            self.error, self.error_kind = str(error), type(error).__name__
        elif isinstance(error, AssertionError):
            self.failures = self.failures or [str(error).splitlines()[0] if str(error) else "assert"]
        else:
            self.error, self.error_kind = f"{type(error).__name__}: {error}", type(error).__name__

    def record(self) -> ItemRecord:
        """The record of what is known by now."""
        item, deployment = self.item, self.deployment
        result = deployment.result if deployment else None
        outcome = "error" if self.error else "failed" if self.failures else "passed"
        return ItemRecord(
            target=item.target.id,
            model=item.model.name,
            runtime=item.runtime,
            kernels=item.kernels,
            outcome=outcome,
            scheme=self.artifact.scheme if self.artifact else None,
            fidelity=deployment.fidelity if deployment else None,
            board=self.board.info.name if self.board else None,
            unit=item.unit,
            error=self.error,
            error_kind=self.error_kind,
            failures=tuple(self.failures),
            notes=tuple(self.notes),
            runtime_gap=result.runtime_gap if result else None,
            quantisation_gap=result.quantisation_gap if result else None,
            accuracy=result.accuracy if result else None,
            counts=result.counts if result else None,
            latency=result.latency if result else None,
            memory=self.memory,
            layers=result.layers if result else (),
            divergence=self.divergence,
            measurements=self.measurements,
            wire={**(deployment.wire_counts() if deployment else {}), **self.faults},
            provenance=item_facts(
                self.artifact,
                self.image,
                self.board,
                deployment.identity if deployment else None,
                result.data_digest if result else None,
            ),
            duration_s=time.monotonic() - self.started,
            harness_s=self.harness_s,
            log=_tail(self.log),
            size_table=self.image.size_table or None if self.image else None,
        )


class Ledger:
    """One run's books, open from its first item to its reports.

    Of a run whose items are spread over processes, each process keeps a `journal` of its own in the run's
    directory and hands over what it finished; one adopts everything and writes the reports.

    Raises, when made: OutputError for a report directory that cannot be written.
    """

    def __init__(
        self, reports_root: Path, report_dir: Path | None, command: str, journal: str = JOURNAL
    ) -> None:
        self.directory = RunDirectory.create(reports_root, report_dir)
        self.warnings: list[str] = []
        self.reports: dict[str, Path] = {}
        self._reports_root = reports_root
        self._command = command
        self._clock = time.monotonic()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._open: dict[str, Entry] = {}
        self._closed: dict[str, tuple[ItemRecord, tuple[Sample, ...]]] = {}
        path = self.directory.path / journal
        path.unlink(missing_ok=True)
        self._journal = Journal(path)
        self._journal.write_run(self.run_record())

    def entry(self, item: Item) -> Entry:
        """The item's open entry, a new one when it has none."""
        if item.key not in self._open:
            entry = self._open[item.key] = Entry(item, time.monotonic())
            # Several tests may deploy the same item: the last figures stand, and every failure.
            if item.key in self._closed:
                before = self._closed[item.key][0]
                entry.error, entry.error_kind = before.error, before.error_kind
                entry.failures = list(before.failures)
        return self._open[item.key]

    def is_open(self, item: Item) -> bool:
        """Whether an entry of this item waits to be closed."""
        return item.key in self._open

    def item_directory(self, item: Item) -> Path:
        """Where an item's logs and files go."""
        return self.directory.path / "items" / item.key

    def close_item(self, item: Item) -> ItemRecord:
        """Makes the item's record and writes it to the journal; closing twice gives the same one."""
        if item.key in self._closed and item.key not in self._open:
            return self._closed[item.key][0]
        entry = self._open.pop(item.key)
        record = self._with_trend(entry.record())
        result = entry.deployment.result if entry.deployment else None
        self.adopt(record, result.samples if result else ())
        return record

    def adopt(self, record: ItemRecord, samples: tuple[Sample, ...]) -> None:
        """Takes a finished item into the books, whoever ran it."""
        self._closed[record.key] = (record, samples)
        if samples:
            self._journal.write_samples(record.key, samples)
        self._journal.write_item(record)

    def hand_over(self, item: Item) -> tuple[ItemRecord, tuple[Sample, ...]]:
        """A closed item, which these books then forget."""
        return self._closed.pop(item.key)

    def run_record(self) -> RunRecord:
        """The run so far."""
        return RunRecord(
            run_id=self.directory.run_id,
            started=self._started,
            command=self._command,
            host=host_facts(),
            items=tuple(record for record, _ in self._closed.values()),
            duration_s=time.monotonic() - self._clock,
        )

    def end(self) -> RunRecord:
        """Closes the books without a report: another process makes it of what is in the journal."""
        run = self.run_record()
        self._journal.write_end(run.duration_s)
        self._journal.close()
        return run

    def finish(self, images: Mapping[str, np.ndarray]) -> RunRecord:
        """Writes every report; `reports` then names them. Without items there is nothing to write.

        `images` are the pictures behind the samples, by item key.
        """
        run = self.end()
        if run.items:
            samples = {key: samples for key, (_, samples) in self._closed.items() if samples}
            self.reports = write_reports(run, samples, self.directory.path, dict(images))
            self._remember(run, samples)
        return run

    def _with_trend(self, record: ItemRecord) -> ItemRecord:
        """The record with what the history knows of earlier runs: kept, so that a report is made of records
        alone and made again comes out the same."""
        from harness.history.store import History, default_url  # a third of a second, once per run
        from harness.history.trend import trend

        try:
            with History(default_url(self._reports_root)) as history:
                return dataclasses.replace(record, trend=trend(history, record, self.directory.run_id))
        except HarnessError:
            return record  # `_remember` says why

    def _remember(self, run: RunRecord, samples: dict[str, tuple[Sample, ...]]) -> None:
        """Into the history; a history that is out of order costs no run its report."""
        from harness.history.store import History, default_url  # a third of a second, at the end only

        try:
            with History(default_url(self._reports_root)) as history:
                history.add(run, samples)
        except HarnessError as error:
            self.warnings.append(f"not in the history: {error}")


def _tail(path: Path | None, size_bytes: int = 4096) -> str | None:
    if path is None or not path.is_file():
        return None
    return path.read_text(encoding="utf-8", errors="replace")[-size_bytes:]
