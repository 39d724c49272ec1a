"""One run of the bench: the stations of the flow, for each item.

What items share is in `materials`, what is kept of them in `ledger`. The pytest plugin and the `harness`
command are two faces of this; nothing here knows of either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.boards import check_targets
from harness.boards.backtrace import decoder
from harness.boards.base import Board, Port
from harness.boards.console_watch import ConsoleWatch
from harness.boards.serial_port import SerialBoard
from harness.build_cache import pruned
from harness.deployment import HANDSHAKE_S, Deployment, LinkedDeployment
from harness.dialects import get_dialect
from harness.divergence import search
from harness.errors import HarnessError, IdentityError, UsageError
from harness.expectation import Expectation
from harness.farm.recovery import BOARD_FAULTS, LeasedPort
from harness.farm.shelf import Shelf
from harness.firmware import Firmware
from harness.flashing import install
from harness.item_boards import ItemBoards
from harness.items import EVERY, Item, check_names, runtimes_for, shown
from harness.ledger import Entry, Ledger
from harness.link.chaos import ChaosPort
from harness.link.client import Link
from harness.materials import Materials
from harness.mlperf_tiny import deployment as mlperf
from harness.model.spec import ModelSpec
from harness.printed_deployment import PrintedDeployment
from harness.progress import Progress, Say, silent
from harness.records.directory import RunDirectory
from harness.records.journal import TestLine
from harness.records.schema import ItemRecord, Part, RunRecord, Sample
from harness.result import Result
from harness.resume import JOURNAL, Resumed, changed_since, check_same
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact, Project
from harness.settings import Settings
from harness.targets import Target, get_target
from harness.toolchains.base import Image
from harness.toolchains.esp_idf.engines import unconfirmed
from harness.toolchains.esp_idf.project import IdfProject
from harness.verdicts import judged


class Bench:
    """One run: resolves the user's choices, makes items, takes each along the flow, keeps records.

    Raises, when made: UsageError or ModelError for names that do not resolve, OutputError for a
    report directory that cannot be written. Nothing has been started by then, nor, but for a `resumed`
    run, built; UsageError where what is there now is not what that run was of.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reports_root: Path,
        command: str,
        say: Say = silent,
        resumed: Resumed | None = None,
        journal: str = JOURNAL,
    ) -> None:
        self.settings = settings
        self._say = say
        self.targets = tuple(get_target(name) for name in settings.targets)
        printed = settings.dialect not in (None, mlperf.NAME)
        self._dialect = get_dialect(settings.dialect) if settings.dialect and printed else None
        self._shelf = Shelf(settings.farm, settings.wish, say)
        check_targets(self.targets, settings.dialect)
        for target in self.targets:
            self._shelf.check(target)
        if settings.chaos and settings.dialect:
            raise UsageError("--chaos with --dialect: printed scores carry no check sums", "Drop one of them")
        self._materials = Materials(settings, say)
        self._firmware = Firmware(settings, self._shelf, say)
        check_names(settings.runtimes)
        self.items()
        self._reports_root = reports_root
        if resumed is not None:
            check_same(resumed, settings.given)
            self._check_unchanged(resumed)
        self._ledger = Ledger(reports_root, settings.report_dir, command, journal, settings.given, resumed)
        self._boards = ItemBoards(self._shelf, self._firmware, self._ledger, say)

    # What names mean.

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The models of this run, in the order asked for."""
        return self._materials.models

    def model(self, name: str) -> ModelSpec:
        """A model of this run by name, or any other by zoo name or path."""
        return self._materials.model(name)

    def item(self, target: str, model: ModelSpec, runtime: str, kernels: str, unit: str = "") -> Item:
        """One item; raises UsageError for an unknown target or runtime, or kernels it has not."""
        known = get_runtime(runtime).kernels
        if kernels not in known:
            raise UsageError(f"runtime {runtime} has kernels {', '.join(known)}, not '{kernels}'")
        return Item(get_target(target), model, runtime, kernels, unit)

    def runtimes(self, model: ModelSpec, target: Target) -> tuple[str, ...]:
        """What a model runs in on a chip: the runtimes named, or every one that takes it and has the kernels.

        Of an attached board that keeps its one firmware `all` is the first of them, and of a board that
        prints, what prints so. Raises UsageError where no runtime is left.
        """
        asked = self.settings.runtimes
        if self.settings.dialect and asked == (EVERY,):
            asked = (self._dialect.runtime if self._dialect else mlperf.RUNTIME,)
        names = tuple(runtimes_for(model, target, asked, self._materials.workshop(model)))
        if asked == (EVERY,):
            kernels = self.settings.kernels
            names = tuple(name for name in names if self._firmware.builds(name, kernels))
            if not names:
                raise UsageError(
                    f"{model.name}: no runtime that takes it on {target.id} has kernels {kernels}",
                    "Use --kernels portable",
                )
        return names[:1] if self._firmware.one_firmware_only(target) and asked == (EVERY,) else names

    def items(self) -> list[Item]:
        """Every target x model x runtime of this run."""
        return [
            self.item(target.id, model, runtime, self.settings.kernels)
            for model in self.models
            for target in self.targets
            for runtime in self.runtimes(model, target)
        ]

    # The flow, station by station.

    def artifact(self, item: Item) -> Artifact:
        """Station 1: what the runtime executes, read and verified."""
        entry = self._ledger.entry(item)
        artifact = self._materials.artifact(item)
        if entry.artifact is None and (how := self._materials.quantised_here(item)):
            entry.notes.append(how)
        entry.artifact = artifact
        return artifact

    def expectation(self, item: Item, artifact: Artifact) -> Expectation:
        """Station 2: the item's data and what a correct device answers to them."""
        return self._materials.expectation(item, artifact)

    def project(self, item: Item, artifact: Artifact) -> Project | IdfProject:
        """Station 3: the firmware source tree; of ESP-IDF for what boots a chip's flash."""
        return self._firmware.project(item, artifact)

    def image(self, item: Item, project: Project | IdfProject) -> Image | None:
        """Station 4: the built firmware; None when an attached board keeps its own."""
        entry = self._ledger.entry(item)
        entry.image = self._firmware.image(item, self.artifact(item), project)
        if isinstance(project, IdfProject) and (
            notice := unconfirmed(project.target, item.runtime, item.kernels)
        ):
            entry.notes.append(notice)
        return entry.image

    def board(self, item: Item, image: Image | None) -> Board:
        """Station 5: the board the image runs on, leased until the item is closed; not started yet."""
        return self._boards.take(self._ledger.entry(item), image)

    def deploy(
        self,
        item: Item,
        artifact: Artifact,
        image: Image | None,
        board: Board,
        report: Progress | None = None,
    ) -> Deployment:
        """Station 6: board flashed where it can be, started, device found, identity checked.

        Where a board of a farm fails and cannot be brought back, it is another one. `report` follows the
        bytes being flashed.
        """
        while True:
            try:
                return self._start(item, artifact, image, board, report)
            except (*BOARD_FAULTS, IdentityError) as error:
                board = self._boards.another(self._ledger.entry(item), board, error)

    def _start(
        self, item: Item, artifact: Artifact, image: Image | None, board: Board, report: Progress | None
    ) -> Deployment:
        entry = self._ledger.entry(item)
        held = entry.holding(board)
        with contextlib.ExitStack() as undo:
            undo.callback(board.close)
            if isinstance(board, SerialBoard) and image is not None and image.flash is not None:
                logs = self._ledger.item_directory(item)
                logs.mkdir(parents=True, exist_ok=True)
                entry.notes.append(install(board, image.flash, logs, report))
            log = undo.enter_context(self._ledger.wire_log(item))
            oracle, reference = (
                get_runtime(item.runtime).oracle(artifact),
                self._materials.reference(item.model)[0],
            )
            about = (item, artifact, oracle, reference, board)
            port, timeout_s = self._wire_to(board, entry), self.settings.infer_timeout_s
            if self._dialect:
                entry.deployment = PrintedDeployment(*about, port, self._dialect, log, timeout_s)
            elif self.settings.dialect == mlperf.NAME:
                entry.deployment = mlperf.MlperfDeployment(*about, port, log, timeout_s)
            else:
                link = Link(
                    port,
                    log=log,
                    timeout_s=timeout_s,
                    baud=board.baud,
                    board_state=board.state,
                    watch=ConsoleWatch(decoder(image.elf, item.target) if image else None),
                )
                undo.callback(link.close)
                try:
                    if held is not None:
                        held.link = link
                    link.connect(HANDSHAKE_S)
                    link.identify()
                except BOARD_FAULTS as error:
                    if not self._boards.recovered(entry, board, error):
                        raise
                board.identified(link.identify().values)
                entry.deployment = LinkedDeployment(
                    *about, image, link, self.settings.layer_samples, self.settings.warmup
                )
            undo.pop_all()
        return entry.deployment

    def run(self, deployment: Deployment, expected: Expectation, report: Progress | None = None) -> Result:
        """Station 7: all samples, compared."""
        item = deployment.item
        entry = self._ledger.entry(item)
        entry.notes.append(f"data: {expected.samples} samples, {shown(expected.data_source)}")
        if self.settings.samples is None and expected.samples == item.model.bench_samples:
            entry.notes.append("its model.toml stops at so many; --samples all takes the whole test set")
        if inferred := self._materials.task(item, deployment.artifact).note:
            entry.notes.append(inferred)
        if why := self._materials.reference(item.model)[1]:
            entry.notes.append(why)
        started_s = time.process_time()
        deployment, result = self._run_on(entry, deployment, expected, report)
        entry.harness_s = time.process_time() - started_s
        entry.notes.extend(deployment.notes())
        entry.memory = deployment.memory()
        entry.measurements = judged(item, entry.record(), result.samples, self._reports_root)
        result = dataclasses.replace(result, measurements=entry.measurements)
        deployment.result = entry.journalled = result
        entry.failures.extend(result.failures)
        if isinstance(deployment, LinkedDeployment):
            directory = self._ledger.item_directory(item)
            entry.divergence, note = search(deployment, expected, result, directory)
            entry.notes += [note] if note else []
        return result

    def _run_on(
        self, entry: Entry, deployment: Deployment, expected: Expectation, report: Progress | None
    ) -> tuple[Deployment, Result]:
        """Runs; after a fault once more on a board that could be brought back, else on another one."""
        again: set[str] = set()
        pixels = self._materials.pixels(entry.item.model.name, entry.item.runtime)
        while True:
            board = deployment.board
            kept, keep = self._ledger.start(deployment, expected, pixels, self.settings)
            try:
                return deployment, deployment.run(expected, report, keep, kept)
            except BOARD_FAULTS as error:
                if board.info.name in again:
                    raise  # it answers and fails at this every time
                again.add(board.info.name)
                if self._boards.recovered(entry, board, error):
                    deployment.cold = True
                    continue
                deployment.close()
                board = self._boards.another(entry, board, error)
                assert entry.artifact is not None
                deployment = self.deploy(entry.item, entry.artifact, entry.image, board)

    @contextlib.contextmanager
    def deployments(self, flashing: Progress | None = None) -> Iterator[Callable[[Item], Deployment]]:
        """Makes deployments in one call each, and ends them all."""
        with contextlib.ExitStack() as stack:

            def start(item: Item) -> Deployment:
                artifact = self.artifact(item)
                image = self.image(item, self.project(item, artifact))
                board = self.board(item, image)
                return stack.enter_context(self.deploy(item, artifact, image, board, flashing))

            yield start

    def run_item(
        self, item: Item, report: Progress | None = None, flashing: Progress | None = None
    ) -> ItemRecord:
        """The whole flow for one item. A HarnessError ends the item, not the run.

        An item that a resumed run had finished is not run again.
        """
        if record := self._ledger.finished_before(item):
            return record
        try:
            expected = self.expectation(item, self.artifact(item))
            with self.deployments(flashing) as start:
                self.run(start(item), expected, report)
        except HarnessError as error:
            self.failed(item, error)
        return self.close_item(item)

    # Records.

    @property
    def directory(self) -> RunDirectory:
        """Where the run's files go."""
        return self._ledger.directory

    @property
    def reports(self) -> dict[str, Path]:
        """The reports written, by file name; empty before `finish`."""
        return self._ledger.reports

    @property
    def warnings(self) -> list[str]:
        """What went wrong beside the items."""
        return self._ledger.warnings

    def failed(self, item: Item, error: BaseException) -> None:
        """Notes why an item broke (an error) or what a test of it found wrong (a failure)."""
        self._ledger.entry(item).failed(error)

    def close_item(self, item: Item) -> ItemRecord:
        """Makes the item's record and writes it to the journal; closing twice gives the same one.

        Its boards are free from then on.
        """
        if self._ledger.is_open(item):
            entry = self._ledger.entry(item)
            if entry.deployment is not None:
                entry.deployment.close()
            self._boards.give_back(entry)
        return self._ledger.close_item(item)

    def close_test(self, name: str, items: Sequence[Item], reports: Sequence[str]) -> None:
        """Notes that a test of these items has ended, with its reports as the test runner writes them."""
        self._ledger.close_test(TestLine(name, tuple(item.key for item in items), tuple(reports)))

    @property
    def tests_before(self) -> Mapping[str, TestLine]:
        """The tests that had ended when this run was killed, by name; empty for a new run."""
        return self._ledger.tests_before

    def hand_over(self, item: Item) -> tuple[ItemRecord, tuple[Sample, ...], Part | None, np.ndarray | None]:
        """A closed item's record, samples, part and pictures, for another process to report."""
        return (*self._ledger.hand_over(item), self._materials.pixels(item.model.name, item.runtime))

    def run_record(self) -> RunRecord:
        """The run so far."""
        return self._ledger.run_record()

    def adopt(self, record: ItemRecord, samples: tuple[Sample, ...], part: Part | None) -> None:
        """Takes an item into this run that another process ran; its pictures are read here."""
        item = self.item(record.target, self.model(record.model), record.runtime, record.kernels, record.unit)
        if samples:
            with contextlib.suppress(HarnessError):  # a report without pictures is still a report
                self._materials.data(item, self._materials.artifact(item))
        self._ledger.adopt(record, samples, part)

    def end(self) -> None:
        """Ends a part of a run: the process that adopts its items writes the reports."""
        self._ledger.end()

    def finish(self) -> RunRecord:
        """Writes every report; `reports` then names them. Without items there is nothing to write."""
        run = self.run_record()
        images = {
            record.key: pixels
            for record in run.items
            if (pixels := self._materials.pixels(record.model, record.runtime)) is not None
        }
        finished = self._ledger.finish(images)
        if said := pruned(self.settings.build_root, self.settings.build_limit_bytes):
            self._say(said)
        return finished

    def _check_unchanged(self, resumed: Resumed) -> None:
        """Raises UsageError when an artifact, data or firmware is not that of the run that was killed."""
        finished = {record.key: record.provenance for record in resumed.contents.run.items}
        begun = {key: item.parts[-1].facts for key, item in resumed.contents.progress.items() if item.parts}
        for item in self.items():
            then = finished.get(item.key) or begun.get(item.key) or {}
            if not then:
                continue
            artifact = self._materials.artifact(item)
            now = {"artifact": artifact.digest, "data": self._materials.data(item, artifact).digest}
            if item.key not in finished:
                image = self._firmware.image(item, artifact, self.project(item, artifact))
                now |= {"firmware": image.digest} if image else {}
            for name in (name for name in now if then.get(name, now[name]) != now[name]):
                raise changed_since(
                    resumed, f"{name} of {item.key} was {then[name][:16]}, is {now[name][:16]}"
                )

    def _wire_to(self, board: Board, entry: Entry) -> Port:
        """The board's port, behind the faults that were asked for."""
        held = entry.holding(board)
        port = LeasedPort(board, held.lease if held else None)
        if held is not None:
            held.port = port
        try:
            port.reopen()
        except BOARD_FAULTS as error:
            if not self._boards.recovered(entry, board, error):
                raise
        if self.settings.chaos is None:
            return port
        faulty = ChaosPort(port, self.settings.chaos, board.reset)
        entry.faults = faulty.faults
        entry.notes.append(f"a faulty wire, as asked: --chaos {self.settings.chaos}")
        return faulty
