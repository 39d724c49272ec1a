"""A run's whole report again, offline, from its wire logs: no device, no model of the user's, no build.

What the device said comes from `wire.bin`, through the same link, deployment and comparison as in the run;
what is right, from `evidence/`. The journal adds only what no wire carries: who ran when and where, the
sizes of the image, the verdicts against a baseline of that day, notes, what a test of the user's found. Items
that never came to figures keep the journal's record.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.boards.base import Board, BoardInfo
from harness.collected import Batch
from harness.deployment import HANDSHAKE_S, LinkedDeployment
from harness.divergence import search
from harness.errors import DataError, OutputError
from harness.evidence import load_expectation, read_kept
from harness.expectation import Expectation
from harness.items import Item
from harness.link.client import Link
from harness.link.recorded import RecordedWire, WireEndError
from harness.link.wirelog import log_tail
from harness.model.spec import ModelSpec
from harness.provenance import item_facts
from harness.records.journal import ItemProgress, read_journal
from harness.records.schema import Divergence, ItemRecord, Memory, Part, Sample
from harness.report import write_reports
from harness.result import Result
from harness.resume import JOURNAL
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.targets import get_target
from harness.toolchains.base import Image


@dataclass(frozen=True)
class Replayed:
    """What became of a run: files of the report by name, True where they are the run's byte for byte, None
    where the run has none to compare with; items judged from their wire log; and those that could not be.
    """

    files: dict[str, bool | None]
    items: tuple[str, ...]
    from_journal: tuple[str, ...]


def replay(run: Path, out: Path) -> Replayed:
    """Writes the report of the run in `run` again, to `out`, which is replaced.

    Raises:
        DataError: journal, wire log or evidence are missing, damaged, cut short or of another run. Nothing is
            written then.
        OutputError: `out` cannot be written.
    """
    contents = read_journal(run / JOURNAL)
    if not contents.run.items:
        raise DataError(f"{run}: no item came to its end", "Go on with it: harness run --resume")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".replay-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"expected to write {out}; {error.strerror}", "Choose another --out") from None
    try:
        records, samples, images = [], {}, {}
        again, texts, killed = [], [], []
        for record in contents.run.items:
            progress = contents.progress.get(record.key, ItemProgress())
            samples[record.key] = progress.samples
            if progress.parts and record.runtime_gap is not None:
                judged = _ItemReplay(run, work, record, progress.parts)
                record, samples[record.key] = judged.record()
                if judged.pixels is not None:
                    images[record.key] = judged.pixels
                again.append(record.key)
                texts.append(progress.parts[-1].text)
                killed += [part.text for part in progress.parts[:-1]]
            records.append(record)
        kept = {key: batch for key, batch in samples.items() if batch}
        written = write_reports(dataclasses.replace(contents.run, items=tuple(records)), kept, work, images)
        files = {name: _same(work / name, run / name) for name in [*written, *texts]}
        files |= {name: _begins_as(work / name, run / name) for name in killed}
        _put_in_place(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    keys = [record.key for record in records]
    return Replayed(files, tuple(again), tuple(key for key in keys if key not in again))


class _ItemReplay:
    """One item: its parts run again one after another."""

    def __init__(self, run: Path, out: Path, record: ItemRecord, parts: tuple[Part, ...]) -> None:
        self._run, self._out, self._record, self._parts = run, out, record, parts
        runtime, target = get_runtime(record.runtime), get_target(record.target)
        read_kept(run, parts[-1].artifact)
        loaded = runtime.load(run / parts[-1].artifact, runtime.variant(target))
        self._artifact: Artifact = dataclasses.replace(loaded, name=record.model)
        self._oracle = runtime.oracle(self._artifact)
        self._image = _image(record)
        self._wires: list[RecordedWire] = []
        self._item = Item(target, ModelSpec(record.model, artifacts={}), record.runtime, record.kernels)
        self._expected: Expectation
        self._expected, self.pixels = load_expectation(run, parts[-1].expectation)

    def record(self) -> tuple[ItemRecord, tuple[Sample, ...]]:
        """The item's record and samples, anew."""
        try:
            return self._record_again()
        finally:
            for wire in self._wires:
                wire.close()

    def _record_again(self) -> tuple[ItemRecord, tuple[Sample, ...]]:
        kept: Batch | None = None
        for part, following in zip(self._parts, self._parts[1:], strict=False):
            kept = self._killed(part, following.first, kept)
        part = self._parts[-1]
        deployment = self._deployment(part)
        result = deployment.run(self._expected, kept=kept)
        result = dataclasses.replace(result, measurements=self._record.measurements)
        memory = deployment.memory()
        directory = self._out / "items" / self._record.key
        divergence, _ = search(deployment, self._expected, result, directory)
        deployment.close()
        before = self._record.divergence
        if divergence is not None and before is not None:
            # Where the reproducer lay then, and the command that names it.
            divergence = dataclasses.replace(divergence, reproducer=before.reproducer, command=before.command)
        return self._record_of(deployment, result, memory, divergence), result.samples

    def _record_of(
        self,
        deployment: LinkedDeployment,
        result: Result,
        memory: Memory,
        divergence: Divergence | None,
    ) -> ItemRecord:
        before, counts = self._record, deployment.wire_counts()
        faults = {name: number for name, number in before.wire.items() if name not in counts}
        facts = item_facts(self._artifact, self._image, None, deployment.identity, result.data_digest)
        failures = result.failures or before.failures
        return dataclasses.replace(
            before,
            outcome="error" if before.error else "failed" if failures else "passed",
            failures=failures,
            scheme=self._artifact.scheme,
            fidelity=deployment.fidelity,
            runtime_gap=result.runtime_gap,
            quantisation_gap=result.quantisation_gap,
            accuracy=result.accuracy,
            reconstruction=result.reconstruction,
            task=result.task,
            counts=result.counts,
            latency=result.latency,
            memory=memory,
            layers=result.layers,
            divergence=divergence,
            wire={**counts, **faults},
            provenance={**before.provenance, **facts},
            log=log_tail(self._out / self._parts[-1].text),
        )

    def _killed(self, part: Part, number: int, kept: Batch | None) -> Batch:
        """The first `number` samples, the last of them from a part that was killed."""
        samples, outputs = ([*kept.samples], kept.outputs) if kept else ([], b"")

        def keep(batch: Batch) -> None:
            nonlocal outputs
            samples.extend(batch.samples)
            outputs += batch.outputs

        deployment = self._deployment(part)
        try:
            deployment.run(self._expected, keep=keep, kept=kept)
        except WireEndError:
            pass
        finally:
            deployment.close()
        if len(samples) < number:
            raise DataError(
                f"{self._run / part.wire} ends after {len(samples)} samples; the run went on from {number}"
            )
        size = sum(tensor.size_bytes for tensor in self._artifact.outputs)
        return Batch(tuple(samples[:number]), outputs[: number * size])

    def _deployment(self, part: Part) -> LinkedDeployment:
        text = self._out / part.text
        text.parent.mkdir(parents=True, exist_ok=True)
        wire = RecordedWire(self._run / part.wire, text)
        self._wires.append(wire)
        board = _RecordedBoard(self._record, wire)
        link = Link(wire, log=wire, timeout_s=part.timeout_s, baud=part.baud)
        link.connect(HANDSHAKE_S)
        link.identify()
        return LinkedDeployment(
            self._item, self._artifact, self._oracle, None, board, self._image, link, part.layer_samples,
            part.warmup,
        )  # fmt: skip


class _RecordedBoard(Board):
    """The board as the record names it."""

    def __init__(self, record: ItemRecord, wire: RecordedWire) -> None:
        self._wire = wire
        self.info = BoardInfo(record.board or "", record.target, "record", record.fidelity or "")

    def open(self) -> RecordedWire:
        return self._wire

    def reset(self) -> None:
        """A record restarts where the device did."""

    def close(self) -> None:
        """The log is the link's to close."""

    def state(self) -> str:
        return f"recorded in {self._wire.path}"


def _image(record: ItemRecord) -> Image | None:
    """The firmware as far as records know it; None where it was not built for the run."""
    facts, memory = record.provenance, record.memory
    if "firmware" not in facts or memory is None or memory.flash_bytes is None:
        return None
    text, rodata, ram = memory.text_bytes or 0, memory.rodata_bytes or 0, memory.ram_bytes or 0
    data = memory.flash_bytes - text - rodata
    nowhere = Path(os.devnull)
    return Image(
        elf=nowhere,
        map_file=nowhere,
        build_log=nowhere,
        target=record.target,
        platform=facts.get("platform", ""),
        digest=facts["firmware"],
        compiler=facts.get("compiler", ""),
        flags=tuple(facts.get("flags", "").split(" ")),
        text_bytes=text,
        rodata_bytes=rodata,
        data_bytes=data,
        bss_bytes=ram - data,
        cached=True,
    )


def _same(mine: Path, theirs: Path) -> bool | None:
    return mine.read_bytes() == theirs.read_bytes() if theirs.is_file() else None


def _begins_as(mine: Path, theirs: Path) -> bool | None:
    """Of a part that was killed: bytes may have been recorded whose text was not written any more."""
    return mine.read_bytes().startswith(theirs.read_bytes()) if theirs.is_file() else None


def _put_in_place(work: Path, out: Path) -> None:
    """`out` may hold an earlier replay, and nothing else."""
    try:
        if out.exists():
            shutil.rmtree(out)
        os.replace(work, out)
        out.chmod(0o755)
    except OSError as error:
        raise OutputError(f"expected to write {out}; {error.strerror}", "Choose another --out") from None
