"""The books of a run: what is known of each item while it goes along the flow, and what is left when it ends.

Keeps the run directory, the journal, the records, and what of a killed run is gone on with; writes the
reports and the history at the end.
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
from harness.collected import Batch, Keep
from harness.deployment import Deployment, LinkedDeployment
from harness.errors import HarnessError, first_line
from harness.evidence import keep_artifact, keep_expectation
from harness.expectation import Expectation
from harness.farm.shelf import Held
from harness.items import Item
from harness.link.wirelog import WireLog, log_tail
from harness.provenance import host_facts, item_facts
from harness.records.directory import RunDirectory
from harness.records.journal import ItemProgress, Journal, TestLine
from harness.records.schema import Divergence, ItemRecord, Measurement, Memory, Part, RunRecord, Sample
from harness.report import write_reports
from harness.result import Result
from harness.resume import JOURNAL, Resumed
from harness.runtimes.base import Artifact
from harness.settings import Settings
from harness.toolchains.base import Image


@dataclass
class Entry:
    """What is known of an item so far; becomes its record. `journalled` is the result whose samples the
    journal has, `part` what it takes to run them again, where one wire log has them all.
    """

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
    wire: Path | None = None
    log: Path | None = None
    faults: dict[str, int] = field(default_factory=dict)
    journalled: Result | None = None
    part: Part | None = None
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
            self.failures = self.failures or [first_line(error) if str(error) else "assert"]
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
            reconstruction=result.reconstruction if result else None,
            task=result.task if result else None,
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
            log=log_tail(self.log) if self.log else None,
            size_table=self.image.size_table or None if self.image else None,
        )


class Ledger:
    """One run's books, open from its first item to its reports.

    Of a run whose items are spread over processes, each process keeps a `journal` of its own in the run's
    directory and hands over what it finished; one adopts everything and writes the reports.

    Raises, when made: OutputError for a report directory that cannot be written.
    """

    def __init__(
        self,
        reports_root: Path,
        report_dir: Path | None,
        command: str,
        journal: str = JOURNAL,
        given: Mapping[str, str] | None = None,
        resumed: Resumed | None = None,
    ) -> None:
        """`given` are the user's settings as text, which a run that goes on must have too."""
        self.warnings: list[str] = []
        self.reports: dict[str, Path] = {}
        self._reports_root = reports_root
        self._clock = time.monotonic()
        self._open: dict[str, Entry] = {}
        self._closed: dict[str, tuple[ItemRecord, tuple[Sample, ...]]] = {}
        self._parts: dict[str, Part | None] = {}
        self._unfinished: dict[str, ItemProgress] = {}
        self._finished_before: set[str] = set()
        self._expectations: list[tuple[Expectation, str]] = []
        self.tests_before: dict[str, TestLine] = {}
        self._tested: set[str] = set()
        self._begun_again: dict[str, ItemRecord] = {}
        if resumed is None:
            self.directory = RunDirectory.create(reports_root, report_dir)
            self._command = command
            self._started = datetime.now(UTC).isoformat(timespec="seconds")
            self._journal = Journal(self.directory.path / journal, anew=True)
            self._journal.write_run(self.run_record(), given)
        else:
            self.directory = resumed.directory
            self._command, self._started = resumed.contents.run.command, resumed.contents.run.started
            self._journal = Journal(self.directory.path / journal)
            self._take_over(resumed)

    def _take_over(self, resumed: Resumed) -> None:
        contents = resumed.contents
        done = {record.key: record for record in contents.run.items}
        samples = contents.samples
        self._closed = {key: (record, samples.get(key, ())) for key, record in done.items()}
        self._unfinished = {key: item for key, item in contents.progress.items() if key not in done}
        self._finished_before = set(done)
        self._begun_again = dict(contents.begun_again)
        self.tests_before = dict(contents.tests)
        self._tested = {key for test in contents.tests.values() for key in test.items}

    def finished_before(self, item: Item) -> ItemRecord | None:
        """The record of an item that had come to its end when the run was killed."""
        return self._closed[item.key][0] if item.key in self._finished_before else None

    def entry(self, item: Item) -> Entry:
        """The item's open entry, a new one when it has none."""
        if item.key not in self._open:
            entry = self._open[item.key] = Entry(item, time.monotonic())
            # Several tests may deploy the same item: the last figures stand, and every failure. But a test
            # that was killed after its item had ended begins again.
            before = self._begun_again.pop(item.key, None)
            if item.key in self._closed and item.key not in self._finished_before - self._tested:
                before = self._closed[item.key][0]
            if before is not None:
                entry.error, entry.error_kind = before.error, before.error_kind
                entry.failures = list(before.failures)
            self._finished_before.discard(item.key)
        return self._open[item.key]

    def is_open(self, item: Item) -> bool:
        """Whether an entry of this item waits to be closed."""
        return item.key in self._open

    def wire_log(self, item: Item) -> WireLog:
        """Where the next link to an item's board is recorded; the logs of a killed run stay beside it."""
        entry, directory = self.entry(item), self.item_directory(item)
        directory.mkdir(parents=True, exist_ok=True)
        parts = self._unfinished[item.key].parts if item.key in self._unfinished else ()
        kept, number = {Path(part.wire).name for part in parts}, len(parts) + 1
        # A part without samples is void: the first that is kept may be `wire-2.bin`.
        while f"wire-{number}.bin" in kept:
            number += 1
        suffix = f"-{number}" if parts else ""
        entry.wire, entry.log = directory / f"wire{suffix}.bin", directory / f"uart{suffix}.log"
        return WireLog(wire=entry.wire, text=entry.log)

    def start(
        self,
        deployment: Deployment,
        expected: Expectation,
        pixels: np.ndarray | None,
        settings: Settings,
    ) -> tuple[Batch | None, Keep]:
        """Notes that an item's samples are about to come: those a killed run has already, and who keeps the
        others.
        """
        entry = self.entry(deployment.item)
        key, before = deployment.item.key, self._unfinished.pop(deployment.item.key, None)
        kept: Batch | None = None
        part: Part | None = None
        held = entry.holding(deployment.board)
        # What brought a board back stands in no wire log: such a run cannot be replayed.
        if isinstance(deployment, LinkedDeployment) and not (held and held.recoveries):
            part = self._part(entry, deployment, expected, pixels, settings)
            if before and before.samples and before.parts and before.parts[-1].facts == part.facts:
                kept = Batch(before.samples, before.outputs)
                part = dataclasses.replace(part, first=len(kept.samples))
                entry.notes.append(
                    f"resumed: {part.first} of {part.samples} samples are from before the run was killed; "
                    "cold start, layers and wire are of the board's last start"
                )
        self._journal.write_start(key, part)
        entry.part = part if kept is None else None

        def keep(batch: Batch) -> None:
            self._journal.write_samples(key, batch.samples, batch.outputs)

        return kept, keep

    def _part(
        self,
        entry: Entry,
        deployment: LinkedDeployment,
        expected: Expectation,
        pixels: np.ndarray | None,
        settings: Settings,
    ) -> Part:
        assert entry.wire is not None, "made by wire_log"
        assert entry.log is not None, "made by wire_log"
        run, identity = self.directory.path, deployment.identity
        return Part(
            wire=str(entry.wire.relative_to(run)),
            text=str(entry.log.relative_to(run)),
            first=0,
            samples=expected.samples,
            artifact=keep_artifact(deployment.artifact, run),
            expectation=self._keep_expectation(expected, pixels),
            facts={
                "artifact": identity.artifact,
                "firmware": identity.firmware,
                "data": expected.data_digest,
            },
            baud=deployment.board.baud,
            timeout_s=settings.infer_timeout_s,
            warmup=settings.warmup,
            layer_samples=settings.layer_samples,
        )

    def _keep_expectation(self, expected: Expectation, pixels: np.ndarray | None) -> str:
        """Items that share one are served by one file, made once."""
        for known, name in self._expectations:
            if known is expected:
                return name
        name = keep_expectation(expected, pixels, self.directory.path)
        self._expectations.append((expected, name))
        return name

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
        samples = result.samples if result is not None else ()
        if samples and result is not entry.journalled:
            self._journal.write_start(item.key, None)
            self._journal.write_samples(item.key, samples)
        self._parts[item.key] = entry.part if result is entry.journalled else None
        self._close(record, samples)
        return record

    def adopt(self, record: ItemRecord, samples: tuple[Sample, ...], part: Part | None = None) -> None:
        """Takes an item that another process has finished into the books; `part` is what it takes to run it
        again, its paths relative to this run's directory.
        """
        self._journal.write_start(record.key, part)
        if samples:
            self._journal.write_samples(record.key, samples)
        self._close(record, samples)

    def _close(self, record: ItemRecord, samples: tuple[Sample, ...]) -> None:
        self._closed.pop(record.key, None)  # the order is that of the journal
        self._closed[record.key] = (record, samples)
        self._journal.write_item(record)

    def hand_over(self, item: Item) -> tuple[ItemRecord, tuple[Sample, ...], Part | None]:
        """A closed item as `adopt` takes it, which these books then forget."""
        return *self._closed.pop(item.key), self._parts.pop(item.key)

    def close_test(self, test: TestLine) -> None:
        """Notes that a pytest test has ended, after its items."""
        self._journal.write_test(test)

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
        run = self.run_record()
        if run.items:
            samples = {key: batch for key, (_, batch) in self._closed.items() if batch}
            self.reports = write_reports(run, samples, self.directory.path, dict(images))
            self._remember(run, samples)
        self._journal.write_end(run.duration_s)
        self._journal.close()
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
