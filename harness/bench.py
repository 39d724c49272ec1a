"""One run of the bench: the stations of the flow for each item, what items share, and the records.

The pytest plugin and the `harness` command are two faces of this. Nothing here knows of either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.boards import check_choice, check_targets, choose_board, is_attached
from harness.boards.backtrace import decoder
from harness.boards.base import Board, Port
from harness.boards.console_watch import ConsoleWatch
from harness.boards.serial_port import SerialBoard
from harness.deployment import Deployment, LinkedDeployment
from harness.dialects import get_dialect
from harness.divergence import locate, suspects
from harness.errors import HarnessError, UsageError
from harness.expectation import Expectation, expect
from harness.flashing import install
from harness.items import EVERY, Item, Workshop, check_names, load_artifact, runtimes_for
from harness.link.chaos import ChaosPort
from harness.link.client import Link
from harness.link.wirelog import WireLog
from harness.model.dataset import Dataset, load_dataset, random_dataset
from harness.model.reference import Reference, open_reference
from harness.model.spec import ModelSpec, load_model, zoo
from harness.printed_deployment import PrintedDeployment
from harness.progress import Progress, Say, silent
from harness.provenance import host_facts, item_facts
from harness.records.directory import RunDirectory
from harness.records.journal import Journal
from harness.records.schema import Divergence, ItemRecord, Measurement, Memory, RunRecord, Sample
from harness.report import write_reports
from harness.result import Result
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact, Project
from harness.settings import ALL_SAMPLES, RANDOM_SAMPLES, Settings
from harness.targets import Target, get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.base import Image
from harness.verdicts import judged

HANDSHAKE_S = 10.0


@dataclass
class _State:
    """What is known of an item so far; becomes its record."""

    item: Item
    started: float
    artifact: Artifact | None = None
    image: Image | None = None
    board: Board | None = None
    deployment: Deployment | None = None
    memory: Memory | None = None
    divergence: Divergence | None = None
    measurements: tuple[Measurement, ...] = ()
    notes: list[str] = field(default_factory=list)
    log: Path | None = None
    faults: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    failures: list[str] = field(default_factory=list)


class Bench:
    """One run: resolves the user's choices, makes items, takes each along the flow, keeps records.

    Raises, when made: UsageError or ModelError for names that do not resolve, OutputError for a
    report directory that cannot be written. Nothing has been built or started by then.
    """

    def __init__(self, settings: Settings, *, reports_root: Path, command: str, say: Say = silent) -> None:
        self.settings = settings
        self._say = say
        self.targets = tuple(get_target(name) for name in settings.targets)
        self._dialect = get_dialect(settings.dialect) if settings.dialect else None
        check_choice(settings.board, settings.attachment, settings.dialect)
        check_targets(self.targets, settings.dialect)
        if settings.chaos and settings.dialect:
            raise UsageError("--chaos with --dialect: printed scores carry no check sums", "Drop one of them")
        names = [name for given in settings.models for name in (zoo() if given == "zoo" else [given])]
        self._models = {name: load_model(name) for name in dict.fromkeys(names)}
        self.models = tuple(self._models.values())
        _check_names(self._models)
        check_names(settings.runtimes)
        self.items()
        self.directory = RunDirectory.create(reports_root, settings.report_dir)
        self._reports_root = reports_root
        self.warnings: list[str] = []
        self.reports: dict[str, Path] = {}
        self._command = command
        self._clock = time.monotonic()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        # By model, runtime and the runtime's variant of the chip.
        self._artifacts: dict[tuple[str, str, str], Artifact] = {}
        self._expectations: dict[tuple[str, str, str], Expectation] = {}
        self._datasets: dict[tuple[str, str], Dataset] = {}
        self._references: dict[str, tuple[Reference | None, str]] = {}
        self._open: dict[str, _State] = {}
        self._closed: dict[str, tuple[ItemRecord, Result | None]] = {}
        journal = self.directory.path / "journal.jsonl"
        journal.unlink(missing_ok=True)
        self._journal = Journal(journal)
        self._journal.write_run(self.run_record())

    # What names mean.

    def model(self, name: str) -> ModelSpec:
        """A model of this run by name, or any other by zoo name or path."""
        for given, spec in self._models.items():
            if name in (given, spec.name):
                return spec
        spec = self._models[name] = load_model(name)
        return spec

    def item(self, target: str, model: ModelSpec, runtime: str, kernels: str) -> Item:
        """One item; raises UsageError for an unknown target or runtime, or kernels it has not."""
        known = get_runtime(runtime).kernels
        if kernels not in known:
            raise UsageError(f"runtime {runtime} has kernels {', '.join(known)}, not '{kernels}'")
        return Item(get_target(target), model, runtime, kernels)

    def runtimes(self, model: ModelSpec, target: Target) -> tuple[str, ...]:
        """What a model runs in on a chip: the runtimes named, or every one that takes it.

        An attached board has one firmware: `all` is the first of them there, and of a board that prints,
        what prints so.
        """
        asked = self.settings.runtimes
        if self._dialect and asked == (EVERY,):
            asked = (self._dialect.runtime,)
        names = tuple(runtimes_for(model, target, asked, self._workshop(model)))
        return names[:1] if self._attached and asked == (EVERY,) else names

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
        state = self._state(item)
        key = _shared(item)
        if key not in self._artifacts:
            workshop = self._workshop(item.model)
            self._artifacts[key] = load_artifact(item.model, item.runtime, item.target, workshop)
        artifact = self._artifacts[key]
        if state.artifact is None and artifact.path.parent == self._workshop(item.model).directory:
            state.notes.append(f"quantised here to {artifact.scheme}, {self._calibrated_on(item.model)}")
        state.artifact = artifact
        return artifact

    def expectation(self, item: Item, artifact: Artifact) -> Expectation:
        """Station 2: the item's data and what a correct device answers to them."""
        key = _shared(item)
        if key not in self._expectations:
            dataset = self._dataset(item.model, artifact)
            self._datasets[item.model.name, item.runtime] = dataset
            whole = self.settings.data is None and self._samples(item.model) == ALL_SAMPLES
            self._expectations[key] = dataclasses.replace(
                expect(
                    artifact,
                    get_runtime(item.runtime).oracle(artifact),
                    dataset,
                    self._reference(item.model)[0],
                    self.settings.layer_samples,
                ),
                reference_top1_min=item.model.reference_top1_min if whole else None,
            )
        return self._expectations[key]

    def project(self, item: Item, artifact: Artifact) -> Project:
        """Station 3: the firmware source tree."""
        runtime = item.runtime.replace(":", "-")
        name = f"{artifact.name}-{runtime}-{item.kernels}-{artifact.digest[:12]}"
        directory = self.settings.build_root / "projects" / name
        return get_runtime(item.runtime).generate(artifact, item.kernels, directory)

    def image(self, item: Item, project: Project) -> Image | None:
        """Station 4: the built firmware; None when an attached board already runs its own."""
        state = self._state(item)
        if self._attached:
            return None
        platform = "host" if self.settings.board == "host" else item.target.isa_platform
        assert platform is not None, "refused by check_targets"
        state.image = build(project, item.target, platform, build_root=self.settings.build_root / "images")
        return state.image

    def board(self, item: Item, image: Image | None) -> Board:
        """Station 5: the board the image runs on; not started yet."""
        state = self._state(item)
        state.board, reason = choose_board(
            item.target, image, kind=self.settings.board, attachment=self.settings.attachment
        )
        state.notes.append(reason)
        return state.board

    def deploy(
        self,
        item: Item,
        artifact: Artifact,
        image: Image | None,
        board: Board,
        report: Progress | None = None,
    ) -> Deployment:
        """Station 6: board flashed where it can be, started, device found, identity checked.

        `report` follows the bytes being flashed.
        """
        state = self._state(item)
        logs = self.directory.path / "items" / item.key
        logs.mkdir(parents=True, exist_ok=True)
        state.log = logs / "uart.log"
        with contextlib.ExitStack() as undo:
            undo.callback(board.close)
            if isinstance(board, SerialBoard) and image is not None and image.flash is not None:
                state.notes.append(install(board, image.flash, logs, report))
            log = undo.enter_context(WireLog(wire=logs / "wire.bin", text=state.log))
            oracle, reference = get_runtime(item.runtime).oracle(artifact), self._reference(item.model)[0]
            about = (item, artifact, oracle, reference, board)
            port, timeout_s = self._wire_to(board, state), self.settings.infer_timeout_s
            if self._dialect:
                state.deployment = PrintedDeployment(*about, port, self._dialect, log, timeout_s)
            else:
                link = Link(
                    port,
                    log=log,
                    timeout_s=timeout_s,
                    baud=self.settings.attachment.baud or 0,
                    board_state=board.state,
                    watch=ConsoleWatch(decoder(image.elf, item.target) if image else None),
                )
                undo.callback(link.close)
                link.connect(HANDSHAKE_S)
                board.identified(link.identify().values)
                state.deployment = LinkedDeployment(
                    *about, image, link, self.settings.layer_samples, self.settings.warmup
                )
            undo.pop_all()
        return state.deployment

    def run(self, deployment: Deployment, expected: Expectation, report: Progress | None = None) -> Result:
        """Station 7: all samples, compared."""
        item = deployment.item
        state = self._state(item)
        state.notes.append(f"data: {expected.samples} samples, {_shown(expected.data_source)}")
        if self.settings.samples is None and expected.samples == item.model.bench_samples:
            state.notes.append("its model.toml stops at so many; --samples all takes the whole test set")
        if why := self._reference(item.model)[1]:
            state.notes.append(why)
        result = deployment.run(expected, report)
        state.notes.extend(deployment.notes())
        state.memory = deployment.memory()
        state.measurements = judged(item, self._record(state), result.samples, self._reports_root)
        result = deployment.result = dataclasses.replace(result, measurements=state.measurements)
        state.failures.extend(result.failures)
        if isinstance(deployment, LinkedDeployment):
            self._locate(state, deployment, expected, result)
        return result

    def _locate(
        self, state: _State, deployment: LinkedDeployment, expected: Expectation, result: Result
    ) -> None:
        """The first layer that is wrong, where something is; not to find it is no second failure."""
        samples = suspects(result.runtime_gap, result.samples)
        directory = self.directory.path / "items" / state.item.key
        try:
            located = (locate(deployment, expected, sample, directory) for sample in samples)
            state.divergence = next((found for found in located if found is not None), None)
        except HarnessError as error:
            state.notes.append(f"the first layer that differs was not found: {error}")
            return
        if samples and state.divergence is None:
            state.notes.append(
                f"sample {samples[0]}, run again, is right in every layer: the device does not repeat itself"
            )

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
        """The whole flow for one item. A HarnessError ends the item, not the run."""
        try:
            expected = self.expectation(item, self.artifact(item))
            with self.deployments(flashing) as start:
                self.run(start(item), expected, report)
        except HarnessError as error:
            self.failed(item, error)
        return self.close_item(item)

    # Records.

    def failed(self, item: Item, error: BaseException) -> None:
        """Notes why an item broke (an error) or what a test of it found wrong (a failure)."""
        state = self._state(item)
        if isinstance(error, HarnessError):
            state.error = str(error)
        elif isinstance(error, AssertionError):
            state.failures = state.failures or [str(error).splitlines()[0] if str(error) else "assert"]
        else:
            state.error = f"{type(error).__name__}: {error}"

    def close_item(self, item: Item) -> ItemRecord:
        """Makes the item's record and writes it to the journal; closing twice gives the same one."""
        if item.key in self._closed and item.key not in self._open:
            return self._closed[item.key][0]
        state = self._open.pop(item.key)
        record = self._record(state)
        result = state.deployment.result if state.deployment else None
        self._closed[item.key] = (record, result)
        if result is not None:
            self._journal.write_samples(item.key, result.samples)
        self._journal.write_item(record)
        return record

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

    def finish(self) -> RunRecord:
        """Writes every report; `reports` then names them. Without items there is nothing to write."""
        run = self.run_record()
        self._journal.write_end(run.duration_s)
        self._journal.close()
        if run.items:
            samples = {key: result.samples for key, (_, result) in self._closed.items() if result is not None}
            images = {
                record.key: dataset.pixels
                for record in run.items
                if (dataset := self._datasets.get((record.model, record.runtime))) is not None
                and dataset.pixels is not None
            }
            self.reports = write_reports(run, samples, self.directory.path, images)
            self._remember(run, samples)
        return run

    def _remember(self, run: RunRecord, samples: dict[str, tuple[Sample, ...]]) -> None:
        """Into the history; a history that is out of order costs no run its report."""
        from harness.history.store import History, default_url  # a third of a second, at the end only

        try:
            with History(default_url(self._reports_root)) as history:
                history.add(run, samples)
        except HarnessError as error:
            self.warnings.append(f"not in the history: {error}")

    @property
    def _attached(self) -> bool:
        """An attached board keeps the firmware it has, as nothing here builds for the chip yet."""
        return is_attached(self.settings.board, self.settings.attachment)

    def _wire_to(self, board: Board, state: _State) -> Port:
        """The board's port, behind the faults that were asked for."""
        port = board.open()
        if self.settings.chaos is None:
            return port
        faulty = ChaosPort(port, self.settings.chaos, board.reset)
        state.faults = faulty.faults
        state.notes.append(f"a faulty wire, as asked: --chaos {self.settings.chaos}")
        return faulty

    def _state(self, item: Item) -> _State:
        if item.key not in self._open:
            state = self._open[item.key] = _State(item, time.monotonic())
            # Several tests may deploy the same item: the last figures stand, and every failure.
            if item.key in self._closed:
                before = self._closed[item.key][0]
                state.error, state.failures = before.error, list(before.failures)
        return self._open[item.key]

    def _reference(self, model: ModelSpec) -> tuple[Reference | None, str]:
        """The float model, and why there is none."""
        if model.name not in self._references:
            if self.settings.reference == "none":
                self._references[model.name] = None, "no float reference, as asked"
            else:
                self._references[model.name] = open_reference(model, self.settings.reference)
        return self._references[model.name]

    def _samples(self, model: ModelSpec) -> int:
        """At most so many samples of the data; a model's own number is about its own data."""
        if self.settings.samples is not None:
            return self.settings.samples
        return ALL_SAMPLES if self.settings.data else model.bench_samples or ALL_SAMPLES

    def _workshop(self, model: ModelSpec) -> Workshop:
        """A model without a calibration set is calibrated on the data it is tested with."""
        own = None if model.calibration else self.settings.data
        return Workshop(self.settings.build_root / "artifacts", self.settings.calibration or own, self._say)

    def _calibrated_on(self, model: ModelSpec) -> str:
        chosen = self._workshop(model).calibration
        if chosen is None:
            return "calibrated on the model's own set"
        tested = " - the very data of the test" if chosen == self.settings.data else ""
        return f"calibrated on {_shown(str(chosen))}{tested}"

    def _dataset(self, model: ModelSpec, artifact: Artifact) -> Dataset:
        source = self.settings.data or model.test
        if source is None:
            samples = RANDOM_SAMPLES if self._samples(model) == ALL_SAMPLES else self._samples(model)
            return random_dataset(artifact.inputs, samples, self.settings.seed)
        elements = artifact.outputs[0].elements
        dataset = load_dataset(
            source, artifact.inputs, model.preprocess, classes=elements if elements > 1 else None
        )
        return dataset.take(self._samples(model))

    def _record(self, state: _State) -> ItemRecord:
        item, deployment = state.item, state.deployment
        result = deployment.result if deployment else None
        outcome = "error" if state.error else "failed" if state.failures else "passed"
        return ItemRecord(
            target=item.target.id,
            model=item.model.name,
            runtime=item.runtime,
            kernels=item.kernels,
            outcome=outcome,
            scheme=state.artifact.scheme if state.artifact else None,
            fidelity=deployment.fidelity if deployment else None,
            board=state.board.info.name if state.board else None,
            error=state.error,
            failures=tuple(state.failures),
            notes=tuple(state.notes),
            runtime_gap=result.runtime_gap if result else None,
            quantisation_gap=result.quantisation_gap if result else None,
            accuracy=result.accuracy if result else None,
            counts=result.counts if result else None,
            latency=result.latency if result else None,
            memory=state.memory,
            layers=result.layers if result else (),
            divergence=state.divergence,
            measurements=state.measurements,
            wire={**(deployment.wire_counts() if deployment else {}), **state.faults},
            provenance=item_facts(
                state.artifact,
                state.image,
                state.board,
                deployment.identity if deployment else None,
                result.data_digest if result else None,
            ),
            duration_s=time.monotonic() - state.started,
            log=self._log_tail(state.log),
        )

    @staticmethod
    def _log_tail(path: Path | None, size_bytes: int = 4096) -> str | None:
        if path is None or not path.is_file():
            return None
        return path.read_text(encoding="utf-8", errors="replace")[-size_bytes:]


def _check_names(models: dict[str, ModelSpec]) -> None:
    """Records go by model name: two files of one name would be one model."""
    first: dict[str, str] = {}
    for given, spec in models.items():
        if (other := first.setdefault(spec.name, given)) != given:
            raise UsageError(f"{other} and {given} are both called {spec.name}", "Rename one of the files")


def _shared(item: Item) -> tuple[str, str, str]:
    """What artifact and expectation depend on."""
    return item.model.name, item.runtime, get_runtime(item.runtime).variant(item.target)


def _shown(source: str) -> str:
    """A path as a reader in this directory would type it; anything else as it is."""
    return source.removeprefix(f"{Path.cwd()}{os.sep}")
